"""Public keys of the kinds that badges know: Ed25519, and P-256 for ES256."""

from typing import Any

from rescind_protocol import es256, keys
from rescind_protocol.errors import Malformed
from rescind_protocol.jws import ALGORITHMS, Jws, verify

BADGE_ALGORITHMS = (*ALGORITHMS, es256.ALGORITHM)
"""What a badge may be signed with (RFC-002 §4.2)."""
PRIVATE = frozenset({"d", "k", "p", "q", "dp", "dq", "qi", "oth"})
"""Members of private and of shared keys, whatever their kind (RFC 7518 §6)."""


def is_ours(jwk: dict[str, Any]) -> bool:
    """Whether a badge may be verified with this key (RFC 7517 §4.2 to §4.4)."""
    algorithms = _algorithms(jwk)
    operations = jwk.get("key_ops", ["verify"])
    return (
        jwk.get("alg", *algorithms[:1]) in algorithms
        and jwk.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
    )


def is_candidate(jwk: dict[str, Any]) -> bool:
    """Whether a key set's entry is to be read: for badges, or private, which is to be reported."""
    return is_ours(jwk) or not PRIVATE.isdisjoint(jwk)


def _algorithms(jwk: dict[str, Any]) -> tuple[str, ...]:
    """A key is of one kind, and a kind has its algorithms (RFC 8725 §3.1)."""
    if es256.is_ours(jwk):
        return (es256.ALGORITHM,)
    return ALGORITHMS if jwk.get("kty") == "OKP" and jwk.get("crv") == "Ed25519" else ()


def read_public(jwk: dict[str, Any]) -> bytes:
    """Return the raw public key of a JWK, else raise `Malformed`; a private key is not one."""
    if not PRIVATE.isdisjoint(jwk):
        raise Malformed("it holds a private key; publish the public part only")
    is_ec = jwk.get("kty") == "EC"
    return es256.public_from_jwk(jwk) if is_ec else keys.public_from_jwk(jwk)


def thumbprint(public: bytes) -> str:
    """Return the RFC 7638 thumbprint of a raw public key; its length tells its kind."""
    is_ed25519 = len(public) == keys.PUBLIC_BYTES
    return keys.thumbprint(public) if is_ed25519 else es256.thumbprint(public)


def verifies(token: Jws, public: bytes) -> bool:
    """Whether the token is by this key, and by an algorithm of the key's kind."""
    if len(public) == keys.PUBLIC_BYTES:
        return token.header.alg != es256.ALGORITHM and verify(token, public)
    return token.header.alg == es256.ALGORITHM and es256.verifies(
        token.signature, token.signing_input, public
    )
