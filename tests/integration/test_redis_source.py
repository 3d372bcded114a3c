"""The source against a real Redis: live, stored, cursors, outages, hostile content."""

import os
import signal
from collections.abc import Callable

import pytest

from rescind.embedded import EmbeddedRedis
from rescind_protocol import subjects
from rescind_publisher.sinks.base import Record
from rescind_publisher.sinks.redis import RedisSink
from rescind_subscriber.errors import Rewound, SourceRefused, SourceUnavailable
from rescind_subscriber.redis_address import RedisOptions
from rescind_subscriber.redis_wire import Wire
from rescind_subscriber.sources import redis as module
from rescind_subscriber.sources.base import Batch, Cursor
from rescind_subscriber.sources.redis import RedisSource
from tests.fakes.nats import RecordingFeed
from tests.fakes.redis import FABRIC, HEADS, INDEX, KEY, LIVE, options, wired
from tests.fakes.waiting import until
from tests.faults.processes import freeze


async def read(
    source: RedisSource, after: Cursor | None = None
) -> tuple[list[bytes], Cursor | None]:
    """Return everything behind the cursor, and the last cursor."""
    batches: list[Batch] = [batch async for batch in source.read(after)]
    events = [event for batch in batches for event in batch.events]
    return events, batches[-1].cursor if batches else after


async def fill(sink: RedisSink, log: str, first: int, last: int) -> list[bytes]:
    """Append events of one log in order and return them."""
    raws = [f"{log} {seq}".encode() for seq in range(first, last + 1)]
    for seq, raw in enumerate(raws, first):
        await sink.append(Record(log, seq, raw))
    return raws


async def test_live_and_stored(
    redis_source: RedisSource, redis_sink: RedisSink, feed: RecordingFeed
) -> None:
    """An appended event and a head are heard live; the event is read back with a cursor."""
    await redis_sink.append(Record("a", 1, b"one"))
    await redis_sink.announce("soc", b"head")
    await until(lambda: feed.events == [b"one"] and feed.heads == [b"head"])
    events, cursor = await read(redis_source)
    assert events == [b"one"]
    assert cursor is not None
    assert cursor.position == f"{KEY}=1-0"
    assert await read(redis_source, cursor) == ([], cursor)
    assert feed.states == ["linked"]


async def test_an_empty_store_reads_empty(redis_source: RedisSource) -> None:
    """Nothing stored is an empty read, not an error."""
    assert await read(redis_source) == ([], None)


async def test_many_logs_from_a_cursor(
    redis_source: RedisSource, redis_sink: RedisSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what is behind the cursor comes, of every log, also of one that is new."""
    monkeypatch.setattr(module, "ENTRIES", 3)
    monkeypatch.setattr(module, "STREAMS", 2)
    for log in "abcde":
        await fill(redis_sink, log, 1, 7)
    events, cursor = await read(redis_source)
    assert len(events) == 35
    assert [e for e in events if e.startswith(b"c ")] == [b"c %d" % n for n in range(1, 8)]
    more = [*await fill(redis_sink, "b", 8, 15), *await fill(redis_sink, "f", 1, 1)]
    again, moved = await read(redis_source, cursor)
    assert sorted(again) == sorted(more)
    assert await read(redis_source, moved) == ([], moved)


@pytest.mark.parametrize(
    "damage",
    [
        lambda: [("FLUSHALL",)],
        lambda: [("DEL", KEY)],
        lambda: [("XTRIM", KEY, "MAXLEN", "0")],
        lambda: [("XDEL", KEY, "5-0")],
        lambda: [("DEL", KEY), *(("XADD", KEY, f"{n}-0", "event", f"x {n}") for n in range(1, 9))],
    ],
    ids=["flushed", "evicted", "trimmed", "deleted", "other bytes"],
)
async def test_a_store_that_is_not_the_one_we_read(
    redis_source: RedisSource,
    redis_sink: RedisSink,
    redis_admin: Wire,
    damage: Callable[[], list[tuple[str, ...]]],
) -> None:
    """What lies at the cursor is gone or differs: the reader must start over."""
    await fill(redis_sink, "a", 1, 5)
    await fill(redis_sink, "b", 1, 2)
    _, cursor = await read(redis_source)
    await redis_admin.requests(*damage())
    with pytest.raises(Rewound):
        await read(redis_source, cursor)


async def test_trimmed_beyond_the_cursor(
    redis_source: RedisSource, redis_sink: RedisSink, redis_admin: Wire
) -> None:
    """The first entry is beyond the last that was read: what lay between is not to be skipped."""
    await fill(redis_sink, "a", 1, 2)
    _, cursor = await read(redis_source)
    await fill(redis_sink, "a", 3, 9)
    await redis_admin.request("XTRIM", KEY, "MINID", "8-0")
    with pytest.raises(Rewound, match="nothing lies at 2-0"):
        await read(redis_source, cursor)


async def test_without_the_proof_the_gap_is_skipped(
    redis_source: RedisSource,
    redis_sink: RedisSink,
    redis_admin: Wire,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: a reader that trusts its cursor reads on behind the hole."""

    async def trust(source: RedisSource, _wire: Wire, after: Cursor) -> module.Place:
        return {key: (at, b"") for key, at in source._parse(after.position).items()}

    await fill(redis_sink, "a", 1, 2)
    _, cursor = await read(redis_source)
    await fill(redis_sink, "a", 3, 9)
    await redis_admin.request("XTRIM", KEY, "MINID", "8-0")
    monkeypatch.setattr(module.RedisSource, "_resume", trust)
    assert (await read(redis_source, cursor))[0] == [b"a 8", b"a 9"]


@pytest.mark.parametrize("position", ["1834", "x=y", "=1-0", "rescind:{test}:log:a=1"])
async def test_a_cursor_of_another_source(redis_source: RedisSource, position: str) -> None:
    """A position that is none is a rewind, never a crash."""
    with pytest.raises(Rewound):
        await read(redis_source, Cursor(position, b""))


async def test_a_log_that_moved_is_read_at_all_its_keys(
    redis_source: RedisSource, redis_sink: RedisSink, redis_admin: Wire
) -> None:
    """The old stream holds what the new one may not have yet."""
    await fill(redis_sink, "a", 1, 3)
    await redis_admin.request("XDEL", KEY, "2-0")
    await redis_admin.request("HSET", INDEX, "a", 1)
    moved = subjects.redis_log(FABRIC, "a", 1)
    await redis_admin.request("XADD", moved, "1-0", "event", "a 1")
    assert sorted((await read(redis_source))[0]) == [b"a 1", b"a 1", b"a 3"]


async def test_a_reading_ends_though_the_stream_grows(
    redis_source: RedisSource, redis_sink: RedisSink
) -> None:
    """The mark is where each stream ended at the beginning: what comes meanwhile is heard live."""
    events, ended = await outrun(redis_source, redis_sink)
    assert ended
    assert events >= 2 * module.ENTRIES


async def test_without_the_mark_a_reading_would_not_end(
    redis: EmbeddedRedis, feed: RecordingFeed, redis_sink: RedisSink, redis_admin: Wire
) -> None:
    """Negative control: a user who may not ask for the mark reads all, and follows the writer."""
    await redis_admin.request("ACL", "SETUSER", "subscriber", "-xrevrange")
    source = RedisSource(FABRIC, options(redis, "subscriber"))
    await source.start(feed)
    _, ended = await outrun(source, redis_sink)
    assert not ended
    await source.stop()


async def outrun(source: RedisSource, sink: RedisSink) -> tuple[int, bool]:
    """Read while as many events are written as are read; return how many, and whether it ended."""
    written = len(await fill(sink, "a", 1, 2 * module.ENTRIES))
    seen = 0
    async for batch in source.read(None):
        seen += len(batch.events)
        if seen > 8 * module.ENTRIES:
            return seen, False
        written += len(await fill(sink, "a", written + 1, written + 2 * module.ENTRIES))
    return seen, True


async def test_a_key_of_another_type_hides_no_other_log(
    redis_source: RedisSource, redis_sink: RedisSink, redis_admin: Wire
) -> None:
    """Every readable log is read; then the bad one is named, as a reading that failed."""
    await fill(redis_sink, "a", 1, 1)
    await fill(redis_sink, "b", 1, 1)
    await redis_admin.requests(("DEL", KEY), ("SET", KEY, "precious"))
    got: list[bytes] = []

    async def read_what_can_be() -> None:
        async for batch in redis_source.read(None):
            got.extend(batch.events)

    with pytest.raises(SourceUnavailable, match=r"log:a: .* holds something else"):
        await read_what_can_be()
    assert got == [b"b 1"]
    await redis_admin.requests(("DEL", INDEX), ("SET", INDEX, "precious"))
    with pytest.raises(SourceUnavailable, match="holds something else"):
        await read(redis_source)


async def test_hostile_entries_are_bytes_like_others(
    redis_source: RedisSource, redis_admin: Wire
) -> None:
    """Foreign ids, fields and log names are read or passed over; nothing crashes."""
    await redis_admin.requests(
        ("HSET", INDEX, "a", 0, "b", "many", "c d", 0, "e", 10**18),
        ("XADD", KEY, "5-7", "x", "garbage", "event", "more"),
        ("XADD", KEY, "6-0", "event", ""),
    )
    events, cursor = await read(redis_source)
    assert events == [b"garbage", b""]
    assert await read(redis_source, cursor) == ([], cursor)


async def test_frozen_and_back(
    redis: EmbeddedRedis, redis_source: RedisSource, feed: RecordingFeed
) -> None:
    """A server that is silent is noticed by pings; when it is back, the source is linked again."""
    freeze(redis.pid)
    try:
        await until(lambda: feed.states[-1] == "unlinked")
        with pytest.raises(SourceUnavailable):
            await read(redis_source)
    finally:
        os.kill(redis.pid, signal.SIGCONT)
    await until(lambda: feed.states == ["linked", "unlinked", "linked"])
    assert "silent" in feed.reasons[0]


async def test_killed_and_started_again(
    redis: EmbeddedRedis, redis_source: RedisSource, redis_sink: RedisSink, feed: RecordingFeed
) -> None:
    """After SIGKILL and a restart the cursor still holds, and nothing is missing behind it."""
    await fill(redis_sink, "a", 1, 5)
    _, cursor = await read(redis_source)
    os.kill(redis.pid, signal.SIGKILL)
    redis.stop()
    await until(lambda: feed.states[-1] == "unlinked")
    redis.start()
    await until(lambda: feed.states[-1] == "linked" and redis_sink._link.connected)
    await fill(redis_sink, "a", 6, 7)
    assert (await read(redis_source, cursor))[0] == [b"a 6", b"a 7"]
    assert feed.events[-1] == b"a 7"


async def test_a_wrong_password_is_refused(redis: EmbeddedRedis, feed: RecordingFeed) -> None:
    """Refused at the start, by a sentence that names no secret."""
    url = f"redis://subscriber:secret-word@127.0.0.1:{redis.port}"
    with pytest.raises(SourceRefused, match="refused our credentials") as caught:
        await RedisSource(FABRIC, RedisOptions(url=url)).start(feed)
    assert "secret-word" not in str(caught.value)


async def test_a_missing_right_to_listen_is_refused(
    redis: EmbeddedRedis, feed: RecordingFeed
) -> None:
    """A user that may not hear the channels is refused: it would be deaf and look well."""
    with pytest.raises(SourceRefused, match="too few rights"):
        await RedisSource("other", options(redis, "subscriber")).start(feed)


READ_ONLY = [
    ("XADD", KEY, "*", "event", "x"),
    ("DEL", KEY),
    ("XTRIM", KEY, "MAXLEN", "0"),
    ("HSET", INDEX, "a", "9"),
    ("PUBLISH", LIVE, "x"),
    ("PUBLISH", HEADS, "x"),
    ("EVAL", "return 1", "0"),
    ("CONFIG", "GET", "*"),
    ("FLUSHALL",),
    ("XRANGE", "rescind:{other}:log:a", "-", "+"),
    ("SUBSCRIBE", "rescind:{other}:live"),
    ("KEYS", "*"),
    ("SHUTDOWN",),
]
APPEND_ONLY = [
    ("DEL", KEY),
    ("XTRIM", KEY, "MAXLEN", "0"),
    ("XDEL", KEY, "1-0"),
    ("RENAME", KEY, "x"),
    ("SET", "anything", "x"),
    ("XADD", "rescind:{other}:log:a", "*", "event", "x"),
    ("EVAL", f"return redis.call('DEL', '{KEY}')", "1", KEY),
    ("EVAL", "return redis.call('XADD', KEYS[1], '*', 'event', 'x')", "1", "other"),
    ("PUBLISH", "rescind:{other}:live", "x"),
    ("CONFIG", "GET", "requirepass"),
    ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"),
    ("FLUSHALL",),
    ("ACL", "LIST"),
]


@pytest.mark.parametrize(
    ("user", "command"),
    [
        *(("subscriber", command) for command in READ_ONLY),
        *(("publisher", command) for command in APPEND_ONLY),
        ("system", ("XRANGE", KEY, "-", "+")),
        ("system", ("CONFIG", "SET", "appendonly", "no")),
        ("system", ("PUBLISH", LIVE, "x")),
    ],
)
async def test_the_shipped_users_may_not(
    redis: EmbeddedRedis, redis_sink: RedisSink, user: str, command: tuple[str, ...]
) -> None:
    """From the wrong side: each of these is refused, and the store is as it was."""
    await fill(redis_sink, "a", 1, 2)
    async with wired(redis, user) as wire:
        with pytest.raises(SourceRefused, match="too few rights"):
            await wire.request(*command)
    async with wired(redis) as admin:
        assert await admin.request("XLEN", KEY) == 2
        assert await admin.request("DBSIZE") == 2


async def test_nobody_without_a_name(redis: EmbeddedRedis, feed: RecordingFeed) -> None:
    """The default user is off."""
    with pytest.raises(SourceRefused):
        await RedisSource(FABRIC, RedisOptions(url=f"redis://127.0.0.1:{redis.port}")).start(feed)
