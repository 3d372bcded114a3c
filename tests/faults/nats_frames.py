"""A hostile NATS server: enough of the client protocol to lie about messages, one by one.

Control lines end with CRLF; `MSG`, `HMSG`, `PUB` and `HPUB` are followed by so many bytes and CRLF
(docs.nats.io, client protocol). What is not a message passes as it is.
"""

import msgspec

from tests.faults.lies import Frame, Kind, Liar, Lies
from tests.faults.proxy import Connection, MakeTamper

_CRLF = b"\r\n"
_WITH_PAYLOAD = (b"MSG", b"HMSG", b"PUB", b"HPUB")
_WITH_HEADERS = (b"HMSG", b"HPUB")


def hostile_nats(lies: Lies, stream: str) -> MakeTamper:
    """Return what makes a way to a NATS server a hostile one; `stream` is what acks name."""
    return lambda connection: _Nats(lies, stream, connection)


class _Frames:
    """Cuts a byte stream into whole frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that are whole now."""
        self._rest += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
            self._rest = self._rest[len(frame.raw) :]
        return frames

    def _next(self) -> Frame | None:
        end = self._rest.find(_CRLF)
        if end < 0:
            return None
        line, start = self._rest[:end], end + len(_CRLF)
        words = line.split()
        if not words or words[0].upper() not in _WITH_PAYLOAD:
            return Frame(self._rest[:start])
        whole = start + int(words[-1]) + len(_CRLF)
        if len(self._rest) < whole:
            return None
        skip = int(words[-2]) if words[0].upper() in _WITH_HEADERS else 0
        raw = self._rest[:whole]
        return Frame(raw, _kind(words, raw), start + skip, whole - len(_CRLF))


def _kind(words: list[bytes], raw: bytes) -> Kind:
    subject = words[1]
    if b".log." in subject:
        return Kind.EVENT
    if b".head." in subject:
        return Kind.HEAD
    return Kind.STORED if b"\r\nNats-Subject: " in raw and b".log." in raw else Kind.OTHER


class _Nats:
    def __init__(self, lies: Lies, stream: str, connection: Connection) -> None:
        self._lies, self._stream, self._connection = lies, stream, connection
        self._liar = Liar(lies)
        self._up, self._down = _Frames(), _Frames()
        self._inboxes: dict[bytes, bytes] = {}
        self._acked = 0

    def to_client(self, data: bytes) -> bytes:
        """Lie about what the server says."""
        return b"".join(raw for frame in self._down.feed(data) for raw in self._liar.tell(frame))

    def to_server(self, data: bytes) -> bytes:
        """Throw away and acknowledge, or flip, what is to be stored."""
        return b"".join(map(self._publish, self._up.feed(data)))

    def _publish(self, frame: Frame) -> bytes:
        words = frame.raw.partition(_CRLF)[0].split()
        if words and words[0].upper() == b"SUB":
            self._inboxes[words[1].removesuffix(b"*")] = words[-1]
        if frame.kind is not Kind.EVENT or not words[0].upper().endswith(b"PUB"):
            return frame.raw
        if self._lies.forge_acks:
            self._forge(words[2])
            return b""
        return (
            self._lies.flipped(frame) if self._lies.happens(self._lies.flip_stored) else frame.raw
        )

    def _forge(self, inbox: bytes) -> None:
        self._acked += 1
        self._lies.told += 1
        ack = msgspec.json.encode({"stream": self._stream, "seq": self._acked})
        sid = next(sid for prefix, sid in self._inboxes.items() if inbox.startswith(prefix))
        self._connection.tell_client(b"MSG %b %b %d\r\n%b\r\n" % (inbox, sid, len(ack), ack))
