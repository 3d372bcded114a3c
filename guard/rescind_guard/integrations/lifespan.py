"""An ASGI server's lifespan: what follows for a guard starts and ends with the application.

uvicorn ends a process by the signal it was sent, once the application has shut down: `atexit` does
not run then. The application's own shutdown comes first, and so does every call.
"""

import asyncio
import weakref
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_ENDED = ("lifespan.shutdown.complete", "lifespan.shutdown.failed")


class Life(Protocol):
    """What starts and stops with an application; both may be called again."""

    def start(self) -> object:
        """Start, if it does not run."""

    def stop(self) -> None:
        """Stop."""


_lives: "weakref.WeakKeyDictionary[Any, Life]" = weakref.WeakKeyDictionary()


def bind(guard: object, life: Life) -> None:
    """Have something start and stop with the applications that a guard is in front of."""
    _lives[guard] = life


async def started(guard: object) -> None:
    """Start what is bound to a guard, where it does not run."""
    if (life := _lives.get(guard)) is not None:
        await asyncio.to_thread(life.start)


async def stopped(guard: object) -> None:
    """Stop what is bound to a guard: its application has shut down."""
    if (life := _lives.get(guard)) is not None:
        await asyncio.to_thread(life.stop)


async def run(
    app: App, scope: MutableMapping[str, Any], receive: Receive, send: Send, *, guard: object
) -> None:
    """Run an application's lifespan, and with it what is bound to its guard."""
    asked = False

    async def received() -> Message:
        nonlocal asked
        message = await receive()
        if message["type"] == "lifespan.startup":
            asked = True
            await started(guard)
        return message

    async def sent(message: Message) -> None:
        if message["type"] in _ENDED:
            await stopped(guard)
        await send(message)

    try:
        await app(scope, received, sent)
    except Exception:
        if asked:
            raise
        await _alone(receive, send, guard)  # it knows no lifespan (ASGI, "Lifespan Protocol")


async def _alone(receive: Receive, send: Send, guard: object) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await started(guard)
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await stopped(guard)
            await send({"type": "lifespan.shutdown.complete"})
            return
