"""NATS and Redis together: one fabric, two ways, and what is left when one of them is gone."""

import asyncio
import os
import shutil
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from rescind.embedded import EmbeddedRedis, EmbeddedServer
from rescind_protocol import subjects
from rescind_publisher import metrics
from rescind_publisher.engine import Publisher
from rescind_publisher.sinks.base import Record, Sink, Stored
from rescind_publisher.sinks.nats import NatsSink
from rescind_publisher.sinks.redis import RedisSink
from rescind_publisher.switch import KillSwitch
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.errors import SourceUnavailable
from rescind_subscriber.sources.base import Source
from rescind_subscriber.sources.nats import NatsSource
from rescind_subscriber.sources.redis import RedisSource
from rescind_subscriber.states import State
from rescind_subscriber.subscriber import Subscriber
from tests.fakes import nats as on_nats
from tests.fakes import redis as on_redis
from tests.fakes.fabric import FABRIC, make_trust
from tests.fakes.publishing import posts_no_trust, publisher, target
from tests.fakes.waiting import WITHIN_S, wait_until
from tests.faults.processes import freeze

QUICK = SubscriberConfig(heartbeat_s=0.1, retry_s=0.05, retry_most_s=0.2)


class World:
    """Both servers, and publishers and subscribers on either or both of them."""

    def __init__(self, nats: EmbeddedServer, redis: EmbeddedRedis, folder: Path) -> None:
        self.nats, self.redis, self.folder = nats, redis, folder

    def engine(self, *ways: str, **changes: Any) -> Publisher:
        """Return a publisher into these brokers, not started."""
        sinks: dict[str, Callable[[], Sink]] = {
            "nats": lambda: NatsSink(FABRIC, on_nats.options(self.nats, "publisher")),
            "redis": lambda: on_redis.sink_of(self.redis),
        }
        return publisher(self.folder, *(sinks[way]() for way in ways), **changes)

    def sources(self, *ways: str) -> Callable[[], list[Source]]:
        """Return what makes the sources of a subscriber."""
        made: dict[str, Callable[[], Source]] = {
            "nats": lambda: NatsSource(FABRIC, on_nats.options(self.nats, "subscriber")),
            "redis": lambda: RedisSource(FABRIC, on_redis.options(self.redis, "subscriber")),
        }
        return lambda: [made[way]() for way in ways]

    @contextmanager
    def following(self, *ways: str, **how: Any) -> Iterator[Subscriber]:
        """Give a subscriber on these brokers."""
        with Subscriber(make_trust(), self.sources(*ways), config=QUICK, **how) as subscriber:
            yield subscriber


@pytest.fixture
def world(nats: EmbeddedServer, redis: EmbeddedRedis, tmp_path: Path) -> World:
    """Give both servers, running."""
    return World(nats, redis, tmp_path)


def dead(subscriber: Subscriber, *numbers: int) -> bool:
    """Whether the view denies all of these targets."""
    table = subscriber.view.published.table
    return all(table.get(target(number).digest) is not None for number in numbers)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop a process as SIGSTOP does, and let it go on."""
    freeze(pid)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_kill_is_stored_by_both_and_applied_once(world: World) -> None:
    """Each broker holds it for certain; a subscriber of both joins the two copies into one kill."""
    with (
        KillSwitch(world.engine("nats", "redis")) as switch,
        world.following("nats", "redis") as both,
        world.following("redis") as only_redis,
    ):
        both.wait_fresh(WITHIN_S)
        only_redis.wait_fresh(WITHIN_S)
        receipt = switch.kill(target(1), timeout_s=WITHIN_S)
        assert set(receipt.durable) == {"nats", "redis"}, receipt
        wait_until(lambda: dead(both, 1) and dead(only_redis, 1))
        found = both.view.published.table.get(target(1).digest)
        assert found is not None
        assert [one.id for one in found.revocations] == list(receipt.ids)
        wait_until(lambda: both.status().events.get("seen", 0) >= 1)
        assert both.status().events["applied"] == 1


def test_cold_start_from_redis_alone(world: World) -> None:
    """A subscriber that starts later reads every kill from the streams, of runs before too."""
    for run in range(2):
        with KillSwitch(world.engine("redis")) as switch:
            for number in range(5):
                switch.kill(target(10 * run + number), timeout_s=WITHIN_S)
    with world.engine("redis"), world.following("redis") as late:
        late.wait_fresh(WITHIN_S)
        assert dead(late, *range(5), *range(10, 15))


def test_a_frozen_nats_holds_up_nothing(world: World) -> None:
    """With NATS silent, kills reach every subscriber through Redis, and the receipt says so."""
    with (
        world.engine("nats", "redis", send_timeout_s=1.0) as engine,
        ExitStack() as stack,
    ):
        switch = KillSwitch(engine)
        fleet = [
            stack.enter_context(world.following(*ways))
            for ways in (("nats", "redis"), ("nats", "redis"), ("redis",))
        ]
        for subscriber in fleet:
            subscriber.wait_fresh(WITHIN_S)
        healthy = [reach(switch, fleet, number) for number in range(30)]
        with frozen(world.nats.pid):
            first = switch.kill(target(900), timeout_s=WITHIN_S)
            assert first.durable == ("redis",), first
            assert "PENDING on nats" in str(first)
            wait_until(lambda: all(dead(s, 900) for s in fleet))
            without = [reach(switch, fleet, number) for number in range(100, 130)]
            wait_until(lambda: fleet[0].status().state is State.FALLBACK)
            assert all(s.fresh for s in fleet)
        report("kill to applied by 3, both well", healthy)
        report("kill to applied by 3, NATS frozen", without)
        wait_until(lambda: all(s.status().state is State.LIVE for s in fleet), WITHIN_S)
        wait_until(lambda: engine.status().sinks[0].pending == 0, WITHIN_S)


def redis_says(world: World, *words: str) -> Any:
    """Do something on Redis as its administrator."""

    async def say() -> Any:
        async with on_redis.wired(world.redis) as admin:
            return await admin.request(*words)

    return asyncio.run(say())


@pytest.mark.parametrize("key", [on_redis.INDEX, "log"])
def test_a_key_of_another_type_shows_in_the_state(world: World, key: str) -> None:
    """With NATS well and fresh the view is no longer LIVE, says the key, and changes nothing."""
    with KillSwitch(world.engine("nats", "redis")) as switch:
        log = switch.kill(target(1), timeout_s=WITHIN_S).ids[0].log
        key = subjects.redis_log(FABRIC, log) if key == "log" else key
        redis_says(world, "RENAME", key, "kept")
        redis_says(world, "SET", key, "precious")
        with world.following("nats", "redis") as subscriber:
            subscriber.wait_fresh(WITHIN_S)
            wait_until(lambda: "read redis" in subscriber.status().trouble, WITHIN_S)
            now = subscriber.status()
            assert now.state is State.FALLBACK
            assert "holds something else at a key of ours" in now.trouble["read redis"]
            assert dead(subscriber, 1)
            assert redis_says(world, "GET", key) == b"precious"
            redis_says(world, "RENAME", "kept", key)
            wait_until(lambda: subscriber.status().state is State.LIVE, WITHIN_S)


def reach(switch: KillSwitch, fleet: list[Subscriber], number: int) -> float:
    """Kill, and return after how many ms all have applied it."""
    started = time.perf_counter()
    switch.kill(target(number), timeout_s=0)
    while not all(dead(subscriber, number) for subscriber in fleet):
        assert time.perf_counter() - started < WITHIN_S, "a kill did not arrive"
        time.sleep(0.0002)
    return (time.perf_counter() - started) * 1000


def report(what: str, times: list[float]) -> None:
    """Print p50 and the greatest; nothing is asserted about time."""
    print(f"{what}: p50 {statistics.median(times):.2f} ms, max {max(times):.2f} ms")  # noqa: T201


def test_a_frozen_redis_holds_up_nothing(world: World) -> None:
    """The other way round: NATS has the kill for certain while Redis is silent, then Redis too."""
    with (
        KillSwitch(world.engine("nats", "redis", send_timeout_s=1.0)) as switch,
        world.following("nats", "redis") as both,
        world.following("redis") as only_redis,
    ):
        only_redis.wait_fresh(WITHIN_S)
        with frozen(world.redis.pid):
            receipt = switch.kill(target(1), timeout_s=WITHIN_S)
            assert receipt.durable == ("nats",), receipt
            wait_until(lambda: dead(both, 1))
        wait_until(lambda: dead(only_redis, 1), WITHIN_S)


def test_killed_redis_is_brought_up_to_date(world: World) -> None:
    """After SIGKILL and a restart, Redis gets what it missed, in order, without being asked."""
    with (
        KillSwitch(world.engine("nats", "redis")) as switch,
        world.following("redis") as only_redis,
    ):
        only_redis.wait_fresh(WITHIN_S)
        switch.kill(target(0), timeout_s=WITHIN_S)
        os.kill(world.redis.pid, signal.SIGKILL)
        world.redis.stop()
        for number in range(1, 200):
            switch.kill(target(number), timeout_s=0)
        world.redis.start()
        wait_until(lambda: dead(only_redis, *range(200)), WITHIN_S)


def test_a_redis_that_comes_back_empty_is_filled_again(world: World) -> None:
    """Its store gone, a subscriber that knows nothing but Redis still has every kill."""
    with KillSwitch(world.engine("redis")) as switch:
        for number in range(20):
            switch.kill(target(number), timeout_s=WITHIN_S)
        world.redis.stop()
        shutil.rmtree(world.folder / "redis")
        world.redis.start()
        switch.kill(target(20), timeout_s=0)
        with world.following("redis") as late:
            wait_until(lambda: dead(late, *range(21)), WITHIN_S)


@pytest.mark.parametrize("damage", [("XTRIM", "MAXLEN", "3"), ("XDEL", "7-0"), ("XDEL", "20-0")])
async def test_a_damaged_log_moves_and_is_whole_again(
    world: World, damage: tuple[str, ...]
) -> None:
    """Trimmed, or with a hole: the next kill brings the whole log to a new key, and all read it."""
    with world.engine("redis") as engine:
        switch = KillSwitch(engine)
        for number in range(20):
            switch.kill(target(number), timeout_s=WITHIN_S)
        async with on_redis.wired(world.redis) as admin:
            log = next(iter(await admin.request("HGETALL", on_redis.INDEX))).decode()
            key = on_redis.KEY.removesuffix(on_redis.LOG) + log
            await admin.request(damage[0], key, *damage[1:])
            switch.kill(target(20), timeout_s=0)
            with world.following("redis") as late:
                wait_until(lambda: dead(late, *range(21)), WITHIN_S)
            assert await admin.request("HGET", on_redis.INDEX, log) == b"1"
        wait_until(lambda: engine.status().sinks[0].pending == 0, WITHIN_S)


async def test_a_lost_tail_is_sent_again_by_the_next_run(world: World) -> None:
    """A failover to an older copy while no publisher runs: the next one finds it and mends it."""
    with KillSwitch(world.engine("redis")) as switch:
        for number in range(9):
            switch.kill(target(number), timeout_s=WITHIN_S)
    async with on_redis.wired(world.redis) as admin:
        log = next(iter(await admin.request("HGETALL", on_redis.INDEX))).decode()
        key = on_redis.KEY.removesuffix(on_redis.LOG) + log
        entries = await admin.request("XRANGE", key, "-", "+")
        await admin.request("DEL", key)
        for at, (_, fields) in enumerate(entries[:4], 1):
            await admin.request("XADD", key, f"{at}-0", *fields)
        with world.engine("redis"), world.following("redis") as late:
            wait_until(lambda: dead(late, *range(9)), WITHIN_S)
            late.wait_fresh(WITHIN_S)


CALLERS, KILLS = 8, 2000


def kill_from_many_threads(switch: KillSwitch) -> None:
    """Give so many kills from so many threads."""
    with ThreadPoolExecutor(CALLERS) as pool:
        for receipt in pool.map(lambda n: switch.kill(target(n), timeout_s=0), range(KILLS)):
            assert receipt.ids


@pytest.fixture(autouse=True)
def _no_trust_posted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted here are events."""
    posts_no_trust(monkeypatch)


async def stored_in_redis(redis: EmbeddedRedis) -> int:
    """Return how many events all streams hold."""
    async with on_redis.wired(redis) as admin:
        logs = [log.decode() for log in await admin.request("HGETALL", on_redis.INDEX)]
        prefix = on_redis.KEY.removesuffix(on_redis.LOG)
        return sum([await admin.request("XLEN", prefix + log) for log in logs])


async def test_eight_callers_lose_nothing(world: World) -> None:
    """2000 kills from 8 threads: 2000 stored, 0 lost, 0 sent again, all of them applied."""
    with world.engine("redis") as engine, world.following("redis") as subscriber:
        switch = KillSwitch(engine)
        kill_from_many_threads(switch)
        wait_until(lambda: engine.status().sinks[0].pending == 0, WITHIN_S)
        assert await stored_in_redis(world.redis) == KILLS
        wait_until(lambda: dead(subscriber, *range(KILLS)), WITHIN_S)
        counted = engine.counters.read()
        assert (counted[metrics.REPAIRS], counted[metrics.REWINDS]) == (0, 0)


class BareSink(RedisSink):
    """The sink that is not to be written: XADD as events come, and "too small" read as "had"."""

    any_order = True
    refused = 0

    async def append(self, record: Record, *, repair: bool = False) -> Stored:
        """Take the server's refusal for a duplicate."""
        del repair
        key = subjects.redis_log(FABRIC, record.log)
        wire = await self._link.fresh_wire()  # as from a pool: any connection, any order
        try:
            await wire.request("HSET", self._index, record.log, 0)
            await wire.request("XADD", key, f"{record.seq}-0", "event", record.raw)
        except SourceUnavailable:  # "equal or smaller than the target stream top item"
            self.refused += 1
        finally:
            await wire.close()
        return Stored(f"{record.log}/0/{record.seq}", duplicate=True)


async def test_a_bare_xadd_loses_kills(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: eight callers, XADD with its errors read as success, and kills are gone."""
    options = on_redis.options(world.redis, "publisher")
    sink = BareSink(FABRIC, options)
    count = 200
    monkeypatch.setattr("tests.integration.test_both_brokers.KILLS", count)
    engine = publisher(world.folder, sink)
    monkeypatch.setattr("rescind_publisher.lane.Lane._confirm", believe)
    with engine:
        kill_from_many_threads(KillSwitch(engine))
        wait_until(lambda: engine.status().sinks[0].pending == 0, WITHIN_S)
    stored = await stored_in_redis(world.redis)
    print(f"bare XADD: {count} acknowledged, {stored} stored")  # noqa: T201
    assert stored < count
    assert sink.refused == count - stored


async def believe(lane: Any, record: Record, stored: Stored) -> None:
    """Take the acknowledgement for the store."""
    lane._note_durable(record.seq, stored.position)
