"""ECDSA over P-256 with SHA-256: to *verify* badges of issuers that have no Ed25519 key.

Nothing of ours is signed with it (RFC 7518 §3.4, §6.2.1). OpenSSL verifies. A signature has a twin
(s and n - s) that verifies as well, which RFC 7518 allows: a badge is known by its `jti`, not by
its bytes.
"""

from functools import lru_cache
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rescind_protocol.encoding import b64url_decode, b64url_encode
from rescind_protocol.errors import Malformed

ALGORITHM = "ES256"
COORDINATE_BYTES = 32
_UNCOMPRESSED = b"\x04"
_SHA256 = ec.ECDSA(hashes.SHA256())


def is_ours(jwk: Any) -> bool:
    """Whether a JWK is of this kind."""
    return isinstance(jwk, dict) and jwk.get("kty") == "EC" and jwk.get("crv") == "P-256"


def public_from_jwk(jwk: Any) -> bytes:
    """Return the uncompressed point (65 bytes) of an EC/P-256 JWK, else raise `Malformed`."""
    if not is_ours(jwk):
        raise Malformed("JWK is not a P-256 key")
    public = _UNCOMPRESSED + _coordinate(jwk, "x") + _coordinate(jwk, "y")
    _load(public)
    return public


def public_from_compressed(raw: bytes) -> bytes:
    """Return the uncompressed point of a compressed one (SEC 1 §2.3.4), else raise `Malformed`."""
    found = _load(raw)
    return found.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _coordinate(jwk: dict[str, Any], name: str) -> bytes:
    text = jwk.get(name)
    if not isinstance(text, str) or not text.isascii():
        raise Malformed(f"JWK has no member {name}")
    raw = b64url_decode(text.encode("ascii"))
    if len(raw) != COORDINATE_BYTES:
        raise Malformed(f"a P-256 coordinate has {COORDINATE_BYTES} bytes")
    return raw


@lru_cache(maxsize=1024)
def _load(public: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Malformed("no point of P-256") from error


def thumbprint(public: bytes) -> str:
    """Return the RFC 7638 thumbprint of an uncompressed point (members: §3.2)."""
    x, y = public[1 : 1 + COORDINATE_BYTES], public[1 + COORDINATE_BYTES :]
    canonical = b'{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}' % (
        b64url_encode(x).encode(),
        b64url_encode(y).encode(),
    )
    return b64url_encode(sha256(canonical).digest())


def verifies(signature: bytes, message: bytes, public: bytes) -> bool:
    """Whether `signature` (r and s, 32 bytes each) over `message` is by the point `public`."""
    r = int.from_bytes(signature[:COORDINATE_BYTES], "big")
    s = int.from_bytes(signature[COORDINATE_BYTES:], "big")
    try:
        _load(public).verify(encode_dss_signature(r, s), message, _SHA256)
    except (InvalidSignature, Malformed, ValueError):
        return False
    return True
