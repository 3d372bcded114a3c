"""The source against a real server: whole reads, cursors, outages, hostile content."""

import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from rescind.embedded import EmbeddedServer
from rescind_publisher.sinks.base import Record
from rescind_publisher.sinks.nats import NatsSink
from rescind_publisher.stream import wanted
from rescind_subscriber import nats_connect, nats_reader
from rescind_subscriber.errors import Rewound, SourceRefused, SourceUnavailable
from rescind_subscriber.faults import Fault
from rescind_subscriber.nats_client import LeanClient
from rescind_subscriber.sources.base import Batch, Cursor
from rescind_subscriber.sources.nats import NatsSource
from tests.fakes.nats import (
    FABRIC,
    LOG,
    STREAM,
    RecordingFeed,
    Watched,
    admin_server,
    api,
    linked,
    options,
    store,
)
from tests.fakes.waiting import WITHIN_S, until
from tests.faults.processes import freeze


async def read(
    source: NatsSource, after: Cursor | None = None
) -> tuple[list[bytes], Cursor | None]:
    """Return everything behind the cursor, and the last cursor."""
    batches: list[Batch] = [batch async for batch in source.read(after)]
    events = [event for batch in batches for event in batch.events]
    return events, batches[-1].cursor if batches else after


async def fill(watched: Watched, count: int, size: int = 16) -> list[bytes]:
    """Store so many events without waiting for each ack, and return them."""
    events = [(b"event %d " % at).ljust(size, b".") for at in range(count)]
    for event in events[:-1]:
        await watched.link.publish(LOG, event)
    await watched.link.request(LOG, events[-1], timeout_s=WITHIN_S)
    return events


@asynccontextmanager
async def loose_stream(nats: EmbeddedServer, feed: RecordingFeed) -> AsyncIterator[NatsSource]:
    """Give a source on a stream that an administrator may purge and delete from."""
    async with linked(nats, "admin") as admin:
        loose = wanted(FABRIC, 1) | {"deny_purge": False, "deny_delete": False}
        assert "error" not in await api(admin.link, f"STREAM.CREATE.{STREAM}", **loose)
    source = NatsSource(FABRIC, options(nats, "subscriber"))
    await source.start(feed)
    yield source
    await source.stop()


async def halt(server: EmbeddedServer, *ends: NatsSource | NatsSink) -> None:
    """Stop the server and return when every end has noticed."""
    server.stop()
    await until(lambda: not any(end._link.connected for end in ends))


async def resume(server: EmbeddedServer, *ends: NatsSource | NatsSink) -> None:
    """Start the server again and return when every end is linked."""
    server.start()
    await until(lambda: all(end._link.connected for end in ends))


async def test_live_and_stored(source: NatsSource, sink: NatsSink, feed: RecordingFeed) -> None:
    """An appended event is heard live, and read back with a cursor that its bytes prove."""
    await sink.append(Record("a", 1, b"one"))
    await until(lambda: feed.events == [b"one"])
    events, cursor = await read(source)
    assert events == [b"one"]
    assert cursor == Cursor("1", sha256(b"one").digest())
    assert feed.states == ["linked"]


async def test_an_empty_stream_reads_empty(source: NatsSource) -> None:
    """Nothing stored is an empty read, not an error."""
    assert await read(source) == ([], None)


async def test_reads_more_than_a_batch_whole(source: NatsSource, publisher: Watched) -> None:
    """Several batches come whole and in order; from each cursor on, exactly the rest comes."""
    events = await fill(publisher, 2500)
    batches = [batch async for batch in source.read(None)]
    assert [event for batch in batches for event in batch.events] == events
    assert len(batches) == 3
    assert (await read(source, batches[0].cursor))[0] == events[1000:]
    assert await read(source, batches[-1].cursor) == ([], batches[-1].cursor)


async def test_a_reading_ends_though_the_stream_grows(
    source: NatsSource, publisher: Watched
) -> None:
    """The mark is where the stream ended at the beginning: what comes meanwhile is heard live."""
    events = await fill(publisher, 1500)
    seen = 0
    async for batch in source.read(None):
        seen += len(batch.events)
        assert seen < 4 * len(events), "it follows the writer for ever"
        await fill(publisher, 1500)
    assert seen >= len(events)


async def test_batches_bounded_by_bytes_are_whole(source: NatsSource, publisher: Watched) -> None:
    """Where the byte limit ends the batches, nothing is missed either."""
    events = await fill(publisher, 60, size=256 * 1024)
    batches = [batch async for batch in source.read(None)]
    assert [event for batch in batches for event in batch.events] == events
    assert len(batches) > 1


async def test_missing_stream_is_said(nats: EmbeddedServer, feed: RecordingFeed) -> None:
    """Without a stream the read says which one is missing."""
    source = NatsSource("nowhere", options(nats, "subscriber"))
    await source.start(feed)
    with pytest.raises(SourceUnavailable, match="no stream RESCIND_nowhere"):
        await read(source)
    await source.stop()


async def test_purged_stream_is_rewound(
    nats: EmbeddedServer, feed: RecordingFeed, admin: Watched
) -> None:
    """After a purge nothing lies at the cursor."""
    async with loose_stream(nats, feed) as source:
        await fill(admin, 5)
        _, cursor = await read(source)
        assert (await api(admin.link, f"STREAM.PURGE.{STREAM}"))["success"]
        with pytest.raises(Rewound, match="nothing lies at sequence 5"):
            await read(source, cursor)
        await fill(admin, 1)
        with pytest.raises(Rewound, match="trimmed beyond"):
            await read(source, cursor)


async def test_trimmed_front_is_rewound(
    nats: EmbeddedServer, feed: RecordingFeed, admin: Watched
) -> None:
    """A front trimmed beyond the cursor is a gap; a cold start reads what is left."""
    async with loose_stream(nats, feed) as source:
        events = await fill(admin, 10)
        early = Cursor("3", sha256(events[2]).digest())
        assert (await read(source, early))[0] == events[3:]
        await api(admin.link, f"STREAM.PURGE.{STREAM}", seq=6)
        with pytest.raises(Rewound, match="trimmed beyond sequence 3") as caught:
            await read(source, early)
        assert caught.value.fault is Fault.STREAM_TRIMMED
        assert (await read(source))[0] == events[5:]


async def test_recreated_stream_is_rewound(
    nats: EmbeddedServer, feed: RecordingFeed, admin: Watched
) -> None:
    """A stream made anew and grown past the cursor looks continuous; the digest tells."""
    async with loose_stream(nats, feed) as source:
        await fill(admin, 5)
        _, cursor = await read(source)
        await api(admin.link, f"STREAM.DELETE.{STREAM}")
        await api(admin.link, f"STREAM.CREATE.{STREAM}", **wanted(FABRIC, 1))
        await store(admin.link, *(b"other %d" % at for at in range(9)))
        with pytest.raises(Rewound, match="other bytes"):
            await read(source, cursor)
        assert cursor is not None
        proof = Cursor(cursor.position, sha256(b"other 4").digest())
        assert (await read(source, proof))[0] == [b"other %d" % at for at in range(5, 9)]


async def test_restored_old_copy_is_rewound(tmp_path: Path, feed: RecordingFeed) -> None:
    """A store restored from an old copy is behind the cursor, later beside it: both are told."""
    server = admin_server(tmp_path)
    server.start()
    sink = NatsSink(FABRIC, options(server, "publisher"))
    source = NatsSource(FABRIC, options(server, "subscriber"))
    try:
        await sink.start()
        await source.start(feed)
        await sink.append(Record("a", 1, b"one"))
        await halt(server, source, sink)
        shutil.copytree(tmp_path / "store", tmp_path / "copy")
        await resume(server, source, sink)
        await sink.append(Record("a", 2, b"two"))
        _, cursor = await read(source)
        await halt(server, source, sink)
        shutil.rmtree(tmp_path / "store")
        (tmp_path / "copy").rename(tmp_path / "store")
        await resume(server, source, sink)
        with pytest.raises(Rewound, match="nothing lies"):
            await read(source, cursor)
        await sink.append(Record("a", 3, b"three"))
        with pytest.raises(Rewound, match="other bytes"):
            await read(source, cursor)
    finally:
        await source.stop()
        await sink.stop()
        server.stop()


@pytest.mark.parametrize("position", ["", "x", "-1", "1.5", "\u0661"])
async def test_a_foreign_cursor_is_rewound(source: NatsSource, position: str) -> None:
    """A position in no notation of ours is no position."""
    with pytest.raises(Rewound):
        await read(source, Cursor(position, b""))


async def test_a_right_that_is_taken_away_is_noticed(
    nats: EmbeddedServer, source: NatsSource, feed: RecordingFeed, tmp_path: Path
) -> None:
    """The server drops the subscription and keeps the connection: deaf, and it is said."""
    config = tmp_path / "admin.conf"
    before, right = config.read_text(), '"rescind.*.log.*"\n            "rescind.*.head.*"'
    user = before.index("user: subscriber")
    assert right in before[user:]
    config.write_text(before[:user] + before[user:].replace(right, '"rescind.*.head.*"', 1))
    os.kill(nats.pid, signal.SIGHUP)
    await until(lambda: feed.states == ["linked", "unlinked"])
    await until(lambda: "permissions violation for subscription" in feed.reasons[-1].lower())
    config.write_text(before)
    os.kill(nats.pid, signal.SIGHUP)
    await until(lambda: feed.states == ["linked", "unlinked", "linked"])
    del source


async def test_killed_server_is_unlinked_then_linked(tmp_path: Path, feed: RecordingFeed) -> None:
    """SIGKILL, restart on the same port and store: told, linked again, and nothing is lost."""
    server = admin_server(tmp_path)
    server.start()
    source = NatsSource(FABRIC, options(server, "subscriber"))
    sink = NatsSink(FABRIC, options(server, "publisher"))
    try:
        await sink.start()
        await source.start(feed)
        await sink.append(Record("a", 1, b"one"))
        _, cursor = await read(source)
        os.kill(server.pid, signal.SIGKILL)
        await until(lambda: feed.states[-1] == "unlinked")
        with pytest.raises(SourceUnavailable):
            await read(source, cursor)
        server.stop()
        server.start()
        await until(lambda: feed.states == ["linked", "unlinked", "linked"])
        await until(lambda: sink._link.connected)
        await sink.append(Record("a", 2, b"two"))
        await until(lambda: feed.events[-1:] == [b"two"])
        assert (await read(source, cursor))[0] == [b"two"]
    finally:
        await source.stop()
        await sink.stop()
        server.stop()


async def test_frozen_server_is_noticed(
    nats: EmbeddedServer, source: NatsSource, sink: NatsSink, feed: RecordingFeed
) -> None:
    """A SIGSTOPped server keeps its sockets open: the pings notice, and it is linked again."""
    freeze(nats.pid)
    try:
        await until(lambda: feed.states == ["linked", "unlinked"])
    finally:
        os.kill(nats.pid, signal.SIGCONT)
    await until(lambda: feed.states == ["linked", "unlinked", "linked"])
    await until(lambda: sink._link.connected)
    await sink.append(Record("a", 1, b"one"))
    await until(lambda: feed.events == [b"one"])
    assert (await read(source))[0] == [b"one"]


async def test_frozen_server_with_a_full_socket_is_noticed(
    nats: EmbeddedServer, sink: NatsSink
) -> None:
    """Data that a frozen server will never take does not keep the link from being replaced."""
    link = sink._link
    freeze(nats.pid)
    try:
        client = link._client
        assert isinstance(client, LeanClient)
        assert client._transport is not None
        for _ in range(64):
            client._transport.write(bytes(1024 * 1024))
        await until(lambda: not link.connected)
    finally:
        os.kill(nats.pid, signal.SIGCONT)
    await until(lambda: link.connected)


async def test_control_without_pings_a_frozen_server_stays_linked(
    nats: EmbeddedServer,
    sink: NatsSink,
    source: NatsSource,
    feed: RecordingFeed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: with nats-py's own 120 s between pings, the freeze is not noticed."""
    monkeypatch.setattr(nats_connect, "PING_INTERVAL_S", 120)
    deaf, deaf_feed = NatsSource(FABRIC, options(nats, "subscriber")), RecordingFeed()
    await deaf.start(deaf_feed)
    del sink, source
    freeze(nats.pid)
    try:
        await until(lambda: feed.states == ["linked", "unlinked"])
        assert deaf_feed.states == ["linked"]
    finally:
        os.kill(nats.pid, signal.SIGCONT)
        await deaf.stop()


async def test_starts_before_its_server(tmp_path: Path, feed: RecordingFeed) -> None:
    """A source without a server is unlinked with the reason, and linked when it comes."""
    server = admin_server(tmp_path)
    with server:
        pass
    source = NatsSource(FABRIC, options(server, "subscriber"))
    await source.start(feed)
    assert feed.states == ["unlinked"]
    assert "cannot be reached" in feed.reasons[0]
    with server:
        await until(lambda: feed.states == ["unlinked", "linked"])
        await source.stop()


async def test_bad_credentials_are_refused(nats: EmbeddedServer, feed: RecordingFeed) -> None:
    """A wrong password fails the start with a sentence that holds no password."""
    url = nats.url.replace("//", "//subscriber:wrong@")
    source = NatsSource(FABRIC, options(nats, "subscriber", url=url))
    with pytest.raises(SourceRefused, match="refused our credentials") as caught:
        await source.start(feed)
    assert "wrong" not in str(caught.value)
    await source.stop()


async def test_a_user_who_may_not_listen_is_refused(tmp_path: Path, feed: RecordingFeed) -> None:
    """A source that would be deaf for want of a permission is refused at the start."""
    heads = ('"rescind.*.head.*"\n            "_INBOX_sub', '"_INBOX_sub')
    with admin_server(tmp_path, heads) as nats:
        source = NatsSource(FABRIC, options(nats, "subscriber"))
        with pytest.raises(SourceRefused, match=r"(?i)permissions violation"):
            await source.start(feed)
        await source.stop()


async def test_a_failing_feed_costs_the_link_not_the_event(
    source: NatsSource, sink: NatsSink, feed: RecordingFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A feed that raises is a missed event: the link is made anew, hence a catch-up."""

    def fail(*_: object) -> None:
        raise RuntimeError("boom")

    with monkeypatch.context() as patched:
        patched.setattr(feed, "heard", fail)
        await sink.append(Record("a", 1, b"one"))
        await until(lambda: feed.states == ["linked", "unlinked", "linked"])
    await until(lambda: sink._link.connected)
    await sink.append(Record("a", 2, b"two"))
    await until(lambda: feed.events == [b"two"])
    assert (await read(source))[0] == [b"one", b"two"]


async def test_a_flood_drops_nothing(
    source: NatsSource, publisher: Watched, feed: RecordingFeed
) -> None:
    """Far more than any queue would hold at once is heard whole: there is no queue."""
    del source
    events = await fill(publisher, 5000, size=2000)
    await until(lambda: len(feed.events) == len(events))
    assert feed.events == events
    assert feed.states == ["linked"]


async def test_a_stored_status_line_hides_nothing(source: NatsSource, publisher: Watched) -> None:
    """An event stored with the header line of a status is an event; what follows is read too.

    So is one with a sequence of its own invention in its headers.
    """
    client = publisher.link._client
    assert isinstance(client, LeanClient)
    for line in (b"NATS/1.0 404 Message Not Found", b"NATS/1.0 204 EOB"):
        block = line + b"\r\nNats-Num-Pending: 0\r\n\r\n"
        frame = b"HPUB %s %d %d\r\n%s\r\n" % (LOG.encode(), len(block), len(block), block)
        await client._send_command(frame)
    await store(publisher.link, b"two", **{"Nats-Sequence": "99", "Nats-Last-Sequence": "98"})
    await store(publisher.link, b"three")
    assert (await read(source))[0] == [b"", b"", b"two", b"three"]


def headers(**fields: int) -> bytes:
    """Return the header block of a reply."""
    names = {"seq": "Sequence", "prev": "Last-Sequence", "left": "Num-Pending"}
    lines = "".join(f"Nats-{names[name]}: {value}\r\n" for name, value in fields.items())
    return f"NATS/1.0\r\n{lines}\r\n".encode()


END = headers(left=0, prev=3).replace(b"NATS/1.0", b"NATS/1.0 204 EOB")
WHOLE = [(b"%d" % at, headers(seq=at, prev=at - 1, left=3 - at)) for at in (1, 2, 3)] + [(b"", END)]


@pytest.mark.parametrize("lost", [(0,), (1,), (2,), (0, 1), (0, 1, 2)])
async def test_a_batch_with_a_hole_is_not_whole(lost: tuple[int, ...]) -> None:
    """A batch that lost its head, middle, tail, or all is refused; the whole one is taken."""
    replies = nats_reader.Replies(1)
    for at, (payload, block) in enumerate(WHOLE):
        if at not in lost:
            replies.heard(payload, block)
    assert replies.done.result()
    control = nats_reader.Replies(1)
    for payload, block in WHOLE:
        control.heard(payload, block)
    assert control.done.result() == ""
    assert control.payloads == [b"1", b"2", b"3"]


async def test_repeated_and_reordered_replies_are_not_whole() -> None:
    """A reply twice, or two exchanged, is refused."""
    for order in ((0, 0, 1, 2, 3), (1, 0, 2, 3), (0, 2, 1, 3)):
        replies = nats_reader.Replies(1)
        for at in order:
            replies.heard(*WHOLE[at])
        assert replies.done.result()


async def test_an_endless_batch_is_cut() -> None:
    """A server that sends more than was asked for is not followed."""
    replies = nats_reader.Replies(1)
    at = 0
    while not replies.done.done():
        at += 1
        replies.heard(b"", headers(seq=at, prev=at - 1, left=1))
    assert at == nats_reader.BATCH_EVENTS + 1
    assert "larger" in replies.done.result()


async def test_lost_replies_are_asked_for_again(
    source: NatsSource, publisher: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch whose reply is lost on the way is asked for again; lost each time, it is an error."""
    events = await fill(publisher, 20)
    drops = iter([7, 11])

    class Lossy(nats_reader.Replies):
        def __init__(self, at: int, *, with_subjects: bool) -> None:
            super().__init__(at, with_subjects=with_subjects)
            self.drop = next(drops, -1)

        def heard(self, payload: bytes, headers: bytes) -> None:
            if len(self.payloads) == self.drop:
                self.drop = -1
            else:
                super().heard(payload, headers)

    monkeypatch.setattr(nats_reader, "Replies", Lossy)
    assert (await read(source))[0] == events
    drops = iter([1, 2, 3])
    with pytest.raises(SourceUnavailable, match="not whole"):
        await read(source)
