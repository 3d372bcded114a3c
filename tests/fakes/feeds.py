"""A hub that follows scripted logs through the real reconcile step, and what it serves."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from rescind_guard.view import View
from rescind_protocol.events import digest_of
from rescind_registry.feeds.cursor import Position, decode, tag_of
from rescind_registry.feeds.hub import Hub
from rescind_registry.feeds.reader import Reader
from rescind_registry.feeds.store import EventStore
from rescind_registry.feeds.window import Window
from rescind_subscriber.reconcile import Reconciler
from tests.fakes.clock import FakeClock
from tests.fakes.fabric import FABRIC, NOW, Log, head_of, make_trust, sign_head
from tests.fakes.waiting import until


class Node:
    """A hub and the step that feeds it; `say` is what a source would bring."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        view = View()
        view.claim()
        self.at = Reconciler(make_trust(), view, FakeClock())
        self.at.relay = hub
        self._heads = 0

    def say(self, *raws: bytes) -> None:
        """Let events be heard live."""
        for raw in raws:
            self.at.event(raw)

    def head(self, *logs: Log) -> bytes:
        """Let the head of these logs be heard; return it."""
        self._heads += 1
        raw = sign_head(head_of(*logs, time_s=NOW + self._heads / 1000), key=logs[0].key)
        self.at.head(raw)
        return raw

    async def settled(self) -> None:
        """Return when the hub has taken everything in and has written it."""
        await until(lambda: not (self.hub._inbox or self.hub._unwritten))


@asynccontextmanager
async def noded(
    folder: Path | None = None,
    *,
    window: int = 1000,
    max_events: int = 100_000,
) -> AsyncIterator[Node]:
    """Give a node whose hub is open."""
    store = EventStore(folder / "events.db", FABRIC, max_events=max_events) if folder else None
    hub = Hub(store, window=Window(window))
    node = Node(hub)
    node.at.publish_replica()
    await hub.open()
    try:
        yield node
    finally:
        await hub.close()


def position_of(*logs: Log) -> Position:
    """Return the position of who has all of these logs."""
    return Position({tag_of(log.id): len(log.raws) for log in logs if log.raws})


async def stored(hub: Hub, cursor: str | None) -> tuple[list[bytes], str]:
    """Return all that is stored behind a cursor, None: all there is; and the last cursor."""
    await until(lambda: not hub._inbox)
    reader = Reader(hub, decode(cursor or "v1"), partial=cursor is None)
    found, last = [], reader.cursor
    while (taken := await reader.stored()) is not None:
        for said in taken.events:
            found.append(said.raw)
            last = said.cursor
    return found, last


def digests(raws: Sequence[bytes]) -> list[bytes]:
    """Return what tells events apart, sorted: for comparison without an order."""
    return sorted(map(digest_of, raws))
