"""Reading what a NATS stream stores by batched direct get (NATS ADR-31): whole batches, or none.

Each request has a reply subject of its own, and each reply names the one before it: a batch that
lost its head, its tail or its middle is asked for again, never skipped.
"""

import asyncio
from hashlib import sha256

import msgspec

from rescind_subscriber.errors import SourceUnavailable
from rescind_subscriber.nats_client import MAX_FRAME_BYTES
from rescind_subscriber.nats_link import Link, status
from rescind_subscriber.sources.base import Batch, Cursor

BATCH_EVENTS = 1000
BATCH_BYTES = 4 * 1024 * 1024
"""What one request may bring; the server counts payload, subject and headers."""
BATCH_SILENCE_S = 2.0
"""Without one more reply for so long, the rest of a batch is taken for lost."""
BATCH_ATTEMPTS = 3

_SEQUENCE = b"\r\nNats-Sequence: "
_PREVIOUS = b"\r\nNats-Last-Sequence: "
_PENDING = b"\r\nNats-Num-Pending: "
_SUBJECT = b"\r\nNats-Subject: "
_MAX_DIGITS = 20  # of a 64-bit number


class StreamMissing(SourceUnavailable):
    """Nobody answers for the stream: it was not made yet, or has no leader."""


class StreamReader:
    """Reads one stream over a link; `events` and `size` bound what one request may bring."""

    def __init__(
        self,
        link: Link,
        stream: str,
        *,
        name: str,
        events: int = BATCH_EVENTS,
        size: int = BATCH_BYTES,
    ) -> None:
        self._link, self._stream, self._name = link, stream, name
        self._events, self._size = events, size
        self._get = f"$JS.API.DIRECT.GET.{stream}"

    async def fetch(self, at: int, of: str = "") -> "Replies":
        """Return one whole batch from sequence `at` on, of subjects like `of`; empty at the end.

        Raises `SourceUnavailable`.
        """
        why = ""
        for _ in range(BATCH_ATTEMPTS):
            replies = await self._ask(at, of)
            why = replies.done.result() if replies.done.done() else "replies were lost"
            if not why:
                return replies
        raise SourceUnavailable(f"{self._name}: the batch at sequence {at} is not whole: {why}")

    async def _ask(self, at: int, of: str) -> "Replies":
        """Return what one request brought; not done if its replies ceased."""
        replies = Replies(at, with_subjects=bool(of))
        request: dict[str, int | str] = {
            "seq": at,
            "batch": self._events,
            "max_bytes": self._size,
        }
        if of:
            request["next_by_subj"] = of
        inbox = self._link.open_inbox(replies.heard)
        try:
            await self._link.publish(self._get, msgspec.json.encode(request), reply=inbox)
            await self._collect(replies)
        finally:
            self._link.close_inbox(inbox)
        if replies.missing_stream:
            raise StreamMissing(
                f"{self._name}: there is no stream {self._stream} to read: "
                "a publisher makes it when it starts"
            )
        return replies

    async def _collect(self, replies: "Replies") -> None:
        """Wait for the end of the batch as long as replies come."""
        seen = -1
        while len(replies.payloads) > seen:
            seen = len(replies.payloads)
            try:
                await self._link.while_up(replies.done, BATCH_SILENCE_S)
            except SourceUnavailable:
                if not self._link.connected:
                    raise
            else:
                return


class Replies:
    """The replies to one request, chained as they come."""

    __slots__ = (
        "_bytes",
        "_with_subjects",
        "done",
        "first",
        "last",
        "missing_stream",
        "payloads",
        "pending",
        "subjects",
    )

    def __init__(self, at: int, *, with_subjects: bool = False) -> None:
        self.payloads: list[bytes] = []
        self.subjects: list[str] = []
        """Of each payload, where they were asked for."""
        self.first = at
        self.last = 0  # the first reply of a batch names 0 as the one before it
        self.pending = 0
        self.missing_stream = False
        self.done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._bytes = 0
        self._with_subjects = with_subjects

    def heard(self, payload: bytes, headers: bytes) -> None:
        """Take one reply; `done` gets "" at the end of a whole batch, else what was wrong."""
        if self.done.done():
            return
        sequence = _number(headers, _SEQUENCE)
        if sequence < 0:
            # Only a reply without a sequence can be a status: a *stored* message may carry any
            # header line, `NATS/1.0 404` too, and would hide all that lies behind it.
            self.done.set_result(self._ended(status(headers), headers))
            return
        if _number(headers, _PREVIOUS) != self.last or sequence < self.first + len(self.payloads):
            self.done.set_result("a reply was lost or out of order")
            return
        if not self.payloads:
            self.first = sequence
        self.payloads.append(payload)
        if self._with_subjects:
            self.subjects.append(_text(headers, _SUBJECT))
        self.last = sequence
        self._bytes += len(payload)
        if len(self.payloads) > BATCH_EVENTS or self._bytes > BATCH_BYTES + MAX_FRAME_BYTES:
            self.done.set_result("it is larger than what was asked for")

    def as_batch(self) -> Batch:
        """Return the events with the cursor of the last one."""
        digest = sha256(self.payloads[-1]).digest()
        return Batch(self.payloads, Cursor(str(self.last), digest))

    def _ended(self, code: bytes, headers: bytes) -> str:
        if code == b"204":  # end of batch
            self.pending = _number(headers, _PENDING)
            whole = self.payloads and self.pending >= 0
            return "" if whole and _number(headers, _PREVIOUS) == self.last else "its end is lost"
        if code == b"404" and not self.payloads:
            return ""
        self.missing_stream = code == b"503"
        return f"the server answered {code.decode('ascii', 'replace') or 'nothing'}"


def _number(headers: bytes, name: bytes) -> int:
    """Return a header's number, or -1. The *last* of that name: the server appends its own."""
    digits = _value(headers, name)
    return int(digits) if digits.isdigit() and len(digits) <= _MAX_DIGITS else -1


def _text(headers: bytes, name: bytes) -> str:
    return _value(headers, name).decode("ascii", "replace")


def _value(headers: bytes, name: bytes) -> bytes:
    start = headers.rfind(name)
    if start < 0:
        return b""
    start += len(name)
    return headers[start : headers.find(b"\r\n", start)]
