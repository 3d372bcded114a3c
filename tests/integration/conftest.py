"""Fixtures around the real nats-server and the real redis-server."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from rescind.embedded import EmbeddedRedis, EmbeddedServer
from rescind_publisher.sinks.nats import NatsSink
from rescind_publisher.sinks.redis import RedisSink
from rescind_subscriber.redis_wire import Wire
from rescind_subscriber.sources.nats import NatsSource
from rescind_subscriber.sources.redis import RedisSource
from tests.fakes import redis as fakes
from tests.fakes.nats import FABRIC, RecordingFeed, Watched, admin_server, linked, options


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """Give a running nats-server with the packaged configuration and a user `admin` beside."""
    with admin_server(tmp_path) as server:
        yield server


@pytest.fixture
async def admin(nats: EmbeddedServer) -> AsyncIterator[Watched]:
    """Give a link that may do everything in the publishers' account."""
    async with linked(nats, "admin") as watched:
        yield watched


@pytest.fixture
async def publisher(nats: EmbeddedServer) -> AsyncIterator[Watched]:
    """Give a link with the publisher's rights."""
    async with linked(nats, "publisher") as watched:
        yield watched


@pytest.fixture
async def subscriber(nats: EmbeddedServer) -> AsyncIterator[Watched]:
    """Give a link with the subscriber's rights."""
    async with linked(nats, "subscriber") as watched:
        yield watched


@pytest.fixture
async def sink(nats: EmbeddedServer) -> AsyncIterator[NatsSink]:
    """Give a started sink: the stream exists."""
    started = NatsSink(FABRIC, options(nats, "publisher"), system=options(nats, "system"))
    await started.start()
    yield started
    await started.stop()


@pytest.fixture
def feed() -> RecordingFeed:
    """Give a feed that records."""
    return RecordingFeed()


@pytest.fixture
async def source(
    nats: EmbeddedServer, sink: NatsSink, feed: RecordingFeed
) -> AsyncIterator[NatsSource]:
    """Give a started source on an existing stream."""
    del sink
    started = NatsSource(FABRIC, options(nats, "subscriber"))
    await started.start(feed)
    yield started
    await started.stop()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """Give a running redis-server with the shipped configuration and users."""
    with fakes.redis_server(tmp_path / "redis") as server:
        yield server


@pytest.fixture
async def redis_admin(redis: EmbeddedRedis) -> AsyncIterator[Wire]:
    """Give a connection to Redis that may do everything."""
    async with fakes.wired(redis) as wire:
        yield wire


@pytest.fixture
async def redis_sink(redis: EmbeddedRedis) -> AsyncIterator[RedisSink]:
    """Give a started sink."""
    started = fakes.sink_of(redis)
    await started.start()
    yield started
    await started.stop()


@pytest.fixture
async def redis_source(redis: EmbeddedRedis, feed: RecordingFeed) -> AsyncIterator[RedisSource]:
    """Give a started source."""
    started = RedisSource(fakes.FABRIC, fakes.options(redis, "subscriber"))
    await started.start(feed)
    yield started
    await started.stop()
