"""`sources = ["sse", "bundle"]`: the stream for speed, the bundle to reconcile, and no broker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rescind_registry.feeds.sse import EventStream
from rescind_subscriber.http_address import HttpOptions
from rescind_subscriber.sources.base import Source
from rescind_subscriber.sources.bundle import BundleOptions, BundleSource
from rescind_subscriber.sources.sse import SseSource
from tests.fakes.bundles import BundleNode, bundled
from tests.fakes.fabric import FABRIC, Log
from tests.fakes.feeds import Served, served
from tests.fakes.following import following, kills, victim
from tests.fakes.waiting import until

SELDOM = BundleOptions(every_s=60)
"""So seldom that a test would fail which waits for it."""
OFTEN = BundleOptions(every_s=0.1)


@asynccontextmanager
async def both() -> AsyncIterator[tuple[BundleNode, Served]]:
    """Give a node that holds two events, and the server of its stream, apart from the bundle's."""
    async with bundled(window=2) as node:
        async with served(*EventStream(node.node.hub).routes()) as stream:
            yield node, stream
        node.node.hub.stopping = False


def sources(node: BundleNode, stream: Served, options: BundleOptions) -> list[Source]:
    """Return both, as the settings make them."""
    return [
        SseSource(HttpOptions(url=stream.url)),
        BundleSource(FABRIC, HttpOptions(url=node.url), options),
    ]


async def test_a_cold_start_takes_the_bundle_and_kills_come_by_the_stream() -> None:
    """The snapshot has what the stream holds no more; what comes next does not wait for a poll."""
    log = Log()
    async with both() as (node, stream):
        await node.say(*kills(log, 5))
        await node.head(log)
        async with following(*sources(node, stream, SELDOM)) as followed:
            await until(lambda: followed.denies(*map(victim, range(1, 6))))
            await until(lambda: followed.age_s < 1)
            assert followed.follower.cold.counts.read()["taken"] == 1
            await until(lambda: followed.follower.links == {"sse": "", "bundle": ""})
            node.node.say(*kills(log, 1))
            await until(lambda: followed.denies(victim(6)))


async def test_the_stream_alone_cannot_start_cold() -> None:
    """The control: without the bundle the oldest kills are not known, and nothing proves them."""
    log = Log()
    async with both() as (node, stream):
        await node.say(*kills(log, 5))
        await node.head(log)
        alone, _ = sources(node, stream, SELDOM)
        async with following(alone) as followed:
            await until(lambda: followed.denies(victim(5)))
            await until(lambda: followed.follower.links == {"sse": ""})
            await node.head(log)
            await until(lambda: followed.follower.reconciler.heads.read().get("not_covered"))
            assert not followed.denies(victim(1))
            assert followed.age_s > 300


async def test_the_bundle_brings_what_a_stream_that_is_away_does_not() -> None:
    """The view stays fresh by the bundle's heads; when the stream is back nothing is doubled."""
    log = Log()
    async with both() as (node, stream):
        await node.say(*kills(log, 3))
        await node.head(log)
        async with following(*sources(node, stream, OFTEN)) as followed:
            await until(lambda: followed.age_s < 1 and followed.denies(victim(3)))
            await stream.stop()
            await until(lambda: followed.follower.links["sse"])
            await node.say(*kills(log, 4))
            await node.head(log)
            await until(lambda: followed.denies(*map(victim, range(1, 8))))
            proven = followed.view.published.as_of_wall
            await node.head(log)
            await until(lambda: followed.view.published.as_of_wall > proven)
            await stream.start()
            await until(lambda: followed.follower.links == {"sse": "", "bundle": ""})
            assert len(followed.view.published.table) == 7
