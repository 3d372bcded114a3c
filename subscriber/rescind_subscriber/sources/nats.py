"""`NatsSource`: live by a plain subscription, stored by batched direct get (ADR-31).

1. On each new connection: subscribe to logs and heads, flush, then say `linked`.
2. Live messages go from the socket to the feed: there is no queue in between to overflow.
3. A catch-up asks for batches at increasing stream sequences. Each request has a reply subject of
   its own, and each reply names the one before it: a batch that lost its head, its tail or its
   middle is asked for again, never skipped.
4. A resume begins *at* the cursor: the same bytes must lie there, or the stream was purged, made
   anew or restored from an old copy (`created` would not show that), and the reader starts over.
5. The mark is the end of the stream as its server sees it; that it is the true end is for the
   heads to prove.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from hashlib import sha256

import msgspec

from rescind_protocol import subjects
from rescind_subscriber.errors import Rewound, SourceRefused, SourceUnavailable
from rescind_subscriber.nats_client import MAX_FRAME_BYTES
from rescind_subscriber.nats_link import Link, NatsOptions, status
from rescind_subscriber.sources.base import Batch, Cursor, Feed

log = logging.getLogger("rescind.subscriber")

BATCH_EVENTS = 1000
BATCH_BYTES = 4 * 1024 * 1024
"""What one request may bring; the server counts payload, subject and headers."""
BATCH_SILENCE_S = 2.0
"""Without one more reply for so long, the rest of a batch is taken for lost."""
BATCH_ATTEMPTS = 3
LAGGING_WAIT_S = 0.1
"""Any replica answers a direct get, and one that lags has not yet what another had."""

_SEQUENCE = b"\r\nNats-Sequence: "
_PREVIOUS = b"\r\nNats-Last-Sequence: "
_PENDING = b"\r\nNats-Num-Pending: "
_MAX_DIGITS = 20  # of a 64-bit number


class NatsSource:
    """Events of one fabric from one NATS system; runs on the loop that calls `start`."""

    def __init__(self, fabric: str, options: NatsOptions, *, name: str = "nats") -> None:
        self.name = name
        self._fabric = subjects.check_fabric(fabric)
        self._reports = subjects.reports(fabric).rstrip("*").lower()  # as nats-py says it
        self._get = f"$JS.API.DIRECT.GET.{subjects.stream(fabric)}"
        self._feed: Feed | None = None
        self._told = ""  # the reason last told to the feed; "" while linked
        self._problem = ""
        self._mute = ""  # why reports are not sent on this connection
        self._link = Link(
            options, on_up=self._up, on_down=self._down, on_problem=self._noticed_problem
        )

    def __repr__(self) -> str:
        state = self._told or "linked" if self._feed else "not started"
        return f"<NatsSource {self.name} {self._link.options.shown}: {state}>"

    async def start(self, feed: Feed) -> None:
        """Connect and subscribe; see `Source.start`."""
        self._feed = feed
        self._told = ""
        await self._link.start()

    async def stop(self) -> None:
        """Close; the feed hears no more."""
        self._feed = None
        await self._link.stop()

    async def report(self, subscriber: str, raw: bytes) -> None:
        """Send one report; see `Reporter.report`."""
        if self._mute:
            raise SourceUnavailable(self._mute)
        await self._link.publish(subjects.report(self._fabric, subscriber), raw)

    async def read(self, after: Cursor | None) -> AsyncIterator[Batch]:
        """Yield the stored events behind the cursor; see `Source.read`."""
        at = 1
        if after is not None:
            at, first = await self._resume(after)
            if first.payloads:
                yield first.as_batch()
            if first.pending == 0:
                return
        while True:
            replies = await self._fetch(at)
            if replies.payloads:
                yield replies.as_batch()
            if replies.pending == 0:
                return
            at = replies.last + 1

    async def _resume(self, after: Cursor) -> tuple[int, "_Replies"]:
        """Return the batch behind the cursor and the sequence after it, the cursor proven."""
        if not (after.position.isascii() and after.position.isdigit()):
            raise Rewound(f"{self.name}: {after.position!r} is not a position of a NATS stream")
        at = int(after.position)
        for attempt in range(BATCH_ATTEMPTS):
            replies = await self._fetch(at)
            if replies.payloads:
                break
            await asyncio.sleep(LAGGING_WAIT_S * (attempt + 1))
        else:
            raise Rewound(f"{self.name}: nothing lies at sequence {at} or behind it any more")
        if replies.first != at:
            raise Rewound(f"{self.name}: the stream was trimmed beyond sequence {at}")
        if sha256(replies.payloads.pop(0)).digest() != after.digest:
            raise Rewound(f"{self.name}: other bytes than those read before lie at {at}")
        return replies.last + 1, replies

    async def _fetch(self, at: int) -> "_Replies":
        """Return one whole batch from sequence `at` on; empty if nothing is there."""
        why = ""
        for _ in range(BATCH_ATTEMPTS):
            replies = await self._ask(at)
            why = replies.done.result() if replies.done.done() else "replies were lost"
            if not why:
                return replies
        raise SourceUnavailable(f"{self.name}: the batch at sequence {at} is not whole: {why}")

    async def _ask(self, at: int) -> "_Replies":
        """Return what one request brought; not done if its replies ceased."""
        replies = _Replies(at)
        request = {"seq": at, "batch": BATCH_EVENTS, "max_bytes": BATCH_BYTES}
        inbox = self._link.open_inbox(replies.heard)
        try:
            await self._link.publish(self._get, msgspec.json.encode(request), reply=inbox)
            await self._collect(replies)
        finally:
            self._link.close_inbox(inbox)
        if replies.missing_stream:
            raise SourceUnavailable(
                f"{self.name}: there is no stream {subjects.stream(self._fabric)} to read: "
                "a publisher makes it when it starts"
            )
        return replies

    async def _collect(self, replies: "_Replies") -> None:
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

    async def _up(self) -> None:
        self._problem = self._mute = ""
        await self._link.listen(subjects.logs(self._fabric), self._heard)
        await self._link.listen(subjects.heads(self._fabric), self._heard_head)
        await self._link.flush()
        if self._problem:  # said before the flush was answered: we would be deaf
            raise SourceRefused(self._problem)
        self._told = ""
        if self._feed is not None:
            self._feed.linked(self.name)

    def _down(self, why: str) -> None:
        if self._feed is not None and why != self._told:
            self._told = why
            self._feed.unlinked(self.name, why)

    def _noticed_problem(self, why: str) -> None:
        if self._reports in why.lower():
            # A server without this right (an older configuration): no reason to hear no kills.
            self._mute = why
            log.warning("reports are not sent: %s", why)
            return
        if why != self._problem:
            log.warning("%s", why)
        self._problem = why

    def _heard(self, _subject: str, raw: bytes, _headers: bytes) -> None:
        if self._feed is not None:
            self._feed.heard(self.name, raw)

    def _heard_head(self, _subject: str, raw: bytes, _headers: bytes) -> None:
        if self._feed is not None:
            self._feed.heard_head(self.name, raw)


class _Replies:
    """The replies to one request, chained as they come."""

    __slots__ = ("_bytes", "done", "first", "last", "missing_stream", "payloads", "pending")

    def __init__(self, at: int) -> None:
        self.payloads: list[bytes] = []
        self.first = at
        self.last = 0  # the first reply of a batch names 0 as the one before it
        self.pending = 0
        self.missing_stream = False
        self.done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._bytes = 0

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
    start = headers.rfind(name)
    if start < 0:
        return -1
    start += len(name)
    digits = headers[start : headers.find(b"\r\n", start)]
    return int(digits) if digits.isdigit() and len(digits) <= _MAX_DIGITS else -1
