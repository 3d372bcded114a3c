"""`PlainWire`: what a link asks of a wire, by redis-py's clients instead of its connections.

It serves where the methods of a connection that `Wire` calls are not known. The clients are told
not to retry. What differs: requests and pushes have a connection each, and both are given up when
either is lost; a request costs a task's turn more.
"""

import asyncio
import contextlib
import inspect
from collections import deque
from collections.abc import Sequence
from typing import Any

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from rescind_protocol.errors import RescindError
from rescind_subscriber.errors import SourceUnavailable
from rescind_subscriber.libraries import lacking
from rescind_subscriber.redis_address import Address, Place
from rescind_subscriber.redis_errors import ELSEWHERE, mapped
from rescind_subscriber.redis_wire import (
    MAX_SILENCE_S,
    PING_INTERVAL_S,
    REQUEST_TIMEOUT_S,
    OnPush,
    Wire,
)


def unknown_part() -> str:
    """Return what `Wire` calls and redis-py has otherwise; "" if it is all known."""
    known = {
        "pack_command": (),
        "send_packed_command": ("command", "check_health"),
        "read_response": ("push_request",),
        "connect": (),
        "disconnect": ("nowait",),
    }
    return lacking(AbstractConnection, known)


class PlainWire(Wire):
    """A client and its subscription. See `Wire`."""

    def __init__(self, client: Redis, where: str, on_push: OnPush) -> None:
        self.where = where
        self.lost = asyncio.get_running_loop().create_future()
        self._client, self._on_push = client, on_push
        self._pushes = client.pubsub()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._heard_at = asyncio.get_running_loop().time()
        self._tasks = [asyncio.create_task(self._keep_pinging())]
        self._confirmed = asyncio.Event()
        self._turn = asyncio.Lock()
        """Requests go one after the other in the order of the calls; asyncio's lock is fair."""
        self._refusal: RescindError | None = None
        """Why the subscription was refused."""

    async def outcomes(
        self, *commands: Sequence[bytes | str | int], timeout_s: float = REQUEST_TIMEOUT_S
    ) -> list[Any]:
        """Return the answers or errors of several commands, all within one deadline."""
        if self.lost.done():
            raise SourceUnavailable(self.lost.result())
        pipeline = self._client.pipeline(transaction=False)
        for words in commands:
            pipeline.execute_command(*words)
        try:
            async with asyncio.timeout(timeout_s), self._turn:
                found = await pipeline.execute(raise_on_error=False)
        except TimeoutError as error:
            raise SourceUnavailable(f"{self.where}: no answer in {timeout_s:g} s") from error
        except (exceptions.RedisError, OSError) as error:
            self.abort(f"{self.where}: {error}")
            raise SourceUnavailable(f"{self.where}: {error}") from error
        self._heard_at = asyncio.get_running_loop().time()
        return [self._judged(each) for each in found]

    def _judged(self, answer: Any) -> Any:
        if isinstance(answer, ELSEWHERE):
            self.abort(f"{self.where}: {answer}")
        if isinstance(answer, exceptions.RedisError):
            return mapped(answer, self.where)
        return answer

    async def subscribe(self, *channels: str) -> None:
        """Return when the server has confirmed every channel; the first thing to do on a wire."""
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                await self._pushes.subscribe(*channels)
                self._tasks.append(asyncio.create_task(self._read(len(channels))))
                waits = asyncio.ensure_future(self._confirmed.wait())
                await asyncio.wait((waits, self.lost), return_when="FIRST_COMPLETED")
                waits.cancel()
        except TimeoutError as error:
            raise SourceUnavailable(f"{self.where}: subscriptions are not confirmed") from error
        except (exceptions.RedisError, OSError) as error:
            raise mapped(error, self.where) from error
        if not self._confirmed.is_set():
            raise self._refusal or SourceUnavailable(self.lost.result())

    async def _read(self, unconfirmed: int = 0) -> None:
        """Hand pushes to `on_push`, to the end."""
        try:
            async for push in self._pushes.listen():
                self._heard_at = asyncio.get_running_loop().time()
                if push["type"] == "message":
                    self._on_push(push["channel"], push["data"])
                elif push["type"] == "subscribe":
                    unconfirmed -= 1
                    if not unconfirmed:
                        self._confirmed.set()
            self.abort(f"{self.where}: connection lost")
        except (exceptions.RedisError, OSError) as error:
            self._refusal = mapped(error, self.where)
            self.abort(f"{self.where}: connection lost: {error}")
        except Exception as error:  # a reader that ended quietly would be a deaf subscriber
            self.abort(f"{self.where}: connection given up: {error!r}")
            raise

    async def _keep_pinging(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PING_INTERVAL_S)
            if loop.time() - self._heard_at > MAX_SILENCE_S:
                self.abort(f"{self.where}: silent for {MAX_SILENCE_S:g} s")
                return
            with contextlib.suppress(RescindError, exceptions.RedisError, OSError):
                if self._confirmed.is_set():
                    await self._pushes.ping()  # its own connection; `_read` hears the answer
                else:
                    await self.outcomes(("PING",), timeout_s=PING_INTERVAL_S)

    async def close(self) -> None:
        """End both connections and their tasks."""
        self.abort(f"{self.where}: closed")
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(Exception):
            await self._pushes.aclose()  # type: ignore[no-untyped-call]  # redis-py
        with contextlib.suppress(Exception):
            await self._client.aclose()


async def open_plain(
    place: Place, address: Address, *, connect_s: float, name: str, on_push: OnPush
) -> PlainWire:
    """Return a wire that is logged in; raises as `redis_connect.open_wire` does."""
    where = f"Redis at {address}"
    said: dict[str, Any] = {
        "username": place.user,
        "password": place.password,
        "db": place.db,
        "protocol": 3,
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": connect_s,
        "client_name": name.replace(" ", "-"),
        "driver_info": None,  # CLIENT SETINFO is a right the least users lack
    }
    if address.path:
        said["unix_socket_path"] = address.path
    else:
        said |= {"host": address.host, "port": address.port, "ssl": place.tls, **place.tls_files}
    known = inspect.signature(Redis.__init__).parameters
    wire: PlainWire | None = None
    try:
        client = Redis(**{name: value for name, value in said.items() if name in known})
        client.response_callbacks.clear()  # answers as the server gives them
        wire = PlainWire(client, where, on_push)
        await client.execute_command("PING")  # type: ignore[no-untyped-call]  # redis-py
    except (exceptions.RedisError, OSError, ValueError) as error:
        if wire is not None:
            await wire.close()
        raise mapped(error, where) from error
    return wire
