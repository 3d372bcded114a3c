"""`rescind.v1.Revocations/Watch`: signed events and heads down, the cursor and reports up.

1. who asks: the token in the call's metadata, judged as for HTTP
2. the first message up is a Begin; it says where from
3. down: where the reader stands, what it has missed, then what comes; each write waits for the
   reader's flow control, and one that waits too long ends the call
4. up, at any time: reports of what the reader has applied, handed on to the publishers
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
import msgspec
from grpc import aio

from rescind_protocol.errors import Malformed, RescindError
from rescind_registry.feeds.applied import Reports
from rescind_registry.feeds.cursor import Position, decode, encode
from rescind_registry.feeds.errors import BadCursor, Ended, GoneCursor, TooMany, TooSlow
from rescind_registry.feeds.hub import Hub
from rescind_registry.feeds.reader import Reader, Taken
from rescind_subscriber.grpc_wire import stubs
from rescind_subscriber.grpc_wire.revocations_pb2 import (
    Begin,
    Event,
    Standing,
    WatchRequest,
    WatchResponse,
)

log = logging.getLogger("rescind.registry")

MAX_READERS = 10_000
BEGIN_WITHIN_S = 10.0
WRITE_WITHIN_S = 10.0
"""A reader that takes nothing for so long is cut off; it can resume.

Its status stands behind what it does not take, and a server cannot reset a call in grpc.aio: the
call is gone only with its connection, and counts for `max_readers` until then."""
LIFE_S = 900.0
"""A call ends after this, more or less: a token that was revoked follows no longer than that."""
STOP_WITHIN_S = 2.0

Authorize = Callable[[str | None, str], Awaitable[None]]
"""Takes the token said and the peer's address; raises a `RescindError` to refuse."""
Context = aio.ServicerContext[WatchRequest, bytes]

_STATUS = {
    "BAD_CURSOR": grpc.StatusCode.INVALID_ARGUMENT,
    "MALFORMED": grpc.StatusCode.INVALID_ARGUMENT,
    "GONE_CURSOR": grpc.StatusCode.OUT_OF_RANGE,
    "STREAM_ENDED": grpc.StatusCode.UNAVAILABLE,
    "TOO_SLOW": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "TOO_MANY_READERS": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "TOO_MANY_FAILURES": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "TOKEN_INVALID": grpc.StatusCode.UNAUTHENTICATED,
    "SCOPE_MISSING": grpc.StatusCode.PERMISSION_DENIED,
}
_BEARER = "bearer "


class TlsFiles(msgspec.Struct, frozen=True):
    """Certificate chain and private key, PEM."""

    cert: Path | None
    key: Path | None


class WatchService:
    """The feed of one node; an instance serves all its readers, on the hub's loop."""

    def __init__(
        self,
        hub: Hub,
        reports: Reports,
        *,
        authorize: Authorize,
        max_readers: int = MAX_READERS,
    ) -> None:
        self.hub = hub
        self.readers = 0
        self.cut = 0
        """Readers that were cut off since the start."""
        self._reports, self._authorize = reports, authorize
        self._max_readers = max_readers
        self._server: aio.Server | None = None

    async def start(self, address: str, tls: TlsFiles | None = None) -> int:
        """Listen at HOST:PORT and return the port; raises `OSError` where that is not possible."""
        server = aio.server(options=stubs.SERVER_OPTIONS, maximum_concurrent_rpcs=self._max_readers)
        handler = grpc.stream_stream_rpc_method_handler(
            self._watch, WatchRequest.FromString, _as_it_is
        )
        service = grpc.method_handlers_generic_handler(stubs.SERVICE, {stubs.WATCH: handler})
        server.add_generic_rpc_handlers((service,))
        port = _bind(server, address, tls)
        await server.start()
        self._server = server
        return port

    async def stop(self) -> None:
        """End every call and stop listening."""
        server, self._server = self._server, None
        if server is not None:
            self.hub.stop_serving()
            await server.stop(STOP_WITHIN_S)

    async def _watch(self, said: AsyncIterator[WatchRequest], context: Context) -> None:
        try:
            await self._authorize(*_caller(context))
            begin = await _begin(said)
            # Before any write: one that is ended while it carries the metadata along leaves grpc
            # to send them again with the status, which then never arrives.
            await context.send_initial_metadata(())
            if self.hub.stopping:
                raise Ended("this node is stopping: ask another")
            if self.readers >= self._max_readers:
                raise TooMany(f"this node has {self.readers} readers: ask another, or later")
            reader = _reader(self.hub, begin)
            await self._serve(reader, begin, said, context)
        except RescindError as error:
            self.cut += isinstance(error, TooSlow)
            await self._refuse(context, error)

    async def _refuse(self, context: Context, error: RescindError) -> None:
        status = _STATUS.get(error.code, grpc.StatusCode.UNAVAILABLE)
        gone = isinstance(error, GoneCursor)
        now = ((stubs.CURSOR_KEY, encode(self.hub.position)),) if gone else ()
        await context.abort(status, str(error), now)

    async def _serve(
        self, reader: Reader, begin: Begin, said: AsyncIterator[WatchRequest], context: Context
    ) -> None:
        self.readers += 1
        hearing = asyncio.create_task(self._hear(said))
        writing = asyncio.create_task(_write(reader, context, follow=not begin.stored_only))
        try:
            await asyncio.wait((hearing, writing), return_when=asyncio.FIRST_COMPLETED)
            if not writing.done():
                hearing.result()  # it has ended: by a fault, or the reader has no more to say
            await writing
        finally:
            self.readers -= 1
            for task in (hearing, writing):
                task.cancel()
            await asyncio.gather(hearing, writing, return_exceptions=True)

    async def _hear(self, said: AsyncIterator[WatchRequest]) -> None:
        take = self._reports.stream()
        async for each in said:
            if each.WhichOneof("said") != "report":
                raise Malformed("after the Begin only reports may come")
            take(each.report.report)


async def _write(reader: Reader, context: Context, *, follow: bool) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + LIFE_S * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load
    await _send(context, WatchResponse(standing=Standing(cursor=reader.cursor)))
    while loop.time() < end:
        taken = await _next(reader, follow=follow, within_s=end - loop.time())
        if taken is None:
            return
        for each in _messages(taken):
            await _send(context, each)
    raise Ended("this call has lasted long enough: resume")


async def _next(reader: Reader, *, follow: bool, within_s: float) -> Taken | None:
    if not follow:
        return await reader.stored()
    try:
        async with asyncio.timeout(within_s):
            return await reader.next()
    except TimeoutError:
        return Taken()


async def _send(context: Context, message: WatchResponse | bytes) -> None:
    raw = message if isinstance(message, bytes) else message.SerializeToString()
    try:
        async with asyncio.timeout(WRITE_WITHIN_S):
            await context.write(raw)
    except TimeoutError as error:
        raise TooSlow(
            f"this reader took nothing for {WRITE_WITHIN_S:g} s: resume from its last cursor"
        ) from error


def _messages(taken: Taken) -> list[bytes]:
    """Return what a reader gets, as it travels; an event's is made once for all readers."""
    events = [said.encoded(event_message) for said in taken.events]
    return [*events, *(WatchResponse(head=raw).SerializeToString() for raw in taken.heads)]


def event_message(raw: bytes, cursor: str) -> bytes:
    """Return a signed event as it travels."""
    return WatchResponse(event=Event(signed=raw, cursor=cursor)).SerializeToString()


async def _begin(said: AsyncIterator[WatchRequest]) -> Begin:
    try:
        async with asyncio.timeout(BEGIN_WITHIN_S):
            first = await anext(said)
    except (TimeoutError, StopAsyncIteration) as error:
        raise BadCursor("the first message must be a Begin") from error
    if first.WhichOneof("said") != "begin":
        raise BadCursor("the first message must be a Begin")
    return first.begin


def _reader(hub: Hub, begin: Begin) -> Reader:
    place = begin.WhichOneof("from")
    if place == "oldest" and begin.oldest:
        return Reader(hub, Position(), partial=True)
    return Reader(hub, decode(begin.cursor) if place == "cursor" else None)


def _caller(context: Context) -> tuple[str | None, str]:
    found = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
    said = found[0] if len(found) == 1 and isinstance(found[0], str) else ""
    token = said[len(_BEARER) :].strip() if said.lower().startswith(_BEARER) else None
    return token, _address(context.peer())


def _address(peer: str) -> str:
    """Return the host in gRPC's notation of a peer: `ipv4:127.0.0.1:41234`."""
    return peer.partition(":")[2].rpartition(":")[0].strip("[]") or peer


def _bind(server: aio.Server, address: str, tls: TlsFiles | None) -> int:
    try:
        if tls is None or tls.cert is None or tls.key is None:
            return server.add_insecure_port(address)
        pair = (tls.key.read_bytes(), tls.cert.read_bytes())
        return server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address} for gRPC: {error}") from error


def _as_it_is(raw: bytes) -> bytes:
    return raw
