"""A sink in memory behind the real interface, with the faults that real ones have."""

import asyncio
from collections.abc import Callable

from rescind_publisher.errors import SinkRefused, SinkUnavailable
from rescind_publisher.sinks.base import Record, Stored

Fault = Callable[[Record], bytes | None]
"""What a lying store keeps of an event that it acknowledges; None: nothing."""


class FakeSink:
    """Stores events in a list; its position is the index."""

    def __init__(self, name: str = "fake", *, any_order: bool = False) -> None:
        self.name = name
        self.any_order = any_order
        self.store: list[bytes | None] = []
        self.stored: list[tuple[str, int]] = []
        """(log, number) of each event as it was stored first, in order."""
        self.attempts: list[tuple[int, bool]] = []
        """(number, repair) of each call."""
        self.heads: list[bytes] = []
        self.ids: dict[bytes, int] = {}
        self.down = False
        self.refuses: str | None = None
        self.broken: Exception | None = None
        self.lie: Fault | None = None
        self.hold: asyncio.Event | None = None
        """Calls wait for this before they answer."""
        self.unreadable = False
        self.after_store: Callable[[Record], None] | None = None
        self.stopped = False

    async def start(self) -> None:
        """Connect."""
        self._check()

    async def append(self, record: Record, *, repair: bool = False) -> Stored:
        """Store, deduplicating by the event's bytes as NATS does by their digest."""
        self.attempts.append((record.seq, repair))
        self._check()
        if self.hold is not None:
            await self.hold.wait()
        if not repair and record.raw in self.ids:
            return Stored(str(self.ids[record.raw]), duplicate=True)
        self.ids[record.raw] = len(self.store)
        self.stored.append((record.log, record.seq))
        lying = self.lie is not None and not repair
        self.store.append(self.lie(record) if lying and self.lie else record.raw)
        if self.after_store is not None:
            self.after_store(record)
        return Stored(str(len(self.store) - 1), duplicate=False)

    async def read_back(self, stored: Stored) -> bytes | None:
        """Return what lies there."""
        self._check()
        if self.unreadable:
            raise SinkUnavailable(f"{self.name}: cannot be read")
        place = int(stored.position)
        return self.store[place] if place < len(self.store) else None

    async def announce(self, publisher: str, head: bytes) -> None:
        """Keep the head."""
        del publisher
        self._check()
        self.heads.append(head)

    async def stop(self) -> None:
        """Note it."""
        self.stopped = True

    def holds(self, count: int) -> bool:
        """Whether so many different events are stored."""
        return len(set(filter(None, self.store))) >= count

    def _check(self) -> None:
        if self.broken is not None:
            raise self.broken
        if self.refuses:
            raise SinkRefused(f"{self.name}: {self.refuses}")
        if self.down:
            raise SinkUnavailable(f"{self.name}: cannot be reached")
