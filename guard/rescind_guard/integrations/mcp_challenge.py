"""The HTTP answer to an MCP message whose bearer is missing or invalid: 401 and a challenge.

MCP 2026-07-28 (Authorization, Token Handling and Error Handling) demands 401 for a token that is
missing or invalid, as OAuth 2.1 §5.3 and RFC 6750 §3.1 do; there a revoked token is invalid too.
The body is the same JSON-RPC error that any other refusal is. The official client reads an error
from a body of JSON whatever the status, so the code and its `data` reach the agent; a 401 with
another body, or none, would reach it as an error without a reason.

- It holds for `Authorization: Bearer`, and where no badge came in any place. A badge in
  `X-Capiscio-Badge` or `_meta` is no bearer token: a challenge would have an OAuth client throw its
  own good token away. Nor is it for `bearer="foreign"`, where the bearer is somebody else's.
- "Cannot tell" and policy stay JSON-RPC errors in HTTP 200: another token would not help.
- The message itself decides, never `Mcp-Method` or `Mcp-Name`. These headers only repeat the body,
  a server before protocol 2026-07-28 does not compare them, and no decision here reads them.

A server that answers with an event stream begins its answer before it looks at the message. So
`Held` keeps the beginning back until the guard has admitted the message, and not longer.
"""

from typing import Any

import anyio
import msgspec

from rescind_guard.codes import Code
from rescind_guard.integrations import http
from rescind_guard.integrations.asgi import App, Message, Receive, Scope, Send

SCOPE_KEY = "rescind.held"
MAX_HELD = 2
"""Messages of an answer: its beginning and the event that tells a client where to resume."""
_REPLACED = (b"content-type", b"content-length", b"cache-control", b"www-authenticate")
_START, _BODY = "http.response.start", "http.response.body"


class Held:
    """The answer to one POST: kept back until the guard has decided, or the server insists."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._kept: list[Message] | None = []
        """None once the answer may leave."""
        self._challenge: tuple[str, bytes] | None = None
        """The value of `WWW-Authenticate` and the body, once refused."""
        self._lock = anyio.Lock()

    async def send(self, message: Message) -> None:
        """Take what the server sends."""
        async with self._lock:
            if self._kept is None:
                await self._pass(message)
                return
            self._kept.append(message)
            ends = message["type"] == _BODY and not message.get("more_body")
            if ends or len(self._kept) > MAX_HELD:
                await self._flush()

    async def release(self) -> None:
        """Let the answer leave: the message is admitted, or is refused in the answer itself."""
        async with self._lock:
            await self._flush()

    async def challenge(self, request_id: Any, code: Code, error: Any) -> None:
        """Have the answer be 401 with this JSON-RPC error, unless it has begun to leave."""
        async with self._lock:
            if self._kept is not None:
                said = {"code": error.code, "message": error.message, "data": error.data}
                body = msgspec.json.encode({"jsonrpc": "2.0", "id": request_id, "error": said})
                self._challenge = (http.challenge(code), body)
            await self._flush()

    async def _flush(self) -> None:
        kept, self._kept = self._kept or [], None
        for message in kept:
            await self._pass(message)

    async def _pass(self, message: Message) -> None:
        if self._challenge is None:
            await self._send(message)
        elif message["type"] == _START:
            # The server's other headers stay: a browser's client needs those of CORS.
            scheme, body = self._challenge
            others = [each for each in message.get("headers", ()) if each[0] not in _REPLACED]
            ours = {
                "content-type": "application/json",
                "content-length": str(len(body)),
                "cache-control": "no-store",
                "www-authenticate": scheme,
            }
            raw = [(name.encode(), value.encode()) for name, value in ours.items()]
            headers = [*others, *raw]
            await self._send({"type": _START, "status": http.UNAUTHORIZED, "headers": headers})
            await self._send({"type": _BODY, "body": body})


def holding(app: App) -> App:
    """Return `app`, each of whose answers the guard's middleware may hold and replace."""

    async def held(scope: Scope, receive: Receive, send: Send) -> None:
        answer = Held(send)
        await app({**scope, SCOPE_KEY: answer}, receive, answer.send)

    return held


def held_by(request: Any) -> Held | None:
    """Return the answer to the request that a message came with, None over stdio."""
    scope = getattr(request, "scope", None) or {}
    held = scope.get(SCOPE_KEY)
    return held if isinstance(held, Held) else None
