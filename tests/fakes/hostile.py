"""An HTTP server that says what a test tells it to, well or ill, and counts who came."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
PLAIN = STREAM + b"\r\n"
"""An answer that ends with its connection."""

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
"""Takes the request's head and writes whatever it likes."""


class Hostile:
    """A server whose answer can be changed at any time."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[bytes] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        """Its origin."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.asked.append(head)
            await self.answer(head, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.tasks.discard(task)
            writer.transport.abort()


def saying(*parts: bytes) -> Answer:
    """Return an answer that writes these and ends."""

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()

    return answer


def endless(start: bytes, part: bytes, *, pause_s: float = 0.0) -> Answer:
    """Return an answer that never ends by itself."""

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return answer


def silent(start: bytes) -> Answer:
    """Return an answer that begins and goes quiet."""

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        await asyncio.Event().wait()

    return answer


@asynccontextmanager
async def hostile(answer: Answer) -> AsyncIterator[Hostile]:
    """Give a running one."""
    said = Hostile(answer)
    server = await asyncio.start_server(said.serve, "127.0.0.1", 0, limit=1024 * 1024)
    said.port = server.sockets[0].getsockname()[1]
    try:
        yield said
    finally:
        server.close()
        for task in said.tasks:
            task.cancel()
        await asyncio.gather(*said.tasks)
