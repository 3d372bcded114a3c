"""Snapshots on a real nats-server: written, read back, taken, damaged, trimmed behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from rescind.embedded import EmbeddedRedis, EmbeddedServer
from rescind_protocol import subjects
from rescind_protocol.limits import SNAPSHOT_PART_BYTES
from rescind_protocol.table import Table
from rescind_publisher import shelf
from rescind_publisher.engine import Publisher
from rescind_publisher.errors import SinkRefused, SinkUnavailable
from rescind_publisher.sinks.nats import NatsSink
from rescind_publisher.sinks.redis import RedisSink
from rescind_publisher.stream import wanted
from rescind_publisher.switch import KillSwitch
from rescind_subscriber.errors import SourceUnavailable
from rescind_subscriber.redis_wire import Wire
from rescind_subscriber.sources.base import Listed, SnapshotStore
from rescind_subscriber.sources.redis import RedisSource
from rescind_subscriber.subscriber import Subscriber
from tests.fakes import redis as fakes
from tests.fakes.fabric import FABRIC, PUBLISHER, make_trust
from tests.fakes.nats import STREAM, Watched, api, linked, options
from tests.fakes.publishing import publisher as publisher_of
from tests.fakes.publishing import target
from tests.fakes.shelves import (
    CONFIG,
    OFTEN,
    ONCE,
    cold,
    follower_of,
    keeper,
    kept,
    state,
    wait_for_snapshots,
    writing,
)
from tests.fakes.waiting import wait_until

STORED, TAIL = 40, 5


def joined(subscriber: Subscriber) -> int:
    """How many events were verified and joined."""
    return int(follower_of(subscriber).reconciler.events.read().get("applied", 0))


def taken(subscriber: Subscriber, what: str = "taken") -> int:
    """How many snapshots were taken, or found damaged."""
    return int(follower_of(subscriber).cold.counts.read().get(what, 0))


def dead(table: Table) -> int:
    """How many of the targets are denied."""
    return sum(table.get(target(n).digest) is not None for n in range(STORED + TAIL))


def stored(nats: EmbeddedServer, folder: Path) -> Publisher:
    """Kill so many and have two snapshots of it; return the publisher, closed."""
    with writing(nats, folder, **OFTEN) as (switch, engine):
        for number in range(STORED):
            switch.kill(target(number))
            if number in (1, STORED // 2, STORED - 1):
                wait_until(lambda: follower_of(engine._follower).cursors)  # type: ignore[arg-type]
                wait_for_snapshots(engine, number + 1)
    return engine


def test_snapshot_and_tail_equal_the_whole_stream(nats: EmbeddedServer, tmp_path: Path) -> None:
    """A cold start by them knows byte for byte what a full replay knows, by less reading."""
    stored(nats, tmp_path)
    with writing(nats, tmp_path, **ONCE) as (switch, engine):
        for number in range(STORED, STORED + TAIL):
            switch.kill(target(number))
        switch.reinstate(target(0))
        wait_until(lambda: kept(engine) == shelf.KEEP)
        with cold(nats) as quick, cold(nats, snapshots=False) as slow:
            quick.wait_fresh(15)
            slow.wait_fresh(15)
            assert state(quick) == state(slow)
            assert (taken(quick), joined(quick)) == (1, TAIL + 1)
            assert joined(slow) == STORED + TAIL + 1
            assert dead(quick.view.published.table) == STORED + TAIL


async def trim(nats: EmbeddedServer, keep: int) -> None:
    """Trim the stream at its front, as only an administrator can: by its limits, and back."""
    config = wanted(FABRIC, 1)
    async with linked(nats, "admin") as admin:
        for change in ({"discard": "old", "max_msgs": keep}, {}):
            answer = await api(admin.link, f"STREAM.UPDATE.{STREAM}", **{**config, **change})
            assert "error" not in answer
        state_now = (await api(admin.link, f"STREAM.INFO.{STREAM}"))["state"]
        assert state_now["messages"] == keep


async def test_a_trimmed_stream_and_a_snapshot_are_the_whole(
    nats: EmbeddedServer, tmp_path: Path
) -> None:
    """What was trimmed lives in the snapshot. Control: without it kills are missing."""
    stored(nats, tmp_path)
    with writing(nats, tmp_path, **OFTEN) as (switch, engine):
        # Two snapshots that were both written after a reading of what is stored so far.
        wait_until(
            lambda: (
                switch.kill(target(STORED)).ids
                and int(engine.status().sinks[0].trimmable or 0) > STORED // 2
            )
        )
    left = await last_sequence(nats) - int(engine_trimmable(engine)) + 1
    await trim(nats, left)  # with no publisher, who may mend the stream from its spool
    with cold(nats) as at, cold(nats, snapshots=False) as control:
        wait_until(lambda: dead(at.view.published.table) == STORED + 1)
        wait_until(lambda: follower_of(control).cursors)
        assert dead(control.view.published.table) < STORED + 1
        with writing(nats, tmp_path, **ONCE):
            at.wait_fresh(15)
            assert dead(at.view.published.table) == STORED + 1


def engine_trimmable(engine: Publisher) -> str:
    """Up to where the one sink's snapshots carry everything."""
    (each,) = keeper(engine).shelves
    place = shelf.trimmable(each.have)
    assert place is not None
    return place.position


async def last_sequence(nats: EmbeddedServer) -> int:
    """Return the newest sequence of the stream of events."""
    async with linked(nats, "admin") as admin:
        return int((await api(admin.link, f"STREAM.INFO.{STREAM}"))["state"]["last_seq"])


async def test_a_stream_trimmed_beyond_the_cursor(nats: EmbeddedServer, tmp_path: Path) -> None:
    """Nothing lies at the snapshot's cursor: all that is left is read, and proven by heads."""
    stored(nats, tmp_path)
    with writing(nats, tmp_path, **ONCE) as (switch, engine):
        for number in range(STORED, STORED + TAIL):
            switch.kill(target(number))
        wait_until(lambda: kept(engine) == shelf.KEEP)
        await trim(nats, TAIL)
        with cold(nats) as at:
            at.wait_fresh(15)
            assert dead(at.view.published.table) == STORED + TAIL
            assert follower_of(at).reads.read()["rewound"] == 1


async def test_a_subscriber_whose_cursor_was_trimmed_takes_a_snapshot(
    nats: EmbeddedServer, tmp_path: Path
) -> None:
    """One that was away for long finds its place gone: snapshot, then what is left."""
    with writing(nats, tmp_path / "p", **OFTEN) as (switch, engine):
        switch.kill(target(0))
        with cold(nats, snapshots=False, state_dir=tmp_path / "s") as at:
            at.wait_fresh(15)
            wait_until(lambda: follower_of(at).cursors)
        for number in range(1, STORED):
            switch.kill(target(number))
        wait_for_snapshots(engine, STORED)
        await trim(nats, 1)
        with cold(nats, state_dir=tmp_path / "s") as back:
            back.wait_fresh(15)
            assert dead(back.view.published.table) == STORED
            assert taken(back) == 1


async def damage(publisher: Watched, *places: str) -> None:
    """Flip a bit in the first part at each place."""
    get = f"$JS.API.DIRECT.GET.{subjects.snapshot_stream(FABRIC)}"
    for place in places:
        writer, slot = place.split(".")
        subject = subjects.part(FABRIC, writer, slot, 0)
        lying = await publisher.link.request(get, b'{"last_by_subj":"%s"}' % subject.encode())
        bent = bytes([lying.payload[0] ^ 1]) + lying.payload[1:]
        assert b'"seq"' in (await publisher.link.request(subject, bent)).payload


@pytest.mark.parametrize("damaged", [1, 2])
async def test_a_damaged_snapshot_gives_way_to_the_next(
    nats: EmbeddedServer, publisher: Watched, tmp_path: Path, damaged: int
) -> None:
    """The newest bent: the one before. Both bent: the stream."""
    engine = stored(nats, tmp_path)
    (each,) = keeper(engine).shelves
    places = [found.place for found in each.have]
    bad = places[:damaged] if damaged == 1 else [f"{places[0][:-1]}{s}" for s in shelf.SLOTS]
    await damage(publisher, *bad)
    with cold(nats) as at:
        wait_until(lambda: taken(at, "damaged") >= 1)  # before a writer is back, who mends it
        with writing(nats, tmp_path, **ONCE):
            at.wait_fresh(15)
            assert dead(at.view.published.table) == STORED


async def test_a_writer_mends_what_was_damaged(
    nats: EmbeddedServer, publisher: Watched, tmp_path: Path
) -> None:
    """At its start it counts only those that it has read back; the broken slot is written first."""
    engine = stored(nats, tmp_path)
    (each,) = keeper(engine).shelves
    newest = each.have[0].place
    await damage(publisher, newest)
    with writing(nats, tmp_path, **ONCE) as (_, again):
        wait_until(lambda: kept(again) == shelf.KEEP)
        (each,) = keeper(again).shelves
        assert newest not in {found.place for found in each.have[1:]}
        assert each.have[0].statement.iat >= each.have[1].statement.iat


def test_without_the_right_nothing_is_written(nats: EmbeddedServer, tmp_path: Path) -> None:
    """A publisher whose key may not sign snapshots keeps none, and says so by having no keeper."""
    rights = make_trust().signers[PUBLISHER.kid].rights
    trust = make_trust(rights=msgspec.structs.replace(rights, snapshot=False))
    with writing(nats, tmp_path, trust=trust, **OFTEN) as (switch, engine):
        switch.kill(target(0))
        assert engine._keeper is None
    with writing(nats, tmp_path, **OFTEN) as (_, engine):  # control
        wait_for_snapshots(engine, 1)
        with cold(nats, trust=trust) as at:  # and readers who know of no right take none
            wait_until(lambda: dead(at.view.published.table) == 1)
            assert taken(at) == 0
            assert taken(at, "untrusted") >= shelf.KEEP


CHILD = """
import sys
from pathlib import Path
from rescind_protocol import snapshots
from rescind_publisher.sinks.nats import NatsSink
from tests.fakes.publishing import publisher as publisher_of
from tests.fakes.publishing import target
from rescind_subscriber.nats_link import NatsOptions
from tests.fakes.shelves import OFTEN, wait_for_snapshots, writing_at
from tests.fakes.waiting import wait_until

snapshots.SNAPSHOT_PART_BYTES = 512
url, folder, stop_at = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
store, count = NatsSink._store, 0

async def slowly(self, stream, subject, raw):
    global count
    await store(self, stream, subject, raw)
    if armed:
        count += 1
        if count == stop_at:
            print("writing", flush=True)
            sys.stdin.read()  # for ever: the parent kills us here

armed = False
NatsSink._store = slowly
how = NatsOptions(url=url, inbox_prefix="_INBOX_pub")
with writing_at(how, folder, **OFTEN) as (switch, engine):
    for n in range(20):
        switch.kill(target(n))
    wait_for_snapshots(engine, 20)
    wait_until(lambda: engine.status().sinks[0].trimmable)  # both have a cursor
    armed = True
    switch.kill(target(20))
    sys.stdin.read()
"""


@pytest.mark.parametrize("parts", [1, 5])
def test_a_writer_killed_between_two_parts(
    nats: EmbeddedServer, tmp_path: Path, parts: int
) -> None:
    """SIGKILL while the third is being written: the two others are whole, and one is taken."""
    url = nats.url_for("publisher")
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, url, str(tmp_path / "p"), str(parts)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "writing\n"
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    with writing(nats, tmp_path / "p", **ONCE) as (_, engine):
        wait_until(lambda: kept(engine) == shelf.KEEP)
        (each,) = keeper(engine).shelves
        assert each.have[0].events == 20
        with cold(nats) as at:
            at.wait_fresh(15)
            assert dead(at.view.published.table) == 21
            assert taken(at) == 1


async def test_a_stream_of_snapshots_that_would_lose_them_is_refused(
    nats: EmbeddedServer, admin: Watched, tmp_path: Path
) -> None:
    """A foreign configuration is named, kills go on, and nothing counts as a snapshot."""
    name = subjects.snapshot_stream(FABRIC)
    config = wanted(FABRIC, 1) | {"name": name, "subjects": [subjects.snapshots(FABRIC)]}
    assert "error" not in await api(admin.link, f"STREAM.CREATE.{name}", **config)
    with writing(nats, tmp_path, **OFTEN) as (switch, engine):
        (each,) = keeper(engine).shelves
        wait_until(lambda: each.problem)
        assert "discard is 'new'" in each.problem
        assert "max_msgs_per_subject is -1" in each.problem
        assert switch.kill(target(0), timeout_s=15).durable == ("nats",)
        assert kept(engine) == 0
        assert shelf.trimmable(each.have) is None


async def test_a_smaller_snapshot_leaves_no_trace_of_a_larger_one(nats: EmbeddedServer) -> None:
    """In the same slot: the parts of the last writing are read, and those alone."""
    sink = NatsSink(FABRIC, options(nats, "publisher"))
    await sink.start()
    await sink.write_snapshot("w.0", [b"a", b"b", b"c"], b"three")
    await sink.write_snapshot("w.0", [b"d"], b"one")
    assert [each.manifest for each in await sink.list_snapshots()] == [b"one"]
    assert await sink.read_snapshot("w.0", 1) == [b"d"]
    assert await sink.read_snapshot("w.1", 1) == []
    await sink.stop()


async def test_redis_carries_them_too(
    redis_sink: RedisSink, redis_source: RedisSource, redis_admin: Wire
) -> None:
    """Written by a publisher's rights, read by a subscriber's; in a foreign key nothing is."""
    parts = [b"a" * SNAPSHOT_PART_BYTES, b"b"]
    await redis_sink.write_snapshot("w.0", [*parts, b"left over"], b"three")
    await redis_sink.write_snapshot("w.0", parts, b"two")
    for store in (redis_sink, redis_source):
        assert isinstance(store, SnapshotStore)
        assert await store.list_snapshots() == [Listed("w.0", b"two")]
        assert await store.read_snapshot("w.0", SNAPSHOT_PART_BYTES + 1) == parts
        assert await store.read_snapshot("w.1", 1) == []
    await redis_admin.request("DEL", subjects.redis_snapshots(FABRIC))
    await redis_admin.request("SET", subjects.redis_snapshots(FABRIC), "foreign")
    with pytest.raises(SourceUnavailable):
        await redis_source.list_snapshots()
    with pytest.raises((SinkRefused, SinkUnavailable)):
        await redis_sink.write_snapshot("w.0", parts, b"three")
    assert await redis_admin.request("GET", subjects.redis_snapshots(FABRIC)) == b"foreign"


def test_a_cold_start_from_redis_alone(redis: EmbeddedRedis, tmp_path: Path) -> None:
    """Snapshot and tail on a real Redis: the whole, and only the tail was verified."""

    def following() -> Subscriber:
        source = fakes.options(redis, "subscriber")
        return Subscriber(make_trust(), lambda: [RedisSource(FABRIC, source)], config=CONFIG)

    with following() as follower:
        engine = publisher_of(tmp_path, fakes.sink_of(redis), follower=follower, **OFTEN)
        with KillSwitch(engine) as switch:
            for number in range(STORED):
                switch.kill(target(number), timeout_s=15)
            wait_for_snapshots(engine, STORED)
            wait_until(lambda: engine.status().sinks[0].trimmable, 30)
            with following() as at:
                at.wait_fresh(15)
                assert dead(at.view.published.table) == STORED
                assert taken(at) == 1
                assert joined(at) < STORED
