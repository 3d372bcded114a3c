"""The audit trail: who did what, why, from where. JSON lines, each with the hash of the one before.

Append only, by any process of this host, each line on disk before the answer. A line that was
changed, taken out or put in shows in `verify`. Lines cut off the end show only to who knows the
last hash: `rescind audit verify --head` compares with one that was kept elsewhere.

A write that fails, as on a full disk, is taken back at once. Where a process or the machine ended
in the middle of one, the next writer cuts the half line off and says so in a line of the trail:
nobody was answered by then, so no act is lost with it.
"""

import fcntl
import logging
import os
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from rescind_publisher.errors import AuditFailed

_log = logging.getLogger(__name__)

GENESIS = "0" * 64
MENDED = "audit.mended"
"""What the line says that stands for half a line."""
_SHOWN_OF_HALF = 200
MAX_LINE_BYTES = 64 * 1024 * 1024
"""A request is one line: 10,000 targets, each with two names of 512 characters of up to 4 bytes."""
_TAIL_BYTES = 64 * 1024
Hash = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One act. `at` in unix seconds; never a token, a key or a badge."""

    n: int = 0
    at: float
    who: str
    """Who asked: name and id of the API token, what `--actor` says, or user@host."""
    by: str | None = None
    """Who handed it to the publisher, as the system knows them: nobody can choose that."""
    where: str
    """Address of the client, or "local"."""
    what: str
    """As `kill`, `reinstate`, `enrol`, `token.make`."""
    targets: tuple[str, ...] = ()
    reason: str | None = None
    """The code word."""
    why: str | None = None
    """The reason for admins."""
    outcome: str = "done"
    ids: tuple[str, ...] = ()
    """The revocations that it made or ended."""
    prev: Hash = GENESIS
    hash: str = ""

    def sealed(self, n: int, prev: str) -> "Entry":
        """Return it with its number, the hash before, and its own."""
        # A whole number is read back as a float, and would be written otherwise then.
        bare = msgspec.structs.replace(self, n=n, at=float(self.at), prev=prev, hash="")
        return msgspec.structs.replace(bare, hash=_digest(bare))


def _digest(entry: Entry) -> str:
    """SHA-256 over the line without its own hash."""
    return sha256(msgspec.json.encode(msgspec.structs.replace(entry, hash=""))).hexdigest()


class Trail:
    """The file; raises `AuditFailed`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, entry: Entry) -> Entry:
        """Write one act, and return it as it stands there."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            handle = os.open(self.path, flags, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                half = _half(handle)
                last = _last(handle, len(half))
                acts = [entry]
                if half and (whole := _whole(half)) is not None:
                    last = whole
                    _write(handle, b"\n")
                elif half:
                    os.ftruncate(handle, os.fstat(handle).st_size - len(half))
                    acts.insert(0, _mended(half, entry.at))
                sealed = _chained(acts, last)
                _write(handle, b"".join(msgspec.json.encode(each) + b"\n" for each in sealed))
            finally:
                os.close(handle)
        except OSError as error:
            raise AuditFailed(
                f"the audit trail {self.path} cannot be written: {error.strerror}"
            ) from error
        return sealed[-1]

    def entries(self) -> Iterator[Entry]:
        """Read every act, oldest first, without judging the chain; not half a line at the end."""
        try:
            with self.path.open("rb") as file:
                while line := file.readline(MAX_LINE_BYTES):
                    if line.endswith(b"\n"):
                        yield _read(line, self.path)
                    elif (whole := _whole(line)) is not None:
                        yield whole
                    else:
                        _log.warning("%s ends in half a line: the next act will cut it", self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise AuditFailed(f"{self.path} cannot be read: {error.strerror}") from error


def _write(handle: int, lines: bytes) -> None:
    """Write all of it, or nothing."""
    before = os.fstat(handle).st_size
    try:
        while lines:
            lines = lines[os.write(handle, lines) :]
        os.fsync(handle)
    except BaseException:  # an interrupt too
        os.ftruncate(handle, before)
        raise


def _chained(acts: Iterable[Entry], last: Entry | None) -> list[Entry]:
    sealed: list[Entry] = []
    for act in acts:
        last = act.sealed(*((1, GENESIS) if last is None else (last.n + 1, last.hash)))
        sealed.append(last)
    return sealed


def _half(handle: int) -> bytes:
    """Return what stands behind the last line feed: of a write that was cut off."""
    return _behind(handle, os.fstat(handle).st_size)


def _last(handle: int, half: int) -> Entry | None:
    """Return the last whole line."""
    end = os.fstat(handle).st_size - half
    return _read(_behind(handle, end - 1), None) if end else None


def _behind(handle: int, end: int) -> bytes:
    """Return what stands between `end` and the line feed before it."""
    size = _TAIL_BYTES
    while True:
        start = max(0, end - size)
        _, found, line = os.pread(handle, end - start, start).rpartition(b"\n")
        if found or start == 0:
            return line
        size *= 4


def _whole(line: bytes) -> Entry | None:
    """Return what only lacks its line feed, None for half a line."""
    try:
        entry = msgspec.json.decode(line, type=Entry)
    except msgspec.MsgspecError:
        return None
    return entry if entry.hash == _digest(entry) else None


def _mended(half: bytes, at: float) -> Entry:
    _log.warning("the audit trail ended in half a line of %d bytes, which is cut off", len(half))
    shown = half[:_SHOWN_OF_HALF].decode("utf-8", "replace")
    return Entry(
        at=at,
        who="rescind",
        where="local",
        what=MENDED,
        why=f"half a line of {len(half)} bytes was cut off: {shown}",
        outcome="done",
    )


def _read(line: bytes, path: Path | None) -> Entry:
    try:
        return msgspec.json.decode(line, type=Entry)
    except msgspec.MsgspecError as error:
        where = f"{path}: " if path else ""
        raise AuditFailed(f"{where}a line of the audit trail is damaged: {error}") from error


def verify(entries: Iterable[Entry], head: str | None = None) -> tuple[int, str]:
    """Return the number of lines and the last hash; raises `AuditFailed` at the first fault."""
    count, prev = 0, GENESIS
    for count, entry in enumerate(entries, 1):
        if entry.n != count or entry.prev != prev:
            raise AuditFailed(f"line {count} of the audit trail does not follow the one before it")
        if entry.hash != _digest(entry):
            raise AuditFailed(f"line {count} of the audit trail was changed after it was written")
        prev = entry.hash
        if prev == head:
            head = None
    if head is not None:
        raise AuditFailed(f"no line of the audit trail has the hash {head[:64]}: its end was cut")
    return count, prev
