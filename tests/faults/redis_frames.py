"""A hostile Redis: enough of RESP2 and RESP3 to lie about pushed messages and stored entries.

Answers come in the order of the commands, so that a forged one takes the place of another's: in the
command's stead the server is sent a PING.
"""

from collections import deque

from tests.faults.lies import Frame, Kind, Liar, Lies
from tests.faults.proxy import Connection, MakeTamper

_CRLF = b"\r\n"
_BLOBS = b"$=!"
_AGGREGATES = {b"*": 1, b"~": 1, b">": 1, b"%": 2}
_PING = b"*1\r\n$4\r\nPING\r\n"


def hostile_redis(lies: Lies) -> MakeTamper:
    """Return what makes a way to a Redis a hostile one."""
    return lambda connection: _Redis(lies, connection)


def end_of(data: bytes, at: int) -> int:
    """Return where the value that begins at `at` ends, -1 if it is not whole (RESP3)."""
    line = data.find(_CRLF, at)
    if line < 0:
        return -1
    kind, rest, end = data[at : at + 1], data[at + 1 : line], line + len(_CRLF)
    if kind in _BLOBS:
        size = int(rest)
        end += size + len(_CRLF) if size >= 0 else 0
        return end if end <= len(data) else -1
    for _ in range(max(0, int(rest)) * _AGGREGATES[kind] if kind in _AGGREGATES else 0):
        end = end_of(data, end)
        if end < 0:
            return -1
    return end


class _Values:
    """Cuts a byte stream into whole values."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the values that are whole now."""
        self._rest += data
        values, at = [], 0
        while at < len(self._rest) and (end := end_of(self._rest, at)) > 0:
            values.append(self._rest[at:end])
            at = end
        self._rest = self._rest[at:]
        return values


def _frame(raw: bytes, *, pushed: bool) -> Frame:
    """Return a value with its kind, by its channel or key; an event is its last, largest blob."""
    kind = Kind.OTHER
    if pushed and b"message" in raw[:32]:
        kind = Kind.EVENT if b":live\r\n" in raw else Kind.HEAD if b":heads\r\n" in raw else kind
    elif not pushed and raw[:1] == b"*" and b"$5\r\nevent\r\n" in raw:
        kind = Kind.STORED
    end = len(raw) - len(_CRLF)
    return Frame(raw, kind, raw.rfind(_CRLF, 0, end) + len(_CRLF), end)


class _Redis:
    def __init__(self, lies: Lies, connection: Connection) -> None:
        del connection
        self._lies, self._liar = lies, Liar(lies)
        self._up, self._down = _Values(), _Values()
        self._answers: deque[bytes] = deque()
        """For each command under way, what is to be answered in its place, or nothing."""

    def to_client(self, data: bytes) -> bytes:
        """Lie about what the server says."""
        return b"".join(part for raw in self._down.feed(data) for part in self._answer(raw))

    def _answer(self, raw: bytes) -> list[bytes]:
        if raw[:1] == b">":
            return list(self._liar.tell(_frame(raw, pushed=True)))
        forged = self._answers.popleft() if self._answers else b""
        if forged:
            return [forged]
        frame = _frame(raw, pushed=False)
        if frame.kind is Kind.STORED and self._lies.hide:
            self._lies.told += 1
            return [b"*0\r\n"]  # nothing is stored; a missing answer would shift all others
        return list(self._liar.tell(frame))

    def to_server(self, data: bytes) -> bytes:
        """Throw away and acknowledge, or flip, what is to be stored."""
        return b"".join(map(self._command, self._up.feed(data)))

    def _command(self, raw: bytes) -> bytes:
        words = raw.split(_CRLF, 3)
        name = words[2].upper() if len(words) > 2 else b""
        if name in (b"SUBSCRIBE", b"UNSUBSCRIBE"):
            return raw  # answered by pushes
        if name != b"EVAL" or b"XADD" not in raw:
            self._answers.append(b"")
            return raw
        if self._lies.forge_acks:
            self._lies.told += 1
            self._answers.append(b"*2\r\n$2\r\nok\r\n:1\r\n")
            return _PING
        self._answers.append(b"")
        frame = _frame(raw, pushed=False)
        return self._lies.flipped(frame) if self._lies.happens(self._lies.flip_stored) else raw
