"""`Wire`: one connection to one Redis, with requests pipelined in the order they are made.

redis-py makes the connection, logs in and parses (RESP3, hiredis). Its clients and pools are not
used: they retry (an append to a server that was stopped took 14.8 s to fail) and reconnect without
a word, so that a subscriber would miss events and not know.

- Every request has a deadline of ours. One that has passed says nothing about what the server does
  with it later: the append script makes that harmless.
- A frozen or half-open server is noticed by pings: no byte for two of them, a second apart.
- No exception of redis-py leaves this module: `SourceUnavailable` or `SourceRefused` do.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from redis import exceptions
from redis.asyncio.connection import AbstractConnection

try:
    from hiredis import PushNotification
except ImportError as missing:  # its pure Python parser takes 5 times as long, and marks no pushes
    raise ImportError("hiredis 3.2 or newer is missing") from missing

from rescind_protocol.errors import RescindError
from rescind_subscriber.errors import SourceUnavailable
from rescind_subscriber.redis_errors import ELSEWHERE, mapped

REQUEST_TIMEOUT_S = 2.0
PING_INTERVAL_S = 1.0
MAX_SILENCE_S = 2 * PING_INTERVAL_S

OnPush = Callable[[bytes, bytes], None]
"""Called on the loop with (channel, message)."""


class Wire:
    """An open connection, made by `redis_connect.open_wire`."""

    def __init__(self, connection: AbstractConnection, where: str, on_push: OnPush) -> None:
        self.where = where
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Why the connection ended, when it has."""
        self._connection = connection
        self._on_push = on_push
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._unconfirmed: set[bytes] = set()
        self._heard_at = asyncio.get_running_loop().time()
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._keep_pinging())]

    def __repr__(self) -> str:
        return f"<Wire {self.where} {'closed' if self.lost.done() else 'open'}>"

    async def request(self, *words: bytes | str | int, timeout_s: float = REQUEST_TIMEOUT_S) -> Any:
        """Send one command and return its answer; requests are sent in the order of the calls."""
        return (await self.requests(words, timeout_s=timeout_s))[0]

    async def requests(self, *commands: Sequence[bytes | str | int], **how: float) -> list[Any]:
        """Send several commands at once and return their answers; raises the first error."""
        answers = await self.outcomes(*commands, **how)
        for answer in answers:
            if isinstance(answer, RescindError):
                raise answer
        return answers

    async def outcomes(
        self, *commands: Sequence[bytes | str | int], timeout_s: float = REQUEST_TIMEOUT_S
    ) -> list[Any]:
        """Return the answers or errors of several commands, all within one deadline."""
        answers = [self._expect() for _ in commands]
        try:
            async with asyncio.timeout(timeout_s):
                await self._send(*commands)
                return await asyncio.gather(*answers, return_exceptions=True)
        except TimeoutError as error:
            raise SourceUnavailable(f"{self.where}: no answer in {timeout_s:g} s") from error
        finally:
            for answer in answers:
                _drop(answer)

    async def subscribe(self, *channels: str) -> None:
        """Return when the server has confirmed every channel; the first thing to do on a wire.

        Confirmations are pushes and a refusal is an answer: the one to the PING behind it, then.
        """
        self._unconfirmed = {channel.encode() for channel in channels}
        answer = self._expect()
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                await self._send(("SUBSCRIBE", *channels), ("PING",))
                await answer
        except TimeoutError as error:
            raise SourceUnavailable(f"{self.where}: subscriptions are not confirmed") from error
        if self._unconfirmed:
            raise SourceUnavailable(f"{self.where}: subscriptions are not confirmed")

    def abort(self, why: str) -> None:
        """End the connection now; every request that waits fails with the reason."""
        if self.lost.done():
            return
        self.lost.set_result(why)
        for task in self._tasks:
            task.cancel()
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(SourceUnavailable(why))
        self._waiting.clear()

    async def close(self) -> None:
        """End the connection and its tasks."""
        self.abort(f"{self.where}: closed")
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(Exception):
            await self._connection.disconnect(nowait=True)

    def _expect(self) -> asyncio.Future[Any]:
        """Return the future of the next answer; `_send` must follow without a pause."""
        if self.lost.done():
            raise SourceUnavailable(self.lost.result())
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        return answer

    async def _send(self, *commands: Sequence[bytes | str | int]) -> None:
        """Write at once, before anything is awaited, so that the order is the caller's."""
        packed = [part for words in commands for part in self._connection.pack_command(*words)]
        try:
            await self._connection.send_packed_command(packed, check_health=False)
        except exceptions.RedisError as error:
            self.abort(f"{self.where}: {error}")
            raise SourceUnavailable(f"{self.where}: {error}") from error

    async def _read(self) -> None:
        """Hand answers to requests, in order, and pushes to `on_push`, to the end."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                answer: Any = None
                try:
                    answer = await self._connection.read_response(push_request=True)
                except exceptions.ResponseError as error:
                    answer = error
                self._heard_at = loop.time()
                if isinstance(answer, PushNotification):
                    self._pushed(answer)
                else:
                    self._answered(answer)
        except (exceptions.RedisError, OSError) as error:
            self.abort(f"{self.where}: connection lost: {error}")
        except Exception as error:  # a reader that ended quietly would be a deaf subscriber
            self.abort(f"{self.where}: connection given up: {error!r}")
            raise

    def _pushed(self, push: Sequence[Any]) -> None:
        if push[0] == b"message":
            self._on_push(push[1], push[2])
        elif push[0] == b"subscribe":
            self._unconfirmed.discard(push[1])

    def _answered(self, answer: Any) -> None:
        if not self._waiting:
            return
        waiting = self._waiting.popleft()
        if isinstance(answer, ELSEWHERE):
            self.abort(f"{self.where}: {answer}")
        if waiting.done():
            return
        if isinstance(answer, exceptions.RedisError):
            waiting.set_exception(mapped(answer, self.where))
        else:
            waiting.set_result(answer)

    async def _keep_pinging(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PING_INTERVAL_S)
            if loop.time() - self._heard_at > MAX_SILENCE_S:
                self.abort(f"{self.where}: silent for {MAX_SILENCE_S:g} s")
                return
            with contextlib.suppress(SourceUnavailable):
                self._expect().add_done_callback(_drop)
                await self._send(("PING",))


def _drop(answer: asyncio.Future[Any]) -> None:
    """Want no answer any more; asyncio complains of errors that nobody has looked at."""
    if not answer.cancel() and not answer.cancelled():
        answer.exception()
