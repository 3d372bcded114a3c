"""A publisher's wire: raw signed events and heads through plain nats-py, on a loop of its own."""

import asyncio
import json
import threading
import time
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

import nats
from nats.aio.client import Client
from nats.errors import Error

from rescind.embedded import EmbeddedServer
from rescind_protocol import subjects
from rescind_publisher.stream import wanted
from tests.fakes.fabric import FABRIC, Log, head_of, sign_head
from tests.fakes.following import kills
from tests.fakes.waiting import WITHIN_S

BEAT_S = 0.05
UNACKED = 500
"""Publishes between two that are acked."""
T = TypeVar("T")


class Wire:
    """Writes one log. It kills `victim(1)`, `victim(2)`, ...: their number is the event's."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.log = Log()
        self._server = server
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._beating: asyncio.Task[None] | None = None
        self._client = Client()

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._open())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def kill(self, count: int = 1) -> int:
        """Store so many kills, the last one acked by the stream; return its number."""
        return self._run(self._kill(count))

    def hide(self) -> None:
        """Write a kill and send it nowhere: only heads tell of it."""
        self._run(self._write())

    def beat(self) -> None:
        """Say heads from now on."""
        self._run(self._start_beating())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(2 * WITHIN_S)

    async def _open(self) -> None:
        self._client = await nats.connect(
            self._server.url_for("publisher"),
            inbox_prefix="_INBOX_pub",
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.05,
            error_cb=_quietly,
        )
        make = f"$JS.API.STREAM.CREATE.{subjects.stream(FABRIC)}"
        reply = await self._client.request(make, json.dumps(wanted(FABRIC, 1)).encode())
        assert b'"error"' not in reply.data, reply.data

    async def _close(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
        await self._client.close()

    async def _write(self) -> None:
        kills(self.log, 1)

    async def _kill(self, count: int) -> int:
        subject = subjects.log(FABRIC, self.log.id)
        for number, raw in enumerate(kills(self.log, count), 1):
            if number % UNACKED and number < count:
                await self._client.publish(subject, raw)
            else:
                await self._store(subject, raw)
        return len(self.log.raws)

    async def _store(self, subject: str, raw: bytes) -> None:
        """Publish until the stream says that it has it: the server may be starting."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            try:
                reply = await self._client.request(subject, raw, timeout=1)
            except (Error, OSError):
                assert time.monotonic() < deadline, "the stream acks nothing"
            else:
                assert b'"seq"' in reply.data, reply.data
                return

    async def _start_beating(self) -> None:
        self._beating = asyncio.get_running_loop().create_task(self._keep_beating())

    async def _keep_beating(self) -> None:
        while True:
            head = sign_head(head_of(self.log, time_s=time.time()))
            if self._client.is_connected:
                await self._client.publish(subjects.head(FABRIC, "soc"), head)
            await asyncio.sleep(BEAT_S)


async def _quietly(_: Exception) -> None:
    """Say nothing of an outage that the test made."""
