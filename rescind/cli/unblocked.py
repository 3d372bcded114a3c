"""Standard output and error of a command that goes on: whoever does not read them holds up nobody.

What is written goes into a queue; a thread of its own writes it, and may wait. Beyond
`MAX_WAITING_BYTES` lines are dropped, and how many is said in their place.
"""

import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue

MAX_WAITING_BYTES = 1024 * 1024
FLUSH_S = 1.0
"""How long the end waits for a reader to take what is left."""

Lost = Callable[[int], bytes]
"""→ what stands in place of so many lines that were dropped."""


class Queued(io.RawIOBase):
    """A file descriptor that is written to by a thread.

    No lock is taken here: an interrupt that strikes whoever writes, as Ctrl-C does the main thread,
    would leave it taken for ever. The counts may be off by what several threads write at once.
    """

    def __init__(self, fd: int, lost: Lost) -> None:
        self._fd, self._lost = fd, lost
        self._waiting: SimpleQueue[bytes | None] = SimpleQueue()
        self._put = self._written = self._dropped = 0
        self._broken: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="rescind-output", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Return the descriptor, for whoever asks whether it is a terminal."""
        return self._fd

    def isatty(self) -> bool:
        """Whether it is one."""
        return os.isatty(self._fd)

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # of all buffers, this
        """Take it; raises what writing the data before it did, as `BrokenPipeError`."""
        raw = bytes(data)
        if self._broken is not None:
            raise self._broken
        if self._put - self._written + len(raw) > MAX_WAITING_BYTES:
            self._dropped += raw.count(b"\n")
            return len(raw)
        if self._dropped:
            lost, self._dropped = self._dropped, 0
            self._take(self._lost(lost))
        self._take(raw)
        return len(raw)

    def _take(self, raw: bytes) -> None:
        self._waiting.put(raw)
        self._put += len(raw)

    def end(self) -> None:
        """Wait until all is written, for a moment; what is left then is nobody's any more."""
        self._waiting.put(None)
        self._thread.join(FLUSH_S)

    def _run(self) -> None:
        while (raw := self._waiting.get()) is not None:
            left = raw
            try:
                while left:
                    left = left[os.write(self._fd, left) :]
            except OSError as error:
                self._broken = error
                return
            self._written += len(raw)


@contextmanager
def unblocked(*, as_json: bool) -> Iterator[None]:
    """Replace `sys.stdout` and `sys.stderr` for the time of the block."""
    with ExitStack() as ending:
        for name in ("stdout", "stderr"):
            is_json = as_json and name == "stdout"
            before = getattr(sys, name)
            before.flush()
            queued = Queued(before.fileno(), _lost_document if is_json else _lost_line)
            text = io.TextIOWrapper(
                queued,  # type: ignore[type-var]  # it has all that is asked of it
                encoding=before.encoding,
                errors=before.errors,
                write_through=True,
            )
            setattr(sys, name, text)
            ending.callback(queued.end)
            ending.callback(setattr, sys, name, before)
        yield


def _lost_document(lines: int) -> bytes:
    return b'{"event": "not_read", "lines": %d}\n' % lines


def _lost_line(lines: int) -> bytes:
    return b"(%d lines were dropped: nobody read them)\n" % lines
