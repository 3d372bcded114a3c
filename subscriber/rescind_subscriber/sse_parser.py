"""Reads an event stream, to the letter of WHATWG HTML §9.2.6, within limits; does no I/O.

The standard sets no limits: a stream may be one endless line. Here a line and an event have one,
and what goes beyond it is `Malformed`: the connection is to be given up.
"""

import re

import msgspec

from rescind_protocol.errors import Malformed
from rescind_protocol.limits import MAX_EVENT_BYTES

MAX_ID_BYTES = 8 * 1024
"""A cursor; what HTTP servers take in a header."""
MAX_LINE_BYTES = MAX_EVENT_BYTES + MAX_ID_BYTES
"""The longest line with sense in it is `data: ` and a signed event."""
LINE_COST = 64
"""Bytes that a line of data costs besides its own: a million empty ones are no small event."""
_BOM = b"\xef\xbb\xbf"
_END = re.compile(rb"\r\n|\r|\n")


class Dispatched(msgspec.Struct, frozen=True):
    """One event, as `EventSource` would hand it over."""

    kind: str
    data: bytes
    last_id: str


class SseParser:
    """Takes bytes as they come, in pieces of any size; `last_id` outlives them all."""

    def __init__(self) -> None:
        self.last_id = ""
        self.blocks = 0
        """Blank lines so far: blocks that ended, with or without an event in them."""
        self._buffer = bytearray()
        """A line that has not ended."""
        self._begun = self._after_cr = False
        self._clear()

    def _clear(self) -> None:
        self._kind, self._id = "", self.last_id
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[Dispatched]:
        """Return the events that end in this piece; raises `Malformed` beyond a limit."""
        found = []
        for line in self._lines(piece):
            if line:
                self._field(line)
                continue
            self.blocks += 1
            event = self._dispatch()
            if event is not None:
                found.append(event)
        return found

    def _lines(self, piece: bytes) -> list[bytes]:
        """Return whole lines: LF, CR and CR LF end one, wherever the pieces are cut."""
        if not piece:
            return []
        if self._after_cr:
            piece, self._after_cr = piece.removeprefix(b"\n"), False
        buffer, searched = self._buffer, len(self._buffer)
        buffer += piece
        if not self._begun:
            if len(buffer) < len(_BOM) and _BOM.startswith(buffer):
                return []
            self._begun, searched = True, 0
            if buffer.startswith(_BOM):
                del buffer[: len(_BOM)]
        lines, start = [], 0
        for end in _END.finditer(buffer, searched):
            lines.append(bytes(buffer[start : end.start()]))
            start = end.end()
        self._after_cr = start == len(buffer) > 0 and buffer.endswith(b"\r")
        del buffer[:start]
        self._check(max(map(len, lines), default=0))
        self._check(len(buffer))
        return lines

    def _check(self, size: int) -> None:
        if size > MAX_LINE_BYTES or self._size > MAX_LINE_BYTES:
            raise Malformed(f"the stream has a line or an event beyond {MAX_LINE_BYTES} bytes")

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._size += len(value) + LINE_COST
        elif name == b"event":
            self._kind = value.decode(errors="replace")
        elif name == b"id" and b"\0" not in value and len(value) <= MAX_ID_BYTES:
            self._id = value.decode(errors="replace")

    def _dispatch(self) -> Dispatched | None:
        self.last_id = self._id
        event = None
        if self._data:
            event = Dispatched(self._kind or "message", b"\n".join(self._data), self.last_id)
        self._clear()
        return event
