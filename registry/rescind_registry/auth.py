"""Who asks: an API token with the scope that the route names; admin's where it names none."""

from functools import partial
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from rescind_registry.acts import Caller, note
from rescind_registry.errors import ScopeMissing, TokenInvalid
from rescind_registry.lanes import TOKENS
from rescind_registry.node import Node, node_of
from rescind_registry.tokens import Scope

PUBLIC: dict[str, Any] = {"public": True}
"""`opt` of a route that anybody may ask."""
KEY_HEADER = "X-Capiscio-Registry-Key"
_BEARER = "bearer "


def needs(scope: Scope) -> dict[str, Any]:
    """Return the `opt` of a route for tokens with this scope."""
    return {"scope": scope}


async def authorize(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """Let a request in, or raise `TokenInvalid`, `TooManyFailures`, `ScopeMissing`."""
    if handler.opt.get("public"):
        return
    scope = Scope(handler.opt.get("scope", Scope.ADMIN))
    said = connection.headers.get(KEY_HEADER) or _bearer(connection.headers.get("Authorization"))
    node, address = node_of(connection), address_of(connection)
    caller = await TOKENS.run(partial(check_token, node, address, said))
    try:
        caller.token.check(scope)
    except ScopeMissing:
        path = f"{connection.scope.get('method', '')} {connection.url.path}"[:256]
        await TOKENS.run(partial(note, node, caller, "refused", path))
        raise
    connection.scope["auth"] = caller


def check_token(node: Node, address: str, said: str | None) -> Caller:
    """Return who asks; blocks. Raises `TokenInvalid`, `TooManyFailures`."""
    now = node.clock.wall()
    try:
        return Caller(node.tokens.check(said or "", now), address)
    except TokenInvalid:
        node.failures.failed(address, now)
        raise


def _bearer(header: str | None) -> str | None:
    return header[len(_BEARER) :].strip() if header and header.lower().startswith(_BEARER) else None


def address_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """Return where a request comes from; no header can say otherwise."""
    return connection.client.host if connection.client else "unknown"


def caller_of(request: Request[Any, Any, Any]) -> Caller:
    """Return who asks, on a route that is not public."""
    caller: Caller = request.auth
    return caller
