"""The scrub on real servers: whatever a broker lost, wherever in a log, is found and sent again."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from rescind.embedded import EmbeddedRedis, EmbeddedServer
from rescind_protocol import events, subjects
from rescind_protocol.changes import Kill
from rescind_publisher import metrics, scrub
from rescind_publisher.engine import Publisher
from rescind_publisher.sinks.base import Sink
from rescind_publisher.sinks.nats import NatsSink
from rescind_publisher.status import ScrubStatus
from rescind_publisher.stream import wanted
from rescind_publisher.switch import KillSwitch
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.redis_wire import Wire
from rescind_subscriber.sources.base import Source
from rescind_subscriber.sources.nats import NatsSource
from rescind_subscriber.sources.redis import RedisSource
from rescind_subscriber.subscriber import Subscriber
from tests.fakes import redis as on_redis
from tests.fakes.fabric import FABRIC, NOW, PUBLISHER, make_trust
from tests.fakes.nats import STREAM, Watched, api, linked, options
from tests.fakes.publishing import publisher, target
from tests.fakes.waiting import WITHIN_S, wait_until

KILLS = 6
T = TypeVar("T")


@contextmanager
def filled(tmp_path: Path, sink: Sink, **changes: Any) -> Iterator[tuple[Publisher, str]]:
    """Give a running publisher whose sink holds `KILLS` kills for certain, and its log."""
    with publisher(tmp_path, sink, **changes) as engine:
        switch = KillSwitch(engine)
        receipts = [switch.kill(target(n), timeout_s=WITHIN_S) for n in range(KILLS)]
        assert all(receipt.durable == (sink.name,) for receipt in receipts)
        yield engine, receipts[0].ids[0].log


def scrubbed(engine: Publisher) -> ScrubStatus:
    """Ask for a scrub, and return what it found."""
    before = state(engine)
    engine.scrub()
    wait_until(lambda: state(engine).done > before.done + before.running, WITHIN_S)
    return state(engine)


def state(engine: Publisher) -> ScrubStatus:
    """Return how the scrub of the only sink stands."""
    found = engine.status().sinks[0].scrub
    assert found is not None
    return found


def looked(engine: Publisher) -> dict[str, int]:
    """Return the counters after the periodic look at the newest event, which is no scrub."""
    engine._loop.call_soon_threadsafe(engine._drain.look)
    switch = KillSwitch(engine)
    assert switch.kill(target(0), timeout_s=WITHIN_S).durable
    return engine.status().counters


def denied(source: Callable[[], Source]) -> set[int]:
    """Return which of the kills a new subscriber knows."""
    with Subscriber(
        make_trust(), lambda: [source()], config=SubscriberConfig(heartbeat_s=0.1)
    ) as subscriber:
        subscriber.wait_fresh(WITHIN_S)
        table = subscriber.view.published.table
        return {n for n in range(KILLS) if table.get(target(n).digest) is not None}


# --- NATS ---


def nats_sink(server: EmbeddedServer) -> NatsSink:
    """Return the publisher's sink."""
    return NatsSink(FABRIC, options(server, "publisher"))


def on_nats(server: EmbeddedServer, do: Callable[[Watched], Awaitable[T]]) -> T:
    """Do something as the server's administrator."""

    async def with_admin() -> T:
        async with linked(server, "admin") as admin:
            return await do(admin)

    return asyncio.run(with_admin())


def restored(server: EmbeddedServer, log: str, change: Callable[[int, bytes], bytes]) -> None:
    """Make the stream anew with other contents, as a restore from a damaged copy would."""

    async def do(admin: Watched) -> None:
        held = [batch async for batch in nats_contents(admin, log)]
        await api(admin.link, f"STREAM.DELETE.{STREAM}")
        await api(admin.link, f"STREAM.CREATE.{STREAM}", **wanted(FABRIC, 1))
        for seq, raw in enumerate(held, 1):
            new = change(seq, raw)
            if new:
                await admin.link.request(subjects.log(FABRIC, log), new)

    on_nats(server, do)


async def nats_contents(admin: Watched, _log: str) -> Any:
    """Yield the stream's messages in order."""
    state = (await api(admin.link, f"STREAM.INFO.{STREAM}"))["state"]
    for seq in range(1, state["last_seq"] + 1):
        request = b'{"seq":%d}' % seq
        yield (await admin.link.request(f"$JS.API.DIRECT.GET.{STREAM}", request)).payload


def test_events_lost_in_the_middle_of_a_stream_are_sent_again(
    nats: EmbeddedServer, tmp_path: Path
) -> None:
    """The newest event is in its place, so that nothing but a scrub notices: the control."""
    with filled(tmp_path, nats_sink(nats)) as (engine, log):
        restored(nats, log, lambda seq, raw: b"garbage" if seq in (2, 4) else raw)
        assert looked(engine)[metrics.REWINDS] == 0
        found = scrubbed(engine)
        assert (found.checked, found.lost, found.mended) == (KILLS + 1, 2, 2)
        counted = engine.status().counters
        assert (counted[metrics.LOST], counted[metrics.MENDED]) == (2, 2)
        assert counted[metrics.FOREIGN] == 2
        assert engine.status().sinks[0].problem is None
        assert scrubbed(engine).lost == 0
        source = options(nats, "subscriber")
        assert denied(lambda: NatsSource(FABRIC, source)) == set(range(KILLS))


def test_without_a_scrub_the_stream_stays_as_it_is(nats: EmbeddedServer, tmp_path: Path) -> None:
    """Negative control: looks and new kills repair nothing in the middle of a log."""
    with filled(tmp_path, nats_sink(nats)) as (engine, log):
        restored(nats, log, lambda seq, raw: b"garbage" if seq == 2 else raw)
        looked(engine)

        async def ours(admin: Watched) -> list[bytes]:
            return [raw async for raw in nats_contents(admin, log) if raw != b"garbage"]

        assert len(on_nats(nats, ours)) == KILLS


def test_a_stream_that_was_emptied_is_filled(nats: EmbeddedServer, tmp_path: Path) -> None:
    """Whoever notices first, the lane's look or the scrub: everything is there again."""
    with filled(tmp_path, nats_sink(nats)) as (engine, log):
        restored(nats, log, lambda _seq, _raw: b"")
        scrubbed(engine)
        wait_until(lambda: scrubbed(engine).lost == 0, WITHIN_S)
        source = options(nats, "subscriber")
        assert denied(lambda: NatsSource(FABRIC, source)) == set(range(KILLS))


def test_a_fork_is_an_alarm(nats: EmbeddedServer, tmp_path: Path) -> None:
    """Another event of our number with our signature: named, counted, shown, nothing changed."""
    with filled(tmp_path, nats_sink(nats)) as (engine, log):
        forged = events.make(
            (Kill(target=target(99)),),
            key=PUBLISHER,
            publisher="soc",
            fabric=FABRIC,
            log=log,
            seq=3,
            prev=events.GENESIS,
            at=int(NOW),
        )

        async def say(admin: Watched) -> None:
            await admin.link.request(subjects.log(FABRIC, log), forged)

        on_nats(nats, say)
        found = scrubbed(engine)
        assert found.forks == (f"event 3 of log {log}",)
        assert found.lost == 0
        assert engine.status().counters[metrics.FORKS] == 1
        assert f"another event 3 of log {log} is signed by our key" in str(
            engine.status().sinks[0].problem
        )


def test_a_kill_does_not_wait_for_a_scrub(
    nats: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a slow one a kill is durable, and the scrub still has some way to go."""
    monkeypatch.setattr(scrub, "BYTES_PER_S", 10)
    with filled(tmp_path, nats_sink(nats)) as (engine, _):
        engine.scrub()
        wait_until(lambda: state(engine).checked > 0 and state(engine).running, WITHIN_S)
        assert KillSwitch(engine).kill(target(50), timeout_s=WITHIN_S).durable == ("nats",)
        assert state(engine).running


def test_a_start_scrubs_by_itself(nats: EmbeddedServer, tmp_path: Path) -> None:
    """Nobody has to ask for what was lost while no publisher ran, of the logs of earlier runs."""
    with filled(tmp_path, nats_sink(nats)) as (_, log):
        pass
    restored(nats, log, lambda seq, raw: b"garbage" if seq == 1 else raw)
    with publisher(tmp_path, nats_sink(nats)) as engine:
        wait_until(lambda: state(engine).done > 0, WITHIN_S)
        assert (state(engine).lost, state(engine).mended) == (1, 1)


# --- Redis ---


def wipe(key: str) -> list[tuple[str, ...]]:
    """Return what empties the stream."""
    return [("DEL", key)]


def delete(key: str) -> list[tuple[str, ...]]:
    """Return what deletes in the middle."""
    return [("XDEL", key, "3-0")]


def trim(key: str) -> list[tuple[str, ...]]:
    """Return what trims at the front."""
    return [("XTRIM", key, "MAXLEN", "3")]


def falsify(key: str) -> list[tuple[str, ...]]:
    """Return what puts other bytes into the middle: the number of entries is as it was."""
    return [("XADD", key, "3-0", "event", "garbage")]


@pytest.mark.parametrize("damage", [wipe, delete, trim, falsify])
def test_what_redis_lost_is_found(
    redis: EmbeddedRedis, tmp_path: Path, damage: Callable[[str], list[tuple[str, ...]]]
) -> None:
    """Deleted, trimmed, emptied or falsified: the log is whole again, and what was lost is said."""
    with filled(tmp_path, on_redis.sink_of(redis), heartbeat_s=60.0) as (engine, log):
        asyncio.run(harm(redis, subjects.redis_log(FABRIC, log), damage))
        found = scrubbed(engine)
        assert found.lost == found.mended > 0
        assert found.problem is None
        assert scrubbed(engine).lost == 0
        assert engine.status().sinks[0].problem is None
    source = on_redis.options(redis, "subscriber")
    with publisher(tmp_path, on_redis.sink_of(redis)):
        assert denied(lambda: RedisSource(FABRIC, source)) == set(range(KILLS))


async def harm(
    server: EmbeddedRedis, key: str, damage: Callable[[str], list[tuple[str, ...]]]
) -> None:
    """Damage a log's stream; one that is falsified is written anew, entry by entry."""
    async with on_redis.wired(server) as admin:
        if damage is not falsify:
            await admin.requests(*damage(key))
            return
        entries = await admin.request("XRANGE", key, "-", "+")
        await admin.request("DEL", key)
        await rewrite(admin, key, entries)


async def rewrite(admin: Wire, key: str, entries: list[Any]) -> None:
    """Store the entries again, the third with other bytes."""
    for at, fields in entries:
        if at == b"3-0":
            await admin.requests(*falsify(key))
        else:
            await admin.request("XADD", key, at, *fields)
