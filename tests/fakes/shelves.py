"""Publishers that write snapshots, and subscribers that start by them, on real servers."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from rescind.embedded import EmbeddedServer
from rescind_protocol.image import Image
from rescind_publisher.engine import Publisher
from rescind_publisher.keeper import Keeper
from rescind_publisher.sinks.nats import NatsSink
from rescind_publisher.switch import KillSwitch
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.follow import Follower
from rescind_subscriber.nats_link import NatsOptions
from rescind_subscriber.sources.base import Batch, Cursor, Feed
from rescind_subscriber.sources.nats import NatsSource
from rescind_subscriber.subscriber import Subscriber
from tests.fakes.fabric import FABRIC, make_trust
from tests.fakes.nats import options
from tests.fakes.publishing import publisher
from tests.fakes.waiting import wait_until

TRUST = make_trust()
CONFIG = SubscriberConfig(heartbeat_s=0.05, reread_every_s=0.2, retry_s=0.02, retry_most_s=0.2)
OFTEN: dict[str, Any] = {"snapshot_every_s": 0.1, "snapshot_events": 1}
"""A publisher that writes a snapshot whenever there is anything new."""
ONCE: dict[str, Any] = {"snapshot_every_s": 3600.0, "snapshot_events": 10**9}
"""A publisher that writes its first two and no more."""


class WithoutSnapshots:
    """A source that offers events only: what a subscriber was before there were snapshots."""

    def __init__(self, inner: NatsSource) -> None:
        self.name, self._inner = inner.name, inner

    async def start(self, feed: Feed) -> None:
        """Subscribe."""
        await self._inner.start(feed)

    async def read(self, after: Cursor | None) -> AsyncIterator[Batch]:
        """Read the events."""
        async for batch in self._inner.read(after):
            yield batch

    async def stop(self) -> None:
        """Close."""
        await self._inner.stop()


def cold(server: EmbeddedServer, *, snapshots: bool = True, **more: Any) -> Subscriber:
    """Return a subscriber that knows nothing; not started."""

    def sources() -> list[Any]:
        source = NatsSource(FABRIC, options(server, "subscriber"))
        return [source if snapshots else WithoutSnapshots(source)]

    return Subscriber(more.pop("trust", TRUST), sources, config=CONFIG, **more)


def follower_of(subscriber: Subscriber) -> Follower:
    """Return what follows."""
    assert subscriber._follower is not None
    return subscriber._follower


def state(subscriber: Subscriber) -> bytes:
    """Return all that was joined, in one canonical form: two that are equal know the same."""
    return canonical(follower_of(subscriber).reconciler.replica.image())


def canonical(image: Image) -> bytes:
    """Return an image as bytes in which no order of arrival shows."""
    return msgspec.msgpack.encode(
        msgspec.structs.replace(
            image,
            vector=dict(sorted(image.vector.items())),
            horizons={},  # of the last head that was heard
            revocations=tuple(sorted(image.revocations, key=lambda r: r.id)),
            floors=tuple(sorted(image.floors, key=lambda f: (f.target, f.log))),
        )
    )


@contextmanager
def writing(
    server: EmbeddedServer, folder: Path, **changes: Any
) -> Iterator[tuple[KillSwitch, Publisher]]:
    """Give a kill switch whose publisher follows the fabric and writes snapshots."""
    with writing_at(options(server, "publisher"), folder, **changes) as both:
        yield both


@contextmanager
def writing_at(
    how: NatsOptions, folder: Path, **changes: Any
) -> Iterator[tuple[KillSwitch, Publisher]]:
    """Do as `writing`, in a process that did not start the server."""
    follower = Subscriber(TRUST, lambda: [NatsSource(FABRIC, how)], config=CONFIG)
    engine = publisher(folder, NatsSink(FABRIC, how), follower=follower, **changes)
    with follower, KillSwitch(engine) as switch:
        yield switch, engine


def keeper(engine: Publisher) -> Keeper:
    """Return what writes its snapshots."""
    assert engine._keeper is not None
    return engine._keeper


def kept(engine: Publisher) -> int:
    """Return how many snapshots were read back from every sink."""
    return min(len(each.have) for each in keeper(engine).shelves)


def written(engine: Publisher) -> int:
    """Return the number of events in the newest snapshot of every sink."""
    return min(each.have[0].events if each.have else -1 for each in keeper(engine).shelves)


def wait_for_snapshots(engine: Publisher, events: int) -> None:
    """Return when two snapshots were read back, the newest with so many events."""
    wait_until(lambda: kept(engine) >= 2 and written(engine) >= events, 30)
