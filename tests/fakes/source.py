"""A source in memory that does to its reader whatever a broker could, by script."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256

from rescind_subscriber.errors import Rewound, SourceRefused, SourceUnavailable
from rescind_subscriber.faults import Fault
from rescind_subscriber.sources.base import Batch, Cursor, Feed
from tests.fakes.fabric import NOW, Log, head_of, sign_head


class ScriptedSource:
    """Implements `Source`. What is stored, what is heard and what fails is the test's to say."""

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self.stored: list[bytes] = []
        self.batch_size = 2
        self.withheld = 0
        """So many of the last stored events are not shown to a reader."""
        self.trimmed = False
        """A cursor is told that the stream begins behind it."""
        self.refusal: SourceRefused | None = None
        """Raised by each `start` while it is set."""
        self.outage = ""
        """Raised by each read while it is set."""
        self.breaks: BaseException | None = None
        """Raised by the next read only: a bug, or a task that is cancelled from within."""
        self.breaks_after = 0
        """So many batches are shown before it."""
        self.gate = asyncio.Event()
        """A reader stops here after each batch; open unless a test closes it."""
        self.gate.set()
        self.hangs_on_stop = False
        self.feed: Feed | None = None
        self.starts = 0
        self.stops = 0
        self.reads: list[Cursor | None] = []
        """The cursor that each read began with."""

    async def start(self, feed: Feed) -> None:
        """Subscribe, unless the script refuses."""
        self.starts += 1
        if self.refusal is not None:
            raise self.refusal
        self.feed = feed
        feed.linked(self.name)

    async def stop(self) -> None:
        """Close."""
        self.stops += 1
        self.feed = None
        if self.hangs_on_stop:
            await asyncio.Event().wait()

    async def read(self, after: Cursor | None) -> AsyncIterator[Batch]:
        """Yield batches; the cursor is the number of the last event, from 1."""
        self.reads.append(after)
        if self.outage:
            raise SourceUnavailable(self.outage)
        at, shown = self._resume(after), 0
        while at < len(self.stored) - self.withheld:
            self._break(shown)
            end = min(at + self.batch_size, len(self.stored) - self.withheld)
            yield Batch(self.stored[at:end], self.cursor(end))
            at, shown = end, shown + 1
            await self.gate.wait()
        self._break(shown)

    def cursor(self, number: int) -> Cursor:
        """Return the cursor of stored event `number`, from 1."""
        return Cursor(str(number), sha256(self.stored[number - 1]).digest())

    def _resume(self, after: Cursor | None) -> int:
        if after is None:
            return 0
        at = int(after.position)
        if self.trimmed or at > len(self.stored) or self.cursor(at) != after:
            raise Rewound(f"{self.name}: other bytes lie at {at}", self._difference(at))
        return at

    def _difference(self, at: int) -> Fault:
        if self.trimmed:
            return Fault.STREAM_TRIMMED
        return Fault.STREAM_REWOUND if at > len(self.stored) else Fault.STREAM_REPLACED

    def _break(self, shown: int) -> None:
        if self.breaks is not None and shown >= self.breaks_after:
            error, self.breaks = self.breaks, None
            raise error

    # --- what the script says ---

    def say(self, *raws: bytes) -> None:
        """Let events be heard live, stored or not."""
        assert self.feed is not None
        for raw in raws:
            self.feed.heard(self.name, raw)

    def head(self, *logs: Log, time_s: float = NOW) -> None:
        """Let the head of these logs, as they stand, be heard."""
        self.head_raw(sign_head(head_of(*logs, time_s=time_s), key=logs[0].key))

    def head_raw(self, raw: bytes) -> None:
        """Let a head be heard."""
        assert self.feed is not None
        self.feed.heard_head(self.name, raw)

    def cut(self, why: str = "cut off") -> None:
        """Lose the connection."""
        assert self.feed is not None
        self.feed.unlinked(self.name, why)

    def mend(self) -> None:
        """Have the connection again."""
        assert self.feed is not None
        self.feed.linked(self.name)
