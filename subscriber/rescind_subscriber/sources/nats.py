"""`NatsSource`: live by a plain subscription, stored by batched direct get (NATS ADR-31).

1. On each new connection: subscribe to logs and heads, flush, then say `linked`.
2. Live messages go from the socket to the feed: there is no queue in between to overflow.
3. A catch-up asks for batches at increasing stream sequences, each whole (`nats_reader`).
4. A resume begins *at* the cursor: the same bytes must lie there, or the stream was purged, made
   anew or restored from an old copy (`created` would not show that), and the reader starts over.
5. The mark is the end of the stream as its server sees it when the reading begins; that it is the
   true end is for the heads to prove.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from hashlib import sha256

from rescind_protocol import subjects
from rescind_subscriber.errors import Rewound, SourceRefused, SourceUnavailable
from rescind_subscriber.faults import Fault
from rescind_subscriber.nats_link import Link, NatsOptions
from rescind_subscriber.nats_reader import BATCH_ATTEMPTS, Replies, StreamReader
from rescind_subscriber.nats_shelf import ShelfReader
from rescind_subscriber.sources.base import Batch, Cursor, Feed, Listed

log = logging.getLogger("rescind.subscriber")

LAGGING_WAIT_S = 0.1
"""Any replica answers a direct get, and one that lags has not yet what another had."""


class NatsSource:
    """Events of one fabric from one NATS system; runs on the loop that calls `start`."""

    def __init__(self, fabric: str, options: NatsOptions, *, name: str = "nats") -> None:
        self.name = name
        self._fabric = subjects.check_fabric(fabric)
        self._reports = subjects.reports(fabric).rstrip("*").lower()  # as nats-py says it
        self._feed: Feed | None = None
        self._told = ""  # the reason last told to the feed; "" while linked
        self._problem = ""
        self._listening = False
        self._mute = ""  # why reports are not sent on this connection
        self._link = Link(
            options,
            on_up=self._up,
            on_down=self._down,
            on_problem=self._noticed_problem,
            spread_s=self._spread_s,
        )
        self._reader = StreamReader(self._link, subjects.stream(fabric), name=name)
        self._shelf = ShelfReader(self._link, fabric, name=name)

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
        if after is not None:
            at, replies = await self._resume(after)
        else:
            replies = await self._reader.fetch(1)
            at = replies.last + 1
        # What came since the beginning is heard live: without a mark, a reader that is slower than
        # the writers would never come to an end.
        left = replies.pending
        while True:
            if replies.payloads:
                yield replies.as_batch()
            if left <= 0 or replies.pending == 0:
                return
            replies = await self._reader.fetch(at)
            at = replies.last + 1
            left -= len(replies.payloads)

    async def list_snapshots(self) -> list[Listed]:
        """Return the snapshots' statements; see `SnapshotStore`."""
        return await self._shelf.list_snapshots()

    async def read_snapshot(self, place: str, size: int) -> list[bytes]:
        """Return a snapshot's parts; see `SnapshotStore`."""
        return await self._shelf.read_snapshot(place, size)

    async def _resume(self, after: Cursor) -> tuple[int, Replies]:
        """Return the batch behind the cursor and the sequence after it, the cursor proven."""
        if not (after.position.isascii() and after.position.isdigit()):
            raise Rewound(f"{self.name}: {after.position!r} is not a position of a NATS stream")
        at = int(after.position)
        for attempt in range(BATCH_ATTEMPTS):
            replies = await self._reader.fetch(at)
            if replies.payloads:
                break
            await asyncio.sleep(LAGGING_WAIT_S * (attempt + 1))
        else:
            raise Rewound(f"{self.name}: nothing lies at sequence {at} or behind it any more")
        if replies.first != at:
            raise Rewound(
                f"{self.name}: the stream was trimmed beyond sequence {at}", Fault.STREAM_TRIMMED
            )
        if sha256(replies.payloads.pop(0)).digest() != after.digest:
            raise Rewound(
                f"{self.name}: other bytes than those read before lie at {at}",
                Fault.STREAM_REPLACED,
            )
        return replies.last + 1, replies

    async def _up(self) -> None:
        self._problem = self._mute = ""
        await self._link.listen(subjects.logs(self._fabric), self._heard)
        await self._link.listen(subjects.heads(self._fabric), self._heard_head)
        await self._link.flush()
        if self._problem:  # said before the flush was answered: we would be deaf
            raise SourceRefused(self._problem)
        self._listening = True
        self._told = ""
        if self._feed is not None:
            self._feed.linked(self.name)

    def _down(self, why: str) -> None:
        self._listening = False
        if self._feed is not None and why != self._told:
            self._told = why
            self._feed.unlinked(self.name, why)

    def _spread_s(self) -> float:
        return self._feed.spread_s() if self._feed is not None else 0.0

    def _noticed_problem(self, why: str) -> None:
        if self._reports in why.lower():
            # A server without this right (an older configuration): no reason to hear no kills.
            self._mute = why
            log.warning("reports are not sent: %s", why)
            return
        if why != self._problem:
            log.warning("%s", why)
        self._problem = why
        if self._listening and "subscription" in why.lower():
            self._link.give_up(why)  # a right was taken away: connected still, and deaf

    def _heard(self, _subject: str, raw: bytes, _headers: bytes) -> None:
        if self._feed is not None:
            self._feed.heard(self.name, raw)

    def _heard_head(self, _subject: str, raw: bytes, _headers: bytes) -> None:
        if self._feed is not None:
            self._feed.heard_head(self.name, raw)
