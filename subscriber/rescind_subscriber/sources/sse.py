"""`SseSource`: live and stored by server-sent events of a registry node, over HTTP/1.1.

1. Live: one connection, from now on; `linked` once the node's opening block has come. It is given
   up when nothing came for a while: the node says something every two seconds.
2. Stored: a request of its own with the cursor, that ends with what the node holds; without one,
   all that the node holds.
3. A cursor is the node's last event id. It names events by the numbers in their logs, not a place
   in a file: any node of the fabric reads on from it. 410: that node does not hold what lies
   behind; the reader starts over.
4. That all came is for the heads to prove, and that it is genuine for the signatures (I6).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256

import httpx2

from rescind_protocol.errors import Malformed, RescindError
from rescind_subscriber.errors import Rewound, SourceUnavailable
from rescind_subscriber.http_address import HttpOptions, make_client
from rescind_subscriber.http_errors import judged, mapped
from rescind_subscriber.http_report import post_report
from rescind_subscriber.keeping import Keeper
from rescind_subscriber.sources.base import Batch, Cursor, Feed
from rescind_subscriber.sse_parser import MAX_ID_BYTES, SseParser

PATH = "/v1/events/revocations"
CONTENT_TYPE = "text/event-stream"
MAX_SILENCE_S = 5.0
"""A node says something every two seconds, if only a comment."""
ANSWER_WITHIN_S = 10.0
"""Connection, TLS and the headers of the answer together, however slowly they drip."""
EVENTS = 64
"""Stored events handed over at a time."""


class SseSource:
    """Events of one fabric from one registry node; runs on the loop that calls `start`."""

    def __init__(self, options: HttpOptions, *, name: str = "sse") -> None:
        self.name = name
        self._options = options
        self._feed: Feed | None = None
        self._told = ""  # the reason last told to the feed; "" while linked
        self._client: httpx2.AsyncClient | None = None
        self._keeper = Keeper(self._follow, on_up=self._up, on_down=self._down, name=name)

    def __repr__(self) -> str:
        state = self._told or "linked" if self._feed else "not started"
        return f"<SseSource {self.name} {self._options.shown}: {state}>"

    async def start(self, feed: Feed) -> None:
        """Connect and follow; see `Source.start`."""
        if self._client is None:
            self._client = make_client(self._options, silence_s=MAX_SILENCE_S)
        self._feed, self._told = feed, ""
        await self._keeper.start()

    async def stop(self) -> None:
        """Close; the feed hears no more."""
        self._feed = None
        await self._keeper.stop()
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def read(self, after: Cursor | None) -> AsyncIterator[Batch]:
        """Yield the stored events behind the cursor; see `Source.read`."""
        headers, query = _resume(after, self.name), {"follow": "false"}
        if after is None:
            query["since"] = "oldest"
        parser, events, last = SseParser(), list[bytes](), ""
        async with self._asked(query, headers) as answer:
            async for piece in self._pieces(answer):
                for said in self._parsed(parser, piece):
                    if said[0] == "revocation":
                        events.append(said[1])
                        last = said[2]
                if len(events) >= EVENTS:
                    yield _batch(events, last)
                    events = []
        if events:
            yield _batch(events, last)

    async def report(self, subscriber: str, raw: bytes) -> None:
        """Send one report to the node; see `Reporter.report`."""
        del subscriber  # its name is in it
        await post_report(self._client, f"{self.name} at {self._options.shown}", raw)

    async def _follow(self, linked: Callable[[], None]) -> None:
        """Hear what comes until the connection ends; raises why."""
        parser = SseParser()
        async with self._asked({}, {}) as answer:
            async for piece in self._pieces(answer):
                for said in self._parsed(parser, piece):
                    self._hear(said[0], said[1])
                if parser.blocks and linked is not _nothing:
                    linked, up = _nothing, linked
                    up()

    def _hear(self, kind: str, data: bytes) -> None:
        if self._feed is None:
            return
        if kind == "revocation":
            self._feed.heard(self.name, data)
        elif kind == "head":
            self._feed.heard_head(self.name, data)

    @asynccontextmanager
    async def _asked(
        self, query: dict[str, str], headers: dict[str, str]
    ) -> AsyncIterator[httpx2.Response]:
        """Give an answer that is a stream of events; raises our errors only."""
        client, where = self._client, f"{self.name} at {self._options.shown}"
        if client is None:
            raise SourceUnavailable(f"{self.name}: not started")
        request = client.build_request(
            "GET", PATH, params=query, headers={"Accept": CONTENT_TYPE, **headers}
        )
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                answer = await client.send(request, stream=True)
        except TimeoutError as error:
            raise SourceUnavailable(f"{where}: no answer in {ANSWER_WITHIN_S:g} s") from error
        except (httpx2.HTTPError, OSError, RuntimeError) as error:
            raise mapped(error, where) from error
        try:
            wrong = judged(answer.status_code, where, cursor=bool(headers)) or _typed(answer, where)
            if wrong is not None:
                raise wrong
            yield answer
        finally:
            await answer.aclose()

    async def _pieces(self, answer: httpx2.Response) -> AsyncIterator[bytes]:
        where = f"{self.name} at {self._options.shown}"
        try:
            async for piece in answer.aiter_raw():
                yield piece
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            raise mapped(error, where) from error

    def _parsed(self, parser: SseParser, piece: bytes) -> list[tuple[str, bytes, str]]:
        try:
            return [(said.kind, said.data, said.last_id) for said in parser.feed(piece)]
        except Malformed as error:
            raise SourceUnavailable(f"{self.name} at {self._options.shown}: {error}") from error

    def _up(self) -> None:
        self._told = ""
        if self._feed is not None:
            self._feed.linked(self.name)

    def _down(self, why: str) -> None:
        if self._feed is not None and why != self._told:
            self._told = why
            self._feed.unlinked(self.name, why)


def _nothing() -> None:
    """Be what is called of a link that was told of already."""


def _batch(events: list[bytes], last: str) -> Batch:
    return Batch(events, Cursor(last, sha256(last.encode()).digest()))


def _resume(after: Cursor | None, name: str) -> dict[str, str]:
    """Return the header that resumes; raises `Rewound` for a position of another kind of source."""
    if after is None:
        return {}
    at = after.position
    if not (at.isascii() and at.isprintable() and 0 < len(at) <= MAX_ID_BYTES and " " not in at):
        raise Rewound(f"{name}: {at[:40]!r} is no cursor of a registry")
    return {"Last-Event-ID": at}


def _typed(answer: httpx2.Response, where: str) -> RescindError | None:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == CONTENT_TYPE:
        return None
    return judged(404, f"{where}: {kind[:40]!r} is no event stream")
