"""The sink against a real Redis: what is stored, what is refused, what an answer is worth."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from rescind.embedded import EmbeddedRedis
from rescind_protocol import subjects
from rescind_protocol.limits import MAX_EVENT_BYTES
from rescind_publisher.errors import SinkForked, SinkLost, SinkRefused, SinkUnavailable
from rescind_publisher.sinks.base import Record, Stored
from rescind_publisher.sinks.redis import RedisSink
from rescind_subscriber.redis_address import RedisOptions
from rescind_subscriber.redis_wire import Wire
from tests.fakes.redis import FABRIC, INDEX, KEY, LIVE, LOG, redis_server, sink_of, wired
from tests.fakes.waiting import WITHIN_S, until
from tests.faults.processes import freeze


def event(seq: int) -> Record:
    """Return one event of the log."""
    return Record(LOG, seq, b"event %d" % seq)


async def fill(sink: RedisSink, count: int) -> list[Stored]:
    """Append so many events in order, several under way at once."""
    return await asyncio.gather(*(sink.append(event(n)) for n in range(1, count + 1)))


async def ids(wire: Wire, key: str = KEY) -> list[int]:
    """Return the numbers that a stream holds."""
    return [int(entry[0].split(b"-")[0]) for entry in await wire.request("XRANGE", key, "-", "+")]


async def test_stores_and_reads_back(redis_sink: RedisSink, redis_admin: Wire) -> None:
    """An event lies in its log's stream under its number, is indexed, and is read back."""
    stored = await redis_sink.append(event(1))
    assert stored == Stored("a/0/1", duplicate=False)
    assert await redis_sink.read_back(stored) == b"event 1"
    assert await redis_admin.request("XRANGE", KEY, "-", "+") == [[b"1-0", [b"event", b"event 1"]]]
    assert await redis_admin.request("HGETALL", INDEX) == {LOG.encode(): b"0"}
    assert redis_sink.persistence.fsync == "always"
    assert redis_sink.caveat is None


@pytest.mark.parametrize("position", ["", "zzz", "a/0", "a/0/x", "a/-1/1", "a b/0/1"])
async def test_a_damaged_position_holds_nothing(redis_sink: RedisSink, position: str) -> None:
    """A mark that makes no sense is no error for ever: the log is sent again."""
    await redis_sink.append(event(1))
    assert await redis_sink.read_back(Stored(position, duplicate=False)) is None


async def test_many_under_way_keep_their_order(redis_sink: RedisSink, redis_admin: Wire) -> None:
    """Events sent without waiting for each other are stored in order, none refused."""
    stored = await fill(redis_sink, 500)
    assert not any(one.duplicate for one in stored)
    assert await ids(redis_admin) == list(range(1, 501))


async def test_equal_bytes_again_are_a_duplicate(redis_sink: RedisSink) -> None:
    """A retry is success because the bytes are equal, not because the number is taken."""
    await fill(redis_sink, 3)
    assert await redis_sink.append(event(2)) == Stored("a/0/2", duplicate=True)


async def test_nothing_is_stored_behind_a_gap(redis_sink: RedisSink, redis_admin: Wire) -> None:
    """An event that came too early waits; it never makes a hole that nothing can fill."""
    await fill(redis_sink, 4)
    with pytest.raises(SinkUnavailable, match="ends at 4: event 6 has to wait") as caught:
        await redis_sink.append(event(6))
    assert not isinstance(caught.value, SinkLost)
    await redis_sink.append(event(5))
    await redis_sink.append(event(6))
    assert await ids(redis_admin) == [1, 2, 3, 4, 5, 6]


async def test_a_plain_xadd_would_hide_the_hole(redis_admin: Wire) -> None:
    """Negative control: XADD refuses what was overtaken with the words of a duplicate."""
    for seq in (1, 2, 4):
        await redis_admin.request("XADD", KEY, f"{seq}-0", "event", b"event %d" % seq)
    with pytest.raises(Exception, match="equal or smaller than the target stream top item"):
        await redis_admin.request("XADD", KEY, "3-0", "event", b"event 3")
    assert await ids(redis_admin) == [1, 2, 4]


@pytest.mark.parametrize("larger", [False, True])
async def test_other_bytes_at_a_number_are_refused(
    redis_sink: RedisSink,
    redis_admin: Wire,
    larger: bool,  # noqa: FBT001 - a column
) -> None:
    """They are handed to whoever may judge them, unless they can be no event, and left there."""
    other = b"x" * (MAX_EVENT_BYTES + larger)
    await fill(redis_sink, 1)
    await redis_admin.request("XADD", KEY, "2-0", "event", other)
    with pytest.raises(SinkForked, match="other bytes lie at event 2 of log a") as caught:
        await redis_sink.append(event(2))
    assert caught.value.found == (b"" if larger else other)
    assert (await redis_admin.request("XRANGE", KEY, "2-0", "2-0"))[0][1][1] == other


async def test_a_log_that_leaves_its_key_is_sent_again(
    redis_sink: RedisSink, redis_admin: Wire
) -> None:
    """The next key has all of it; whoever finds out second learns that it has moved."""
    await fill(redis_sink, 2)
    await redis_admin.request("XADD", KEY, "3-0", "event", b"garbage")
    assert isinstance(redis_sink.leave("a/0/3", "has garbage"), SinkLost)
    assert "moved meanwhile" in str(redis_sink.leave("a/0/4", "has garbage"))
    assert (await fill(redis_sink, 3))[-1] == Stored("a/1/3", duplicate=False)
    assert await ids(redis_admin, subjects.redis_log(FABRIC, LOG, 1)) == [1, 2, 3]


async def test_a_lost_tail_is_noticed(redis_sink: RedisSink, redis_admin: Wire) -> None:
    """After a failover to a copy that lacks the tail, the next event asks for the whole log."""
    await fill(redis_sink, 5)
    await redis_admin.request("RENAME", KEY, "elsewhere")
    for seq in (1, 2, 3):
        await redis_admin.request("XADD", KEY, f"{seq}-0", "event", b"event %d" % seq)
    with pytest.raises(SinkLost, match="ends at 3 and ended at 5"):
        await redis_sink.append(event(6))
    assert [one.duplicate for one in await fill(redis_sink, 6)] == [True] * 3 + [False] * 3
    assert await ids(redis_admin) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("damage", [("XDEL", KEY, "5-0"), ("XDEL", KEY, "3-0")])
async def test_a_hole_moves_the_log(
    redis_sink: RedisSink, redis_admin: Wire, damage: tuple[str, ...]
) -> None:
    """A number that was given once is never free again: the log goes on at a new key."""
    old = (await fill(redis_sink, 5))[1]
    await redis_admin.request(*damage)
    with pytest.raises(SinkLost, match="4 of 5 events are there"):
        await redis_sink.append(event(6))
    assert await redis_sink.read_back(old) is None
    stored = await fill(redis_sink, 6)
    assert stored[-1] == Stored("a/1/6", duplicate=False)
    assert await ids(redis_admin, subjects.redis_log(FABRIC, LOG, 1)) == [1, 2, 3, 4, 5, 6]
    assert await redis_admin.request("HGETALL", INDEX) == {LOG.encode(): b"1"}


async def test_a_new_run_finds_where_the_log_moved(
    redis: EmbeddedRedis, redis_sink: RedisSink, redis_admin: Wire
) -> None:
    """A publisher that starts again goes on at the moved key, by the index or by its mark."""
    await fill(redis_sink, 2)
    await redis_admin.request("XDEL", KEY, "1-0")
    with pytest.raises(SinkLost):
        await redis_sink.append(event(3))
    await fill(redis_sink, 3)
    for told in (False, True):
        again = sink_of(redis)
        await again.start()
        if told:
            assert await again.read_back(Stored("a/1/3", duplicate=False)) == b"event 3"
        else:
            with pytest.raises(SinkUnavailable, match="its key number 1"):
                await again.append(event(3))
        assert await again.append(event(3)) == Stored("a/1/3", duplicate=True)
        await again.stop()


async def test_a_store_that_keeps_making_holes_is_refused(
    redis_sink: RedisSink, redis_admin: Wire
) -> None:
    """A log moves a bounded number of times."""
    for moves in range(subjects.MAX_MOVES):
        await fill(redis_sink, 2)
        await redis_admin.request("XDEL", subjects.redis_log(FABRIC, LOG, moves), "1-0")
        with pytest.raises(SinkLost):
            await redis_sink.append(event(3))
    await fill(redis_sink, 2)
    await redis_admin.request("XDEL", subjects.redis_log(FABRIC, LOG, subjects.MAX_MOVES), "1-0")
    with pytest.raises(SinkRefused, match=f"damaged {subjects.MAX_MOVES} times"):
        await redis_sink.append(event(3))


@pytest.mark.parametrize("trim", [("XTRIM", KEY, "MAXLEN", "2"), ("DEL", KEY), ("FLUSHALL",)])
async def test_what_was_trimmed_evicted_or_flushed_is_asked_for(
    redis_sink: RedisSink, redis_admin: Wire, trim: tuple[str, ...]
) -> None:
    """Whatever is gone, the next event says so, and the whole log can be sent again."""
    await fill(redis_sink, 4)
    await redis_admin.request(*trim)
    with pytest.raises(SinkLost):
        await redis_sink.append(event(5))
    await fill(redis_sink, 5)
    moves = redis_sink._moves.get(LOG, 0)
    assert await ids(redis_admin, subjects.redis_log(FABRIC, LOG, moves)) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("key", [KEY, INDEX])
async def test_a_key_of_another_type_is_refused(
    redis_sink: RedisSink, redis_admin: Wire, key: str
) -> None:
    """One sentence names the key and its type, and what lies there stays."""
    await redis_admin.request("SET", key, "precious")
    with pytest.raises(SinkRefused, match=r"is a string and not a (stream|hash): remove it"):
        await redis_sink.append(event(1))
    assert await redis_admin.request("GET", key) == b"precious"


async def test_live_only_what_was_stored(redis_sink: RedisSink, redis: EmbeddedRedis) -> None:
    """An event is published once, with its storing: not a duplicate, not what was refused."""
    del redis
    heard: list[bytes] = []
    wire = await redis_sink._link.fresh_wire()
    wire._on_push = lambda _channel, message: heard.append(message)
    await wire.subscribe(LIVE)
    await redis_sink.append(event(1))
    await redis_sink.append(event(1))
    with pytest.raises(SinkUnavailable):
        await redis_sink.append(event(3))
    await redis_sink.append(event(2))
    await until(lambda: heard[-1:] == [b"event 2"])
    assert heard == [b"event 1", b"event 2"]
    await wire.close()


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (("--maxmemory-policy", "allkeys-lru"), "maxmemory-policy is allkeys-lru"),
        (("--maxmemory-policy", "volatile-ttl"), "maxmemory-policy is volatile-ttl"),
        (("--appendonly", "no"), "appendonly is off"),
    ],
)
async def test_a_setting_that_loses_kills_is_refused(options: tuple[str, ...], names: str) -> None:
    """The refusal names the setting and the remedy; nothing is written."""
    with (
        redis_server(None, *options) as server,
        pytest.raises(SinkRefused, match=f"{names}.*: set `"),
    ):
        await sink_of(server).start()


@pytest.mark.parametrize("fsync", ["everysec", "no"])
async def test_a_late_fsync_is_said(fsync: str) -> None:
    """It is no reason to have no fallback, but whoever reads the status knows."""
    with redis_server(None, "--appendfsync", fsync) as server:
        sink = sink_of(server)
        await sink.start()
        assert f"appendfsync {fsync}" in str(sink.caveat)
        assert sink.persistence.fsync == fsync
        await sink.stop()


async def test_an_unknown_fsync_is_said(redis: EmbeddedRedis) -> None:
    """Without the right to ask, it is called not known."""
    sink = sink_of(redis, system=None)
    await sink.start()
    assert "not known" in str(sink.caveat)
    await sink.stop()


async def test_a_full_server_says_so(tmp_path: Path) -> None:
    """At maxmemory, an event is refused for now, and nothing is dropped to make room."""
    with redis_server(tmp_path / "redis", "--maxmemory", "3mb") as server:
        sink = sink_of(server)
        await sink.start()
        stored = 0
        with pytest.raises(SinkUnavailable, match="maxmemory"):  # noqa: PT012 - how many fit is its
            while stored < 1000:
                await sink.append(Record(LOG, stored + 1, b"x" * 50_000))
                stored += 1
        assert await sink.read_back(Stored("a/0/1", duplicate=False)) == b"x" * 50_000
        await sink.stop()


async def test_a_frozen_server_fails_by_our_deadline(
    redis: EmbeddedRedis, redis_sink: RedisSink, redis_admin: Wire
) -> None:
    """No library retries on the way of a kill; what was under way is there afterwards, once."""
    await redis_sink.append(event(1))
    freeze(redis.pid)
    started = time.monotonic()
    try:
        with pytest.raises(SinkUnavailable):
            await redis_sink.append(event(2))
        print(f"append to a frozen server failed after {time.monotonic() - started:.2f} s")  # noqa: T201
        await until(lambda: not redis_sink._link.connected)
    finally:
        os.kill(redis.pid, signal.SIGCONT)
    await until(lambda: redis_sink._link.connected)
    await redis_sink.append(event(2))
    await redis_sink.append(event(3))
    async with asyncio.timeout(WITHIN_S):
        admin = await redis_sink._link.fresh_wire()
    assert await ids(admin) == [1, 2, 3]
    await admin.close()
    del redis_admin


async def test_killed_and_started_again(redis: EmbeddedRedis, redis_sink: RedisSink) -> None:
    """What was acknowledged survives SIGKILL, and the sink comes back by itself."""
    await fill(redis_sink, 100)
    os.kill(redis.pid, signal.SIGKILL)
    await until(lambda: not redis_sink._link.connected)
    with pytest.raises(SinkUnavailable):
        await redis_sink.append(event(101))
    redis.stop()
    redis.start()
    await until(lambda: redis_sink._link.connected)
    assert (await redis_sink.append(event(100))).duplicate
    await redis_sink.append(event(101))


async def test_redis_drops_transactions_of_its_own_file(redis: EmbeddedRedis) -> None:
    """Why the script writes once: two writes at once are gone after a restart, without an error."""
    async with wired(redis) as admin:
        await admin.requests(("MULTI",), ("SET", "a", 1), ("SET", "b", 1), ("EXEC",))
        await admin.request("SET", "c", 1)
        assert await admin.request("DBSIZE") == 3
    redis.stop()
    redis.start()
    async with wired(redis) as admin:
        assert await admin.request("DBSIZE") == 1


async def test_wrong_password_is_refused(redis: EmbeddedRedis) -> None:
    """Credentials that are refused are named, and the password is not."""
    url = f"redis://publisher:secret-word@127.0.0.1:{redis.port}"
    with pytest.raises(SinkRefused, match="refused our credentials") as caught:
        await RedisSink(FABRIC, RedisOptions(url=url)).start()
    assert "secret-word" not in str(caught.value)


async def test_a_server_that_is_not_there_is_weather() -> None:
    """No server at the address is no refusal: it may come."""
    sink = RedisSink(FABRIC, RedisOptions(url="redis://127.0.0.1:1"))
    with pytest.raises(SinkUnavailable):
        await sink.start()
    await sink.stop()


async def test_too_large_an_event_is_refused(redis_sink: RedisSink) -> None:
    """An event beyond the limit never reaches the store."""
    with pytest.raises(SinkRefused, match="too large"):
        await redis_sink.append(Record(LOG, 1, b"x" * (256 * 1024 + 1)))
