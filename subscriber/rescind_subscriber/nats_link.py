"""One link to NATS for sources and sinks: how it connects, how it is lost, how it asks.

- A connection that is lost is replaced by a new one, for ever (nats-py's own reconnect gives up
  after 60 attempts, ends for good on some `-ERR`, and sends later what a caller has given up on),
  at a moment of its own (`pace.Redial`), for the whole fleet may have lost its connections.
- A frozen or half-open server is noticed by pings: two unanswered, a second apart.
- What cannot heal by itself (credentials, certificate, version) is `SourceRefused` at the first
  connection; later it is reported as the reason and tried again, for operators rotate passwords.
- No exception of nats-py leaves this module: `SourceUnavailable` or `SourceRefused` do.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from math import inf
from typing import Any, NamedTuple, TypeVar

import msgspec
from nats import errors

from rescind_subscriber.errors import SourceRefused, SourceUnavailable
from rescind_subscriber.nats_client import (
    Handler,
    message_frame,
    message_start,
)
from rescind_subscriber.nats_connect import Connected, NatsOptions, connect
from rescind_subscriber.pace import Redial
from rescind_subscriber.tasks import jitter

__all__ = ["Link", "NatsOptions", "Reply", "status"]

REFUSED_WAIT_S = 2.0
"""Between attempts while the server refuses us: no storm of failed log-ins."""
STOP_AGAIN_S = 0.1
REQUEST_TIMEOUT_S = 2.0

T = TypeVar("T")
Plain = Callable[[bytes, bytes], None]
"""Called on the loop with (payload, raw header block)."""


class Reply(msgspec.Struct, frozen=True):
    """Answer to a request."""

    payload: bytes
    headers: bytes

    @property
    def status(self) -> bytes:
        """The status of a `NATS/1.0 404 ...` header line, or nothing."""
        return status(self.headers)


def status(headers: bytes) -> bytes:
    """Return the three digits of the inline status of a raw header block, or b"" (NATS ADR-4)."""
    return headers[9:12] if headers[8:9] == b" " else b""


class Question(NamedTuple):
    """A request on one connection, and where its answer goes."""

    inbox: str
    answer: asyncio.Future[Reply]
    client: Connected


class Armed(NamedTuple):
    """A request that lacks its headers and payload alone, on this connection and no other."""

    question: Question
    start: bytes


Accept = Callable[[Reply], bool]


class Link:
    """Keeps one connection for ever; `on_up` runs on each new one, `on_down` when it is lost.

    `on_up` subscribes and may raise `SourceUnavailable` to have the connection replaced.
    `on_down(why)` is a plain function. `on_problem(why)` hears what the server answers on the
    side: a permission violation never fails the call that caused it. `spread_s()`: over how long
    the fleet spreads its connections to a server that it has lost.
    """

    def __init__(
        self,
        options: NatsOptions,
        *,
        on_up: Callable[[], Awaitable[None]],
        on_down: Callable[[str], None],
        on_problem: Callable[[str], None],
        spread_s: Callable[[], float] = float,
    ) -> None:
        self.options = options
        self._on_up = on_up
        self._on_down = on_down
        self._on_problem = on_problem
        self._redial = Redial(spread_s)
        self._up_at = inf
        """When the present connection began to serve, on the loop's clock."""
        self._client: Connected | None = None
        self._runner: asyncio.Task[None] | None = None
        self._inbox = ""
        self._waiting: dict[str, Plain] = {}
        self.reconnects = 0

    def __repr__(self) -> str:
        return f"<Link {self.options.shown} {'up' if self.connected else 'down'}>"

    @property
    def connected(self) -> bool:
        """Whether requests can be made now."""
        return self._client is not None

    @property
    def clustered(self) -> bool:
        """Whether the present server is one of several."""
        return self._client is not None and self._client.clustered

    async def start(self) -> None:
        """Make the first attempt, then go on for ever; raises `SourceRefused`, never weather."""
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._runner = asyncio.create_task(self._run(first), name=f"nats {self.options.shown}")
        try:
            await first
        except SourceRefused:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Send what was accepted, close, and stay closed."""
        if self._client is not None:
            with contextlib.suppress(SourceUnavailable):
                await self._guarded(self._client.flush(1), 1.0)
        runner, self._runner = self._runner, None
        while runner is not None and not runner.done():
            # Again and again: before Python 3.12 `wait_for` swallows a cancellation that meets a
            # result (python/cpython#86296), and nats-py uses it everywhere.
            runner.cancel()
            await asyncio.wait((runner,), timeout=STOP_AGAIN_S)

    async def listen(self, subject: str, handler: Handler) -> None:
        """Subscribe a plain function on the present connection (again on each new one).

        On a new one, before `on_up` returns, it goes out with what is sent next.
        """
        client = self._up()
        await self._guarded(client.listen(subject, self._fenced(handler)))
        if self._up_at < inf:
            await self._guarded(client.send_held())

    async def flush(self) -> None:
        """Return when the server has processed everything sent so far."""
        await self._guarded(self._up().flush(int(REQUEST_TIMEOUT_S)))

    async def publish(
        self,
        subject: str,
        payload: bytes,
        *,
        reply: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        """Send; whether it arrived is not known."""
        await self._guarded(self._up().publish(subject, payload, reply, headers))

    def open_inbox(self, plain: Plain) -> str:
        """Return a fresh reply subject whose answers go to `plain`, until `close_inbox`."""
        self._up()
        token = secrets.token_urlsafe(12)
        self._waiting[token] = plain
        return f"{self._inbox}.{token}"

    def close_inbox(self, reply: str) -> None:
        """Forget a reply subject, on any thread; later answers to it are dropped."""
        self._waiting.pop(reply.rpartition(".")[2], None)

    async def request(
        self,
        subject: str,
        payload: bytes,
        *,
        headers: dict[str, str] | None = None,
        accept: Accept = lambda _: True,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Reply:
        """Ask and return the first answer that `accept` takes; `SourceUnavailable` at the deadline.

        Others may send to an inbox they have seen: an answer that is not accepted is passed over.
        """
        question = self._question(accept)
        try:
            await self.publish(subject, payload, reply=question.inbox, headers=headers)
        except BaseException:
            self.close_inbox(question.inbox)
            raise
        return await self.answer(question, timeout_s)

    def arm(self, subject: str, accept: Accept) -> Armed | None:
        """Make a request ready, to be sent by `fire` on this connection; None without one."""
        if self._client is None:
            return None
        self._client.share()
        question = self._question(accept)
        return Armed(question, message_start(subject, question.inbox))

    def is_armed(self, armed: Armed) -> bool:
        """Whether its connection is the present one."""
        return armed.question.client is self._client

    def fire(self, armed: Armed, headers: bytes, payload: bytes) -> bool:
        """Send it on any thread without waiting for anything; False where it was not sent.

        `headers`: a whole block. `answer` awaits what is said to it. It can be sent once.
        """
        frame = message_frame(armed.start, headers, payload)
        return self.is_armed(armed) and armed.question.client.write_now(frame)

    async def answer(self, question: Question, timeout_s: float) -> Reply:
        """Return the answer to a request; `SourceUnavailable` at the deadline."""
        if question.client is not self._client:
            raise SourceUnavailable(
                f"NATS at {self.options.shown}: the connection was lost meanwhile"
            )
        try:
            return await self.while_up(question.answer, timeout_s)
        finally:
            self.close_inbox(question.inbox)

    def _question(self, accept: Accept) -> Question:
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def heard(data: bytes, header_block: bytes) -> None:
            got = Reply(data, header_block)
            if not answer.done() and accept(got):
                answer.set_result(got)

        return Question(self.open_inbox(heard), answer, self._up())

    async def while_up(self, future: asyncio.Future[T], timeout_s: float) -> T:
        """Return the result; `SourceUnavailable` at the deadline or when the link is lost."""
        lost = self._up().lost
        await asyncio.wait((future, lost), timeout=timeout_s, return_when="FIRST_COMPLETED")
        if future.done():
            return future.result()
        why = lost.result() if lost.done() else f"no answer within {timeout_s:g} s"
        raise SourceUnavailable(f"NATS at {self.options.shown}: {why}")

    def _up(self) -> Connected:
        if self._client is None:
            raise SourceUnavailable(f"not connected to NATS at {self.options.shown}")
        return self._client

    def _fenced(self, handler: Handler) -> Handler:
        """Return the handler with a fence: an exception in the read loop would end it silently."""

        def fenced(subject: str, data: bytes, headers: bytes) -> None:
            try:
                handler(subject, data, headers)
            except Exception as error:  # noqa: BLE001 - whatever it is, the message was not applied
                self._lose(f"a message could not be handled: {error!r}")

        return fenced

    def give_up(self, why: str) -> None:
        """Give up the connection; the next one subscribes anew, and brings a catch-up."""
        self._lose(why)

    def _lose(self, why: str) -> str:
        """Give up the connection, the next brings a catch-up; return why it was lost."""
        if self._client is None:
            return why
        self._client.abort(why)
        return self._client.lost.result()

    async def _guarded(
        self, call: Coroutine[Any, Any, T], timeout_s: float = REQUEST_TIMEOUT_S
    ) -> T:
        """Await a call of nats-py, bounded, its exceptions mapped to ours."""
        try:
            async with asyncio.timeout(timeout_s):
                return await call
        except TimeoutError as error:
            # A late PONG to a flush given up on would end the library's read loop: cut it first.
            why = self._lose(f"no answer within {timeout_s:g} s")
            raise SourceUnavailable(f"NATS at {self.options.shown}: {why}") from error
        except (errors.Error, OSError) as error:
            raise SourceUnavailable(f"NATS at {self.options.shown}: {error}") from error

    async def _run(self, first: asyncio.Future[None]) -> None:
        while True:
            refused_s = 0.0
            try:
                await self._one_connection(first)
            except SourceRefused as error:
                self._on_down(str(error))
                refused_s = REFUSED_WAIT_S * jitter(0.5, 1.5)
                if not first.done():
                    first.set_exception(error)
                    return
            except SourceUnavailable as error:
                self._on_down(str(error))
            except Exception as error:  # noqa: BLE001 - a bug above must not end the link quietly
                self._on_down(f"internal error: {error!r}")
            if not first.done():
                first.set_result(None)
            up_s = max(0.0, asyncio.get_running_loop().time() - self._up_at)
            self._up_at = inf
            await asyncio.sleep(max(refused_s, self._redial.wait_s(up_s)))

    async def _one_connection(self, first: asyncio.Future[None]) -> None:
        """Connect, serve until the connection is lost, and say why by raising."""
        client = await connect(self.options, self._on_problem)
        try:
            self._inbox = f"{self.options.inbox_prefix}.{secrets.token_urlsafe(16)}"
            self._client = client
            # Not flushed: the server takes one thing after the other, so this subscription stands
            # before any request of ours is answered. In a reconnect storm each round trip counts.
            await self.listen(f"{self._inbox}.*", self._answered)
            await self._on_up()
            await self._guarded(client.send_held())
            self._up_at = asyncio.get_running_loop().time()
            self.reconnects += first.done()
            if not first.done():
                first.set_result(None)
            raise SourceUnavailable(f"NATS at {self.options.shown}: {await client.lost}")
        finally:
            self._client = None
            self._waiting.clear()
            client.abort("closed")
            with contextlib.suppress(errors.Error, OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await client.close()

    def _answered(self, subject: str, data: bytes, headers: bytes) -> None:
        plain = self._waiting.get(subject.rpartition(".")[2])
        if plain is not None:
            plain(data, headers)
