"""The event stream on a real server: what travels, resuming, refusals, readers that do not read."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from rescind_protocol.changes import Kill
from rescind_registry.feeds import sse, sse_format
from rescind_registry.feeds.cursor import encode, tag_of
from rescind_registry.feeds.sse import EventStream
from rescind_subscriber.sse_parser import Dispatched, SseParser
from tests.fakes.fabric import Log
from tests.fakes.feeds import Node, Served, noded, position_of, served
from tests.fakes.following import kills, victim
from tests.fakes.waiting import until

PATH = "/v1/events/revocations"


@asynccontextmanager
async def feeding(
    folder: Path | None = None, *, window: int = 1000, unread_ms: int = 0
) -> AsyncIterator[tuple[Node, EventStream, Served]]:
    """Give a node, its stream and its server."""
    async with noded(folder, window=window) as node:
        stream = EventStream(node.hub)
        async with served(*stream.routes(), unread_ms=unread_ms) as server:
            yield node, stream, server


async def get(server: Served, query: str = "", **headers: str) -> httpx2.Response:
    """Return a finite answer."""
    async with httpx2.AsyncClient(base_url=server.url) as client:
        return await client.get(PATH + query, headers=headers)


def parsed(body: bytes) -> list[Dispatched]:
    """Return what a standard parser makes of a body."""
    return SseParser().feed(body)


async def test_what_travels_is_to_the_letter() -> None:
    """The whole body, byte for byte: the opening block, events with their ids, nothing else."""
    async with feeding() as (node, _, server):
        log = Log()
        raws = kills(log, 2)
        node.say(*raws)
        await node.settled()
        answer = await get(server, "?since=oldest&follow=false")
        tag = tag_of(log.id).encode()
        wanted = rb"retry: (\d+)\nid: v1\n\n" + b"".join(
            b"id: v1~%b\\.%d\nevent: revocation\ndata: %b\n\n" % (tag, n, re.escape(raw))
            for n, raw in enumerate(raws, 1)
        )
        assert re.fullmatch(wanted, answer.content)
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-store"


async def test_a_stream_cut_at_every_boundary_resumes_with_exactly_the_missing(
    tmp_path: Path,
) -> None:
    """Cut behind each event and resumed by header or query: none is missed, none comes twice."""
    async with feeding(tmp_path, window=3) as (node, _, server):
        log = Log()
        raws = kills(log, 12)
        node.say(*raws)
        await node.settled()
        whole = parsed((await get(server, "?since=oldest&follow=false")).content)
        assert [event.data for event in whole] == raws
        for number, event in enumerate(whole, 1):
            by_header = await get(server, "?follow=false", **{"Last-Event-ID": event.last_id})
            by_query = await get(server, f"?follow=false&since={event.last_id}")
            for answer in (by_header, by_query):
                assert [each.data for each in parsed(answer.content)] == raws[number:]
        both = await get(server, "?follow=false&since=v1", **{"Last-Event-ID": whole[-1].last_id})
        assert parsed(both.content) == []


async def test_live_events_and_heads_follow_what_was_stored() -> None:
    """One connection: first what was missed, then what comes, heads without an id between."""
    async with feeding() as (node, stream, server), httpx2.AsyncClient() as client:
        log = Log()
        raws = kills(log, 4)
        node.say(*raws[:2])
        await node.settled()
        async with client.stream("GET", f"{server.url}{PATH}?since=v1") as answer:
            parser, got = SseParser(), list[Dispatched]()
            pieces = answer.aiter_raw()
            while len(got) < 2:
                got += parser.feed(await anext(pieces))
            node.say(raws[2])
            head = node.head(log)
            node.say(raws[3])
            while len(got) < 5:
                got += parser.feed(await anext(pieces))
        assert [each.data for each in got if each.kind == "revocation"] == raws
        assert [each.data for each in got if each.kind == "head"] == [head]
        assert got[-1].last_id == encode(position_of(log)) or got[-1].kind == "head"
        await until(lambda: stream.readers == 0)


async def test_a_silent_log_has_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is said a comment comes, which dispatches nothing."""
    monkeypatch.setattr(sse_format, "HEARTBEAT_S", 0.01)
    async with feeding() as (_, _, server), httpx2.AsyncClient() as client:
        async with client.stream("GET", server.url + PATH) as answer:
            body = b""
            async for piece in answer.aiter_raw():
                body += piece
                if body.count(b":\n\n") >= 3:
                    break
        assert parsed(body) == []


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("?since=1834", 400, "BAD_CURSOR"),
        ("?since=", 400, "BAD_CURSOR"),
        ("?follow=maybe", 400, "BAD_CURSOR"),
        ("?since=" + "x" * 20_000, 400, "BAD_CURSOR"),
        (f"?since=v1~{tag_of('nobody')}.1", 410, "GONE_CURSOR"),
    ],
)
async def test_a_bad_cursor_is_one_clear_sentence(query: str, status: int, code: str) -> None:
    """The status says whose fault it is, the body what to do; 410 says where to follow from."""
    async with feeding() as (node, stream, server):
        node.say(*kills(Log(), 1))
        await node.settled()
        answer = await get(server, query)
        said = answer.json()
        assert (answer.status_code, said["code"]) == (status, code)
        assert said["error"]
        assert said["cursor"] == (encode(node.hub.position) if status == 410 else None)
        assert stream.readers == 0


async def test_too_many_readers_are_sent_away() -> None:
    """Beyond its limit a node answers 503, and serves again when one has left."""
    async with noded() as node:
        stream = EventStream(node.hub, max_readers=1)
        async with served(*stream.routes()) as server, httpx2.AsyncClient() as client:
            async with client.stream("GET", server.url + PATH) as first:
                assert first.status_code == 200
                assert (await get(server)).status_code == 503
            await until(lambda: stream.readers == 0)
            assert (await get(server, "?follow=false")).status_code == 200


async def test_a_stream_does_not_outlive_its_token_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a while it ends properly, so that its reader has to show its token again."""
    monkeypatch.setattr(sse, "LIFE_S", 0.0)
    async with feeding() as (node, _, server):
        node.say(*kills(Log(), 1))
        await node.settled()
        assert len(parsed((await get(server, "?since=v1")).content)) == 1


async def test_a_node_that_stops_ends_its_streams_properly() -> None:
    """Readers get a proper end at once, and newcomers are sent to another node."""
    async with feeding() as (node, stream, server), httpx2.AsyncClient() as client:
        async with client.stream("GET", server.url + PATH) as answer:
            node.hub.stop_serving()
            await answer.aread()
        assert (await get(server)).status_code == 503
        assert stream.readers == 0


async def test_a_reader_that_does_not_read_is_cut_off_and_resumes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It holds nothing of the node's memory, others go on, and its cursor gets it the rest."""
    monkeypatch.setattr(sse, "SEND_WITHIN_S", 0.3)
    async with feeding(tmp_path, unread_ms=1000) as (node, stream, server):
        log, big = Log(), list[bytes]()
        lazy = socket.socket()
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.connect(("127.0.0.1", server.port))
        lazy.sendall(f"GET {PATH}?since=v1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        lazy.setblocking(False)  # noqa: FBT003 - the socket module's own
        body = b""
        # More than the kernel holds for it; on a busy machine the kernel gives it up first.
        while not big or (stream.readers and len(big) < 60):
            changes = [Kill(target=victim(n), reason_admin="x" * 1000) for n in range(150)]
            big.append(log.write(*changes))
            node.say(big[-1])
            await asyncio.sleep(0.02)
            if len(big) == 1:
                body = await _read_one(lazy)
        # The kernel lets go of the connection too, with what it still held for it.
        await until(lambda: stream.readers == server.connections == 0)
        lazy.close()
        had = parsed(_unchunked(body))
        assert [each.data for each in had] == big[:1]
        rest = await get(server, "?follow=false", **{"Last-Event-ID": had[-1].last_id})
        assert [each.data for each in [*had, *parsed(rest.content)]] == big


async def test_without_the_limit_it_would_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: with no limit on a write the same reader holds its place for ever."""
    monkeypatch.setattr(sse, "SEND_WITHIN_S", 1000.0)
    async with feeding() as (node, stream, server):
        log = Log()
        with socket.socket() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.connect(("127.0.0.1", server.port))
            lazy.sendall(f"GET {PATH}?since=v1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await until(lambda: stream.readers == 1)
            for _ in range(60):
                changes = [Kill(target=victim(n), reason_admin="x" * 1000) for n in range(150)]
                node.say(log.write(*changes))
                await asyncio.sleep(0.01)
            assert (stream.readers, stream.cut) == (1, 0)
        await until(lambda: stream.readers == 0)


async def _read_one(lazy: socket.socket) -> bytes:
    """Return the answer up to its first event, and read no more of it."""
    loop, body = asyncio.get_running_loop(), b""
    while not parsed(_unchunked(body)):
        body += await loop.sock_recv(lazy, 4096)
    return body


def _unchunked(answer: bytes) -> bytes:
    """Return the body of a chunked answer that broke off."""
    rest, body = answer.partition(b"\r\n\r\n")[2], b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size or b"0", 16)
        body, rest = body + rest[:length], rest[length + 2 :]
    return body
