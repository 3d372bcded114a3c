"""`GrpcSource`: live and stored by `rescind.v1.Revocations/Watch` of a registry node.

The same rules as `SseSource` (cursors, 410 as OUT_OF_RANGE, one connection for both), and reports
go up on the live call. A dead connection is noticed by HTTP/2 pings.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from urllib.parse import urlsplit

import grpc
from grpc import aio

from rescind_subscriber.errors import Rewound, SourceRefused, SourceUnavailable
from rescind_subscriber.grpc_wire import stubs
from rescind_subscriber.grpc_wire.revocations_pb2 import (
    Begin,
    Report,
    WatchRequest,
    WatchResponse,
)
from rescind_subscriber.http_address import HttpOptions, check
from rescind_subscriber.keeping import Keeper
from rescind_subscriber.sources.base import Batch, Cursor, Feed

ANSWER_WITHIN_S = 10.0
"""Connection, TLS and the first message together."""
EVENTS = 64
"""Stored events handed over at a time."""
MAX_CURSOR_CHARS = 8 * 1024

_REFUSED = (
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
)
_NO_CURSOR = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE)


class GrpcSource:
    """Events of one fabric from one registry node; runs on the loop that calls `start`."""

    def __init__(self, options: HttpOptions, *, name: str = "grpc") -> None:
        """`options.url`: `https://HOST:PORT` where the node serves gRPC."""
        self.name = name
        self._options = options
        self._feed: Feed | None = None
        self._told = ""  # the reason last told to the feed; "" while linked
        self._channel: aio.Channel | None = None
        self._live: stubs.Call | None = None
        self._keeper = Keeper(self._follow, on_up=self._up, on_down=self._down, name=name)

    def __repr__(self) -> str:
        state = self._told or "linked" if self._feed else "not started"
        return f"<GrpcSource {self.name} {self._options.shown}: {state}>"

    async def start(self, feed: Feed) -> None:
        """Connect and follow; see `Source.start`."""
        if self._channel is None:
            self._channel = _open(self._options)
        self._feed, self._told = feed, ""
        await self._keeper.start()

    async def stop(self) -> None:
        """Close; the feed hears no more."""
        self._feed = None
        await self._keeper.stop()
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def report(self, subscriber: str, raw: bytes) -> None:
        """Send one report up; see `Reporter.report`."""
        live = self._live
        if live is None or self._told:
            raise SourceUnavailable(f"{self.name}: not connected")
        try:
            await live.write(WatchRequest(report=Report(subscriber=subscriber, report=raw)))
        except (aio.AioRpcError, asyncio.InvalidStateError) as error:
            raise SourceUnavailable(f"{self.name}: the report was not sent") from error

    async def read(self, after: Cursor | None) -> AsyncIterator[Batch]:
        """Yield the stored events behind the cursor; see `Source.read`."""
        begin = Begin(stored_only=True, oldest=True)
        if after is not None:
            if not after.position.isprintable() or len(after.position) > MAX_CURSOR_CHARS:
                raise Rewound(f"{self.name}: {after.position[:40]!r} is no cursor of a registry")
            begin = Begin(stored_only=True, cursor=after.position)
        events, last = list[bytes](), ""
        async for said in self._said(await self._begun(begin), cursor=after is not None):
            if said.WhichOneof("said") == "event":
                events.append(said.event.signed)
                last = said.event.cursor
            if len(events) >= EVENTS:
                yield _batch(events, last)
                events = []
        if events:
            yield _batch(events, last)

    async def _follow(self, linked: Callable[[], None]) -> None:
        """Hear what comes until the call ends; raises why."""
        call = await self._begun(Begin())
        self._live = call
        try:
            async for said in self._said(call, cursor=False):
                kind = said.WhichOneof("said")
                if kind == "standing":
                    linked()
                elif self._feed is not None and kind == "event":
                    self._feed.heard(self.name, said.event.signed)
                elif self._feed is not None and kind == "head":
                    self._feed.heard_head(self.name, said.head)
        finally:
            self._live = None

    async def _begun(self, begin: Begin) -> stubs.Call:
        if self._channel is None:
            raise SourceUnavailable(f"{self.name}: not started")
        token = self._options.token
        call = stubs.watch(self._channel, (("authorization", f"Bearer {token}"),) if token else ())
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await call.write(WatchRequest(begin=begin))
        except (aio.AioRpcError, asyncio.InvalidStateError, TimeoutError) as error:
            await self._raise_end(call, error, cursor=begin.WhichOneof("from") == "cursor")
        return call

    async def _said(self, call: stubs.Call, *, cursor: bool) -> AsyncIterator[WatchResponse]:
        """Yield what the node says; raises our errors only, and ends the call in any case."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                first = await call.read()
            said = first
            while isinstance(said, WatchResponse):
                yield said
                said = await call.read()
        except (aio.AioRpcError, asyncio.InvalidStateError, TimeoutError) as error:
            await self._raise_end(call, error, cursor=cursor)
        finally:
            call.cancel()

    async def _raise_end(self, call: stubs.Call, error: Exception, *, cursor: bool) -> None:
        """Raise why a call ended."""
        where = f"{self.name} at {self._options.shown}"
        if isinstance(error, TimeoutError):
            call.cancel()
            raise SourceUnavailable(f"{where}: no answer in {ANSWER_WITHIN_S:g} s") from error
        status, details = await call.code(), str(await call.details())
        if cursor and status in _NO_CURSOR:
            raise Rewound(f"{where}: {details}") from error
        if status in _REFUSED or "CERTIFICATE_VERIFY_FAILED" in details:
            raise SourceRefused(f"{where}: {details or status.name}") from error
        raise SourceUnavailable(f"{where}: {details or status.name}") from error

    def _up(self) -> None:
        self._told = ""
        if self._feed is not None:
            self._feed.linked(self.name)

    def _down(self, why: str) -> None:
        if self._feed is not None and why != self._told:
            self._told = why
            self._feed.unlinked(self.name, why)


def _batch(events: list[bytes], last: str) -> Batch:
    return Batch(events, Cursor(last, sha256(last.encode()).digest()))


def _open(options: HttpOptions) -> aio.Channel:
    """Return a channel, which connects by itself; raises `SourceRefused`."""
    check(options)
    parts = urlsplit(options.url)
    if not parts.port:
        raise SourceRefused(f"{options.shown}: an address for gRPC names its port")
    if parts.scheme == "http":
        return aio.insecure_channel(parts.netloc, options=stubs.CLIENT_OPTIONS)
    try:
        roots = options.ca_file.read_bytes() if options.ca_file else None
    except OSError as error:
        raise SourceRefused(f"certificates in {options.ca_file} cannot be read: {error}") from error
    trusted = grpc.ssl_channel_credentials(roots)
    return aio.secure_channel(parts.netloc, trusted, options=stubs.CLIENT_OPTIONS)
