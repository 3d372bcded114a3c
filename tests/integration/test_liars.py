"""The hostile brokers lie as they are told, and are honest otherwise: real servers, real frames."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from rescind.embedded import EmbeddedRedis, EmbeddedServer
from rescind_publisher.sinks.base import Record
from rescind_publisher.sinks.nats import NatsSink
from rescind_publisher.sinks.redis import RedisSink
from rescind_subscriber.nats_link import NatsOptions
from rescind_subscriber.redis_address import RedisOptions
from rescind_subscriber.sources.nats import NatsSource
from rescind_subscriber.sources.redis import RedisSource
from tests.fakes.nats import FABRIC, STREAM, RecordingFeed
from tests.fakes.waiting import until
from tests.faults.lies import Lies
from tests.faults.nats_frames import hostile_nats
from tests.faults.proxy import Network
from tests.faults.redis_frames import end_of, hostile_redis

BROKERS = ("nats", "redis")
EVENTS = [b"event %d" % number for number in range(6)]


class Way:
    """A broker behind a way that lies, one for the publisher and one for the subscriber."""

    def __init__(
        self, network: Network, broker: str, nats: EmbeddedServer, redis: EmbeddedRedis
    ) -> None:
        self.broker = broker
        self.up, self.down = Lies(), Lies()
        server = nats if broker == "nats" else redis
        self._server = server
        self._ports = {
            user: network.way(
                server.port,
                hostile_nats(lies, STREAM) if broker == "nats" else hostile_redis(lies),
            ).port
            for user, lies in (("publisher", self.up), ("subscriber", self.down))
        }

    def url(self, user: str) -> str:
        """Return the address of the way for a user."""
        return self._server.url_for(user).replace(str(self._server.port), str(self._ports[user]))

    @asynccontextmanager
    async def sink(self) -> AsyncIterator[NatsSink | RedisSink]:
        """Give a started sink."""
        url = self.url("publisher")
        sink: NatsSink | RedisSink = (
            NatsSink(FABRIC, NatsOptions(url=url, inbox_prefix="_INBOX_pub"))
            if self.broker == "nats"
            else RedisSink(FABRIC, RedisOptions(url=url))
        )
        await sink.start()
        yield sink
        await sink.stop()

    @asynccontextmanager
    async def feed(self) -> AsyncIterator[RecordingFeed]:
        """Give a feed that a source fills."""
        url, feed = self.url("subscriber"), RecordingFeed()
        source = (
            NatsSource(FABRIC, NatsOptions(url=url, inbox_prefix="_INBOX_sub"))
            if self.broker == "nats"
            else RedisSource(FABRIC, RedisOptions(url=url))
        )
        await source.start(feed)
        await until(lambda: feed.states)
        yield feed
        await source.stop()


@pytest.fixture(params=BROKERS)
def way(
    request: pytest.FixtureRequest, nats: EmbeddedServer, redis: EmbeddedRedis
) -> Iterator[Way]:
    """Give each broker in turn."""
    with Network() as network:
        yield Way(network, request.param, nats, redis)


async def told(way: Way) -> list[bytes]:
    """Publish six events and a head; return what the subscriber hears of the events."""
    async with way.sink() as sink, way.feed() as feed:
        for seq, raw in enumerate(EVENTS, 1):
            await sink.append(Record("a", seq, raw))
        await sink.announce("p", b"head")
        await until(lambda: feed.heads)
        return feed.events


async def test_an_honest_way_changes_nothing(way: Way) -> None:
    """Everything arrives once and in order."""
    assert await told(way) == EVENTS
    assert (way.up.told, way.down.told) == (0, 0)


async def test_events_are_hidden(way: Way) -> None:
    """The head passes."""
    way.down.hide = True
    assert await told(way) == []
    assert way.down.told == len(EVENTS)


async def test_events_are_dropped_doubled_and_replayed(way: Way) -> None:
    """Each to its share."""
    way.down.double = 1.0
    assert await told(way) == [raw for raw in EVENTS for _ in range(2)]


async def test_events_are_reordered(way: Way) -> None:
    """One is held back until another has passed."""
    way.down.reorder = 0.5
    heard = await told(way)
    assert heard != EVENTS
    assert set(heard) <= set(EVENTS)


async def test_bits_are_flipped(way: Way) -> None:
    """One bit of each event, of the payload alone."""
    way.down.flip = 1.0
    heard = await told(way)
    assert [len(raw) for raw in heard] == [len(raw) for raw in EVENTS]
    changed = [
        sum((a ^ b).bit_count() for a, b in zip(raw, was, strict=True))
        for raw, was in zip(heard, EVENTS, strict=True)
    ]
    assert changed == [1] * len(EVENTS)


async def test_old_heads_come_in_the_place_of_new_ones(way: Way) -> None:
    """The first one, again and again."""
    async with way.sink() as sink, way.feed() as feed:
        await sink.announce("p", b"first")
        await until(lambda: feed.heads)
        way.down.old_heads = True
        await sink.announce("p", b"second")
        await until(lambda: len(feed.heads) > 1)
        assert feed.heads == [b"first", b"first"]


async def test_heads_are_held_up(way: Way) -> None:
    """Each comes when so many newer ones have."""
    way.down.heads_late = 2
    async with way.sink() as sink, way.feed() as feed:
        for number in range(5):
            await sink.announce("p", b"head %d" % number)
        await until(lambda: len(feed.heads) > 2)
        assert feed.heads == [b"head 0", b"head 1", b"head 2"]


async def test_acks_are_forged(way: Way) -> None:
    """The sink is told that it is stored, and nothing is."""
    async with way.sink() as sink:
        way.up.forge_acks = True
        stored = await sink.append(Record("a", 1, EVENTS[0]))
        assert way.up.told == 1
        assert await sink.read_back(stored) is None


@pytest.mark.parametrize(
    ("value", "whole"),
    [
        (b"+OK\r\n", True),
        (b"$3\r\nabc\r\n", True),
        (b"$-1\r\n", True),
        (b">2\r\n$1\r\na\r\n:5\r\n", True),
        (b"%1\r\n+a\r\n*0\r\n", True),
        (b"$3\r\nab", False),
        (b"*2\r\n+a\r\n", False),
    ],
)
def test_values_are_cut_where_they_end(value: bytes, *, whole: bool) -> None:
    """Nested ones, too."""
    assert end_of(value + b"+more\r\n" * whole, 0) == (len(value) if whole else -1)
