"""`GET /v1/events/revocations`: signed events as server-sent events, as they come (interop.md §3).

    Last-Event-ID: CURSOR   what comes after it, without gap or repeat; then live
    ?since=CURSOR           the same, for clients that cannot send the header; the header wins
    ?since=oldest           all that this node holds, whether or not that is everything
    ?follow=false           end after what is stored, instead of following
    (none)                  live, from now on

200 is a stream. 400: no such cursor. 410: what lies behind the cursor is not held any more: take
the bundle and follow from the cursor in the answer. 503: as many readers as the node serves.
A browser's EventSource reconnects by itself after a stream that ended, and gives up after anything
but 200.
"""

import asyncio
import logging
import random
from collections.abc import Iterable, Sequence
from typing import Annotated, Any
from urllib.parse import parse_qsl

import msgspec
from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, QueryParameter
from litestar.types import ASGIApp, Receive, Scope, Send

from rescind_protocol.errors import RescindError
from rescind_registry.feeds import sse_format
from rescind_registry.feeds.cursor import Position, decode, encode
from rescind_registry.feeds.errors import BadCursor, Ended, GoneCursor, TooMany, TooSlow
from rescind_registry.feeds.hub import Hub
from rescind_registry.feeds.reader import Reader, Taken

log = logging.getLogger("rescind.registry")

PATH = "/v1/events/revocations"
OLDEST = "oldest"
MAX_READERS = 10_000
"""Each costs about 20 KiB, and the kernel's buffers; see docs/benchmarks.md."""
SEND_WITHIN_S = 10.0
"""A reader that takes nothing for so long is cut off; it can resume."""
LIFE_S = 900.0
"""A stream ends after this, more or less, and its reader comes back with its cursor and its token:
one that was revoked follows no longer than that."""
MAX_QUERY_BYTES = 8 * 1024
"""A cursor and a few words."""


_SINCE = "A cursor, or `oldest` for all that this node holds; the header wins"
_FOLLOW = "`false` ends the stream after what is stored"
_LAST_ID = "What comes after this cursor, and nothing twice"
_STATUSES = {
    400: "No such cursor",
    401: "No API token, or one that is not known",
    403: "The API token may not read",
    410: "What lies behind the cursor is not held here: take the state, follow from `cursor`",
    429: "Too many failures from this address",
    503: "Too many readers, or the node stops",
}


class Asked(msgspec.Struct, frozen=True):
    """What a request asks for."""

    position: Position | None
    partial: bool = False
    follow: bool = True


class Refused(msgspec.Struct, frozen=True):
    """The reference's shape of an error, and what to do next."""

    error: str
    code: str
    cursor: str | None = None
    """Where this node stands: to follow from, once the state was taken as a whole."""


def _documented() -> dict[int, ResponseSpec]:
    stream = ResponseSpec(
        str,
        description="An event stream (WHATWG HTML §9.2)",
        media_type=sse_format.CONTENT_TYPE,
        generate_examples=False,
    )
    refusals = {
        status: ResponseSpec(Refused, description=words, generate_examples=False)
        for status, words in _STATUSES.items()
    }
    return {200: stream, **refusals}


class EventStream:
    """The feed of one node; an instance serves all its readers."""

    def __init__(self, hub: Hub, *, max_readers: int = MAX_READERS) -> None:
        self.hub = hub
        self.readers = 0
        self.cut = 0
        """Readers that were cut off since the start."""
        self._max_readers = max_readers

    def routes(self) -> list[HTTPRouteHandler]:
        """Return the routes for `app.build`."""

        @get(
            PATH,
            operation_id="FollowRevocations",
            media_type=sse_format.CONTENT_TYPE,
            opt={"scope": "read"},
            summary="The signed events as they come, as server-sent events",
            responses=_documented(),
        )
        async def follow_revocations(
            request: Request[Any, Any, Any],
            since: Annotated[str | None, QueryParameter(description=_SINCE)] = None,
            follow: Annotated[str | None, QueryParameter(description=_FOLLOW)] = None,
            last_event_id: Annotated[
                str | None, HeaderParameter(name="Last-Event-ID", description=_LAST_ID)
            ] = None,
        ) -> ASGIApp:
            # Documented here, and read from the request as it is: `read_request`.
            del request, since, follow, last_event_id
            return self

        return [follow_revocations]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        try:
            asked = read_request(scope)
            if self.hub.stopping:
                raise TooMany("this node is stopping: ask another")
            if self.readers >= self._max_readers:
                raise TooMany(f"this node has {self.readers} readers: ask another, or later")
            reader = Reader(self.hub, asked.position, partial=asked.partial)
        except RescindError as error:
            await self._refuse(send, error)
            return
        self.readers += 1
        try:
            await self._serve(reader, asked, receive, send)
        finally:
            self.readers -= 1

    async def _refuse(self, send: Send, error: RescindError) -> None:
        status, headers = {
            BadCursor: (400, []),
            GoneCursor: (410, []),
            TooMany: (503, [(b"retry-after", b"5")]),
        }[type(error)]
        cursor = encode(self.hub.position) if isinstance(error, GoneCursor) else None
        body = msgspec.json.encode(Refused(str(error), error.code, cursor))
        await _start(send, status, b"application/json", headers)
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _serve(self, reader: Reader, asked: Asked, receive: Receive, send: Send) -> None:
        """Write until the reader leaves, is too slow, or has all that it asked for."""
        writing = asyncio.create_task(self._write(reader, send, follow=asked.follow))
        leaving = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait((writing, leaving), return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                writing.result()
        finally:
            for task in (writing, leaving):
                task.cancel()
            await asyncio.gather(writing, leaving, return_exceptions=True)

    async def _write(self, reader: Reader, send: Send, *, follow: bool) -> None:
        await _start(send, 200, sse_format.CONTENT_TYPE.encode(), _STREAM_HEADERS)
        try:
            await _body(send, sse_format.opening(reader.cursor))
            try:
                end = _loop_time() + LIFE_S * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
                while (taken := await _next(reader, follow=follow)) is not None:
                    await _body(send, frames(taken))
                    if _loop_time() > end:
                        break
            except (Ended, GoneCursor) as error:
                log.info("a stream of events ends: %s", error)
                self.cut += isinstance(error, TooSlow)
            await _body(send, b"", more=False)
        except TimeoutError:
            # Without an end: to the reader it is a stream that broke off, and it resumes.
            self.cut += 1
            log.info("a stream of events ends: its reader took nothing for %g s", SEND_WITHIN_S)


_STREAM_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would keep events back
)


def read_request(scope: Scope) -> Asked:
    """Return what a request asks for; raises `BadCursor`."""
    query: bytes = scope.get("query_string", b"")
    if len(query) > MAX_QUERY_BYTES:
        raise BadCursor("the query is longer than any cursor")
    given = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    since = _header(scope["headers"]) or given.get("since")
    follow = given.get("follow", "true")
    if follow not in ("true", "false"):
        raise BadCursor("follow is true or false")
    if since is None:
        return Asked(None, follow=follow == "true")
    if since == OLDEST:
        return Asked(Position(), partial=True, follow=follow == "true")
    return Asked(decode(since), follow=follow == "true")


def _header(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the last event id: an empty one is none (WHATWG HTML §9.2.4)."""
    found = [value for name, value in headers if name.lower() == b"last-event-id"]
    return found[-1].decode("latin-1") if found and found[-1] else None


def frames(taken: Taken) -> bytes:
    """Return what a reader gets, as it travels; an event's part is made once for all readers."""
    parts = [said.encoded(sse_format.revocation) for said in taken.events]
    parts += [sse_format.head(raw) for raw in taken.heads]
    return b"".join(parts) or sse_format.HEARTBEAT


async def _next(reader: Reader, *, follow: bool) -> Taken | None:
    """Return what comes next: an empty `Taken` is a heartbeat, None the end of what is stored."""
    if not follow:
        return await reader.stored()
    try:
        async with asyncio.timeout(sse_format.HEARTBEAT_S):
            return await reader.next()
    except TimeoutError:
        return Taken()


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


async def _start(
    send: Send, status: int, kind: bytes, headers: Sequence[tuple[bytes, bytes]]
) -> None:
    named = [(b"content-type", kind), *headers]
    await send({"type": "http.response.start", "status": status, "headers": named})


async def _body(send: Send, body: bytes, *, more: bool = True) -> None:
    async with asyncio.timeout(SEND_WITHIN_S):
        await send({"type": "http.response.body", "body": body, "more_body": more})


async def _gone(receive: Receive) -> None:
    """Return when the reader has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
