"""The keys that sign badges, and those that sign kills, as JWK Sets (RFC 7517)."""

import msgspec
from litestar import Response, get

from rescind_registry.auth import PUBLIC
from rescind_registry.lanes import STRANGERS
from rescind_registry.node import node_of
from rescind_registry.routes.agents import Asked
from rescind_registry.routes.answering import in_thread, refusals

MAX_AGE_S = 300
"""Half of the time for which a new key is published before it signs."""


class Jwks(msgspec.Struct, frozen=True):
    """A JWK Set."""

    keys: list[dict[str, str]]


@get("/.well-known/jwks.json", opt=PUBLIC, responses=refusals(public=True))
@in_thread(STRANGERS)
def jwks(request: Asked) -> Response[Jwks]:
    """Return every key that signed, signs or will sign."""
    headers = {"Cache-Control": f"public, max-age={MAX_AGE_S}"}
    return Response(Jwks(node_of(request).keyring.jwks()), headers=headers)


@get("/.well-known/publishers.jwks.json", opt=PUBLIC, responses=refusals(public=True))
@in_thread(STRANGERS)
def publishers(request: Asked) -> Response[Jwks]:
    """Return the keys whose signed kills count in this fabric, by the trust in use."""
    headers = {"Cache-Control": f"public, max-age={MAX_AGE_S}"}
    return Response(Jwks(node_of(request).followed.trust.jwks()), headers=headers)


ROUTES = [jwks, publishers]
