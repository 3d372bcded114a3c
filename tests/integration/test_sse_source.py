"""The SSE source: against the real node, through restarts, and against servers that mean ill."""

import tracemalloc
from pathlib import Path

import pytest

from rescind_registry.feeds.cursor import tag_of
from rescind_registry.feeds.sse import EventStream
from rescind_subscriber import keeping
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.errors import Rewound, SourceRefused, SourceUnavailable
from rescind_subscriber.http_address import HttpOptions
from rescind_subscriber.sources import sse as module
from rescind_subscriber.sources.base import Batch, Cursor, Source
from rescind_subscriber.sources.sse import SseSource
from rescind_subscriber.sse_parser import MAX_LINE_BYTES
from rescind_subscriber.states import State, derive
from tests.fakes.fabric import Log
from tests.fakes.feeds import noded, served
from tests.fakes.following import following, kills, victim
from tests.fakes.hostile import PLAIN, STREAM, Answer, endless, hostile, saying, silent
from tests.fakes.nats import RecordingFeed
from tests.fakes.waiting import until


async def read(source: Source, after: Cursor | None = None) -> tuple[list[bytes], Cursor | None]:
    """Return everything behind the cursor, and the last cursor."""
    batches: list[Batch] = [batch async for batch in source.read(after)]
    events = [event for batch in batches for event in batch.events]
    return events, batches[-1].cursor if batches else after


async def test_live_and_stored(tmp_path: Path, feed: RecordingFeed) -> None:
    """Events and heads are heard live; what is stored is read on from any cursor."""
    async with noded(tmp_path, window=10) as node:
        log = Log()
        old = kills(log, 100)
        node.say(*old)
        async with served(*EventStream(node.hub).routes()) as server:
            source = SseSource(HttpOptions(url=server.url))
            await source.start(feed)
            try:
                assert feed.states == ["linked"]
                new = kills(log, 2)
                node.say(*new)
                head = node.head(log)
                await until(lambda: feed.heads == [head])
                assert feed.events == new
                events, cursor = await read(source)
                assert events == [*old, *new]
                assert cursor is not None
                assert await read(source, cursor) == ([], cursor)
                tag = tag_of(log.id)
                assert (await read(source, Cursor(f"v1~{tag}.40", b"")))[0] == [*old[40:], *new]
            finally:
                await source.stop()


async def test_a_node_that_restarts(tmp_path: Path, feed: RecordingFeed) -> None:
    """The link is lost with a reason and comes back by itself; what was missed is read."""
    async with noded(tmp_path) as node:
        log = Log()
        async with served(*EventStream(node.hub).routes()) as server:
            source = SseSource(HttpOptions(url=server.url))
            await source.start(feed)
            try:
                _, cursor = await read(source)
                await server.stop()
                await until(lambda: feed.states[-1] == "unlinked")
                with pytest.raises(SourceUnavailable):
                    await read(source)
                missed = kills(log, 3)
                node.say(*missed)
                await server.start()
                await until(lambda: feed.states[-1] == "linked")
                assert (await read(source, cursor))[0] == missed
            finally:
                await source.stop()
        assert feed.reasons


async def test_a_real_follower_stays_fresh_through_restarts(tmp_path: Path) -> None:
    """Reconcile and source together: kills said while the node was away deny after its return."""
    async with noded(tmp_path) as node:
        log = Log()
        node.say(*kills(log, 5))
        async with served(*EventStream(node.hub).routes()) as server:
            source = SseSource(HttpOptions(url=server.url))
            config = SubscriberConfig(retry_s=0.01, retry_most_s=0.05)
            async with following(source, config=config) as at:
                await until(lambda: at.denies(victim(5)))
                node.head(log)
                await until(lambda: at.age_s < 1)
                await server.stop()
                await until(lambda: at.follower.links["sse"])
                node.say(*kills(log, 3))
                await server.start()
                await until(lambda: at.denies(*map(victim, range(1, 9))))
                node.head(log)
                await until(lambda: not at.follower.links["sse"])
                assert at.follower.reconciler.events.read()["applied"] == 8


@pytest.mark.parametrize("position", ["1834", "", "x y", "x\r\nHost: evil", "é", "y" * 10_000])
async def test_a_cursor_of_another_source(position: str) -> None:
    """A position that is none of ours is a rewind, never a header of its own."""
    async with noded() as node, served(*EventStream(node.hub).routes()) as server:
        source = SseSource(HttpOptions(url=server.url))
        await source.start(RecordingFeed())
        try:
            with pytest.raises(Rewound):
                await read(source, Cursor(position, b""))
        finally:
            await source.stop()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (saying(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"), SourceRefused),
        (
            saying(b"HTTP/1.1 302 Go\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n"),
            SourceRefused,
        ),
        (saying(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>"), SourceRefused),
        (saying(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"), SourceUnavailable),
        (saying(b"garbage\r\n\r\n"), SourceUnavailable),
        (saying(b""), SourceUnavailable),
        (saying(STREAM + b"Transfer-Encoding: chunked\r\n\r\n5\r\nda"), SourceUnavailable),
        (saying(STREAM + b"Transfer-Encoding: chunked\r\n\r\nzzz\r\n"), SourceUnavailable),
        (endless(STREAM, b"X-More: and more\r\n"), SourceUnavailable),
        (endless(PLAIN, b"x" * 4096), SourceUnavailable),
        (endless(PLAIN, b"data: x\n" * 512), SourceUnavailable),
        (endless(STREAM, b"X", pause_s=0.01), SourceUnavailable),
        (silent(b""), SourceUnavailable),
        (silent(PLAIN + b"data: x"), SourceUnavailable),
    ],
    ids=[
        *("unauthorized", "redirect", "a page", "busy", "no http", "nothing", "broken off"),
        *("bad chunk", "endless headers", "endless line", "endless event", "dripping headers"),
        *("silent", "silent in mid-event"),
    ],
)
async def test_a_hostile_server(
    answer: Answer, error: type[Exception], monkeypatch: pytest.MonkeyPatch, feed: RecordingFeed
) -> None:
    """Whatever it sends: a typed error in time, little memory, and the link is told as down."""
    monkeypatch.setattr(module, "ANSWER_WITHIN_S", 0.5)
    monkeypatch.setattr(module, "MAX_SILENCE_S", 0.5)
    monkeypatch.setattr(keeping, "MOST_WAIT_S", 0.1)
    async with hostile(answer) as server:
        source = SseSource(HttpOptions(url=server.url))
        tracemalloc.start()
        try:
            with pytest.raises(error):
                await _started_and_read(source, feed)
            assert tracemalloc.get_traced_memory()[1] < 8 * MAX_LINE_BYTES
        finally:
            tracemalloc.stop()
            await source.stop()
    assert not feed.events
    if error is SourceUnavailable:
        assert feed.reasons


async def _started_and_read(source: SseSource, feed: RecordingFeed) -> None:
    """Start, wait until the link is told as down, and read; a refusal is raised at the start."""
    await source.start(feed)
    await until(lambda: feed.reasons)
    await read(source)


async def test_a_wrong_id_only_costs_a_rewind(feed: RecordingFeed) -> None:
    """A node that gives nonsense as cursors makes us read again, and hides nothing for ever."""
    body = PLAIN + b"id: %s\nevent: revocation\ndata: abc\n\n"
    async with hostile(saying(body % (b"n" * 9000))) as server:
        source = SseSource(HttpOptions(url=server.url))
        await source.start(feed)
        try:
            events, cursor = await read(source)
            assert events == [b"abc"]
            assert cursor is not None
            assert cursor.position == ""  # too long for an id: as if it had none
            with pytest.raises(Rewound):
                await read(source, cursor)
        finally:
            await source.stop()


@pytest.mark.parametrize(
    "url",
    [
        "registry.example",
        "ftp://registry.example",
        "http://",
        "https://user:secret@registry.example",
        "http://registry.example",
        "https://registry.example:99999",
        "https://registry.example?x=1",
    ],
)
async def test_an_address_that_cannot_be_right(url: str, feed: RecordingFeed) -> None:
    """It is refused at the start, in a sentence without a secret; so is a token in the clear."""
    source = SseSource(HttpOptions(url=url, token="t0p"))
    with pytest.raises(SourceRefused) as refused:
        await source.start(feed)
    assert "secret" not in str(refused.value)
    assert "t0p" not in f"{refused.value} {source!r} {source._options!r}"
    await source.stop()


async def test_a_sidecar_follows_several_nodes_and_joins(tmp_path: Path) -> None:
    """Two nodes, each with half of the events, and one of them going away: nothing is lost."""
    async with noded(tmp_path / "a") as one, noded(tmp_path / "b") as two:
        log = Log()
        raws = kills(log, 10)
        one.say(*raws[:6])
        two.say(*raws[4:])
        async with (
            served(*EventStream(one.hub).routes()) as first,
            served(*EventStream(two.hub).routes()) as second,
        ):
            sources = [
                SseSource(HttpOptions(url=first.url), name="sse-a"),
                SseSource(HttpOptions(url=second.url), name="sse-b"),
            ]
            config = SubscriberConfig(retry_s=0.01, retry_most_s=0.05)
            async with following(*sources, config=config) as at:
                await until(lambda: at.denies(*map(victim, range(1, 11))))
                two.head(log)
                await until(lambda: at.age_s < 1)
                await second.stop()
                await until(lambda: at.follower.links["sse-b"])
                one.say(*raws[6:], *kills(log, 1))
                await until(lambda: at.denies(victim(11)))
                assert derive(at.follower.observed()) is State.FALLBACK
