"""The gRPC feed and its source, on a real server: the rules of the event stream, and reports."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc import aio

from rescind_protocol import reports
from rescind_protocol.changes import Kill
from rescind_protocol.errors import RescindError
from rescind_registry.feeds import grpc as module
from rescind_registry.feeds.applied import Reports
from rescind_registry.feeds.cursor import Position, encode, tag_of
from rescind_registry.feeds.grpc import WatchService
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.errors import Rewound, SourceRefused, SourceUnavailable
from rescind_subscriber.grpc_wire import stubs
from rescind_subscriber.grpc_wire.revocations_pb2 import (
    Begin,
    Report,
    WatchRequest,
    WatchResponse,
)
from rescind_subscriber.http_address import HttpOptions
from rescind_subscriber.sources.base import Batch, Cursor, Source
from rescind_subscriber.sources.grpc import GrpcSource
from tests.fakes.fabric import Log
from tests.fakes.feeds import Node, noded, position_of
from tests.fakes.following import following, kills, victim
from tests.fakes.nats import RecordingFeed
from tests.fakes.waiting import WITHIN_S, until

TOKEN = "rsc_1_secret"
INVALID, GONE = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE


class TokenInvalid(RescindError):
    """As the registry raises it."""

    code = "TOKEN_INVALID"


async def authorize(token: str | None, address: str) -> None:
    """Let one token in."""
    assert address == "127.0.0.1"
    if token != TOKEN:
        raise TokenInvalid("this API token is not known here")


class Serving:
    """A node, its service and what it was told of."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.handed_on: list[tuple[str, bytes]] = []
        self.reports = Reports(lambda name, raw: self.handed_on.append((name, raw)))
        self.service = WatchService(node.hub, self.reports, authorize=authorize)
        self.port = 0

    @property
    def options(self) -> HttpOptions:
        """How to reach it."""
        return HttpOptions(url=f"http://127.0.0.1:{self.port}", token=TOKEN)

    async def start(self) -> None:
        """Listen, at the same port as before."""
        self.port = await self.service.start(f"127.0.0.1:{self.port}")


@asynccontextmanager
async def serving(folder: Path | None = None, *, window: int = 1000) -> AsyncIterator[Serving]:
    """Give a node that serves gRPC."""
    async with noded(folder, window=window) as node:
        at = Serving(node)
        await at.start()
        try:
            yield at
        finally:
            await at.service.stop()


@asynccontextmanager
async def sourced(at: Serving, feed: RecordingFeed) -> AsyncIterator[GrpcSource]:
    """Give a started source."""
    source = GrpcSource(at.options)
    await source.start(feed)
    try:
        yield source
    finally:
        await source.stop()


async def read(source: Source, after: Cursor | None = None) -> tuple[list[bytes], Cursor | None]:
    """Return everything behind the cursor, and the last cursor."""
    batches: list[Batch] = [batch async for batch in source.read(after)]
    events = [event for batch in batches for event in batch.events]
    return events, batches[-1].cursor if batches else after


async def called(at: Serving, *said: WatchRequest, token: str = TOKEN) -> list[WatchResponse]:
    """Return all that one call is told until it ends; raises what it ends with."""
    async with asyncio.timeout(WITHIN_S), aio.insecure_channel(f"127.0.0.1:{at.port}") as channel:
        call = stubs.watch(channel, (("authorization", f"Bearer {token}"),))
        for each in said:
            await call.write(each)
        await call.done_writing()
        return [message async for message in call]


async def test_a_stream_cut_at_every_boundary_resumes_with_exactly_the_missing(
    tmp_path: Path,
) -> None:
    """Cut behind each event and begun again at its cursor: none is missed, none comes twice."""
    async with serving(tmp_path, window=3) as at:
        log = Log()
        raws = kills(log, 12)
        at.node.say(*raws)
        await at.node.settled()
        whole = await called(at, WatchRequest(begin=Begin(oldest=True, stored_only=True)))
        assert [each.WhichOneof("said") for each in whole] == ["standing", *["event"] * 12]
        assert [each.event.signed for each in whole[1:]] == raws
        for number, each in enumerate(whole[1:], 1):
            begin = Begin(cursor=each.event.cursor, stored_only=True)
            again = await called(at, WatchRequest(begin=begin))
            assert again[0].standing.cursor == each.event.cursor
            assert [one.event.signed for one in again[1:]] == raws[number:]


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ([], INVALID),
        ([WatchRequest()], INVALID),
        ([WatchRequest(report=Report(report=b"x"))], INVALID),
        ([WatchRequest(begin=Begin(cursor="1834"))], INVALID),
        ([WatchRequest(begin=Begin()), WatchRequest(begin=Begin())], INVALID),
        ([WatchRequest(begin=Begin()), WatchRequest(report=Report(report=b"no"))], INVALID),
        ([WatchRequest(begin=Begin(cursor=f"v1~{tag_of('nobody')}.1"))], GONE),
    ],
)
async def test_what_is_wrong_is_said(said: list[WatchRequest], status: grpc.StatusCode) -> None:
    """Each fault has its status and a sentence; a cursor that is gone comes with a new one."""
    async with serving() as at:
        at.node.say(*kills(Log(), 1))
        await at.node.settled()
        with pytest.raises(aio.AioRpcError) as ended:
            await called(at, *said)
        assert ended.value.code() is status
        assert ended.value.details()
        metadata = dict(ended.value.trailing_metadata() or ())
        here = encode(at.node.hub.position)
        assert metadata.get("rescind-cursor") == (here if status is GONE else None)
        await until(lambda: at.service.readers == 0)


async def test_who_has_no_token_hears_nothing(feed: RecordingFeed) -> None:
    """The source is refused at once, with the node's sentence."""
    async with serving() as at:
        source = GrpcSource(HttpOptions(url=at.options.url, token="rsc_2_wrong"))
        with pytest.raises(SourceRefused, match="not known here"):
            await source.start(feed)
        await source.stop()
        assert feed.states == ["unlinked"]


async def test_live_and_stored(tmp_path: Path, feed: RecordingFeed) -> None:
    """Events and heads are heard live; what is stored is read on from any cursor."""
    async with serving(tmp_path, window=10) as at:
        log = Log()
        old = kills(log, 100)
        at.node.say(*old)
        async with sourced(at, feed) as source:
            await until(lambda: feed.states == ["linked"])
            new = kills(log, 2)
            at.node.say(*new)
            head = at.node.head(log)
            await until(lambda: feed.heads == [head])
            assert feed.events == new
            events, cursor = await read(source)
            assert events == [*old, *new]
            assert cursor == Cursor(encode(position_of(log)), cursor.digest if cursor else b"")
            assert await read(source, cursor) == ([], cursor)
            tag = tag_of(log.id)
            assert (await read(source, Cursor(f"v1~{tag}.40", b"")))[0] == [*old[40:], *new]
            for foreign in ("1834", "é", "x" * 10_000):
                with pytest.raises(Rewound):
                    await read(source, Cursor(foreign, b""))


async def test_a_follower_stays_fresh_through_restarts_and_its_reports_go_up(
    tmp_path: Path,
) -> None:
    """Kills said while the node was away deny after its return, and the node is told so."""
    async with serving(tmp_path) as at:
        log = Log()
        at.node.say(*kills(log, 5))
        config = SubscriberConfig(name="eu-7", retry_s=0.01, retry_most_s=0.05)
        async with following(GrpcSource(at.options), config=config) as sidecar:
            await until(lambda: sidecar.denies(victim(5)))
            at.node.head(log)
            await until(lambda: sidecar.age_s < 1)
            await at.service.stop()
            await until(lambda: sidecar.follower.links["grpc"])
            at.node.say(*kills(log, 3))
            at.node.hub.stopping = False
            await at.start()
            await until(lambda: sidecar.denies(*map(victim, range(1, 9))))
            at.node.head(log)

            def reported() -> bool:
                sidecar.clock.pass_s(0.1)  # until its next report is due
                return any(_applied(raw, log) == 8 for _, raw in at.handed_on)

            await until(reported)
            assert {name for name, _ in at.handed_on} == {"eu-7"}


def _applied(raw: bytes, log: Log) -> int:
    return reports.read(raw).logs.get(log.id, 0)


async def test_too_many_reports_are_dropped_and_the_stream_goes_on(
    monkeypatch: pytest.MonkeyPatch, feed: RecordingFeed
) -> None:
    """A reader that floods costs itself its reports, and nobody the kills."""
    monkeypatch.setattr("rescind_registry.feeds.applied.OF_ONE_PER_S", 5)
    async with serving() as at, sourced(at, feed) as source:
        await until(lambda: feed.states == ["linked"])
        raw = reports.make(_report())
        for _ in range(200):
            await source.report("eu-7", raw)
        await until(lambda: at.reports.dropped + at.reports.taken == 200)
        assert at.reports.dropped > 100
        at.node.say(*kills(Log(), 1))
        await until(lambda: len(feed.events) == 1)


def _report() -> reports.Report:
    return reports.Report(
        ver=1,
        name="eu-7",
        host="h",
        run="r",
        pid=1,
        version="1",
        state="LIVE",
        count=1,
        time_ms=1,
        up_ms=1,
        next_ms=1,
    )


async def test_a_reader_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flow control reaches the node, which ends the call; the reader can resume."""
    monkeypatch.setattr(module, "WRITE_WITHIN_S", 0.2)
    async with (
        serving() as at,
        aio.insecure_channel(f"127.0.0.1:{at.port}") as channel,
    ):
        call = stubs.watch(channel, (("authorization", f"Bearer {TOKEN}"),))
        await call.write(WatchRequest(begin=Begin(cursor="v1")))
        await until(lambda: at.service.readers == 1)
        log = Log()
        while not at.service.cut:
            at.node.say(log.write(*_large()))
            await asyncio.sleep(0.01)
            assert len(log.raws) < 500
        await until(lambda: at.service.readers == 0)
        begin = Begin(cursor=encode(Position()), stored_only=True)
        again = await called(at, WatchRequest(begin=begin))
        assert [each.event.signed for each in again[1:]] == log.raws


def _large() -> list[Kill]:
    return [Kill(target=victim(n), reason_admin="x" * 1000) for n in range(150)]


@pytest.mark.parametrize("body", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"\0" * 4096])
async def test_a_server_that_speaks_no_grpc(body: bytes, feed: RecordingFeed) -> None:
    """It is weather: typed, told with a reason, tried again."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        source = GrpcSource(HttpOptions(url=f"http://127.0.0.1:{port}"))
        await source.start(feed)
        await until(lambda: feed.reasons)
        with pytest.raises(SourceUnavailable):
            await read(source)
        await source.stop()
