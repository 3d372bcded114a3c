"""HEAD of every route that has GET: the same answer by the same handler, without the body.

Probes and monitors send it (RFC 9110 §9.3.2). Litestar has a handler for each method, and a HEAD
that was forgotten would be answered 405.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]

_HEAD = "HEAD"


class Bodiless:
    """ASGI middleware in front of the routes."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Ask the handler of GET, and keep back what follows the headers."""
        if scope["type"] != "http" or scope["method"] != _HEAD:
            await self.app(scope, receive, send)
            return

        async def headers_only(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                # Here, for the handler of an endless feed has no last part; it is told that the
                # client went away.
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self.app({**scope, "method": "GET"}, receive, headers_only)
