"""A thin strict reader and writer of compact JWS (RFC 7515) with EdDSA (RFC 8037, RFC 9864).

Reading and verifying are two steps, so that a caller can look a key up in between; nothing of the
payload is decoded before the signature was checked.
"""

from functools import lru_cache

import msgspec

from rescind_protocol.encoding import b64url_decode, b64url_encode, check_json, to_type
from rescind_protocol.errors import Malformed, TooLarge
from rescind_protocol.keys import SIGNATURE_BYTES, SigningKey, verifies

ALGORITHMS = ("EdDSA", "Ed25519")
"""RFC 8037 §3.1 and its RFC 9864 name; both mean Ed25519 here."""
_DOT = b"."
_PARTS = 3
_MAX_HEADER_CHARS = 1024


class Header(msgspec.Struct, frozen=True, gc=False):
    """The protected header; members that we do not act on are ignored (RFC 7515 §4)."""

    alg: str
    typ: str | None = None
    kid: str | None = None


class Jws(msgspec.Struct, frozen=True, gc=False):
    """A compact JWS taken apart; `payload` is decoded, and not to be trusted before `verify`."""

    header: Header
    payload: bytes
    signing_input: bytes
    signature: bytes


@lru_cache(maxsize=1024)
def _read_header(segment: bytes) -> Header:
    """Decode a header segment; issuers send the same few over and over, so results are kept."""
    members = check_json(b64url_decode(segment))
    if not isinstance(members, dict):
        raise Malformed("JWS header is not an object")
    if "crit" in members:
        # RFC 7515 §4.1.11: an extension marked critical and not understood must be refused.
        raise Malformed("JWS header has a critical extension")
    if members.get("b64", True) is not True:
        # RFC 7797 §6: such a payload is not base64url, and `crit` must have said so.
        raise Malformed("JWS header has an unencoded payload")
    if members.get("typ", "") is None or members.get("kid", "") is None:
        raise Malformed("JWS header member without a value")  # strings: RFC 7515 §4.1.4, §4.1.9
    return to_type(members, Header)


def read(
    raw: bytes,
    *,
    limit: int,
    algorithms: tuple[str, ...] = ALGORITHMS,
    signature_bytes: int | None = SIGNATURE_BYTES,
) -> Jws:
    """Take a compact JWS of at most `limit` bytes apart; raise `TooLarge` or `Malformed`.

    Badges and events may be signed by algorithms whose signatures have 64 bytes; None: any length.
    """
    if len(raw) > limit:
        raise TooLarge(f"JWS of {len(raw)} bytes, limit {limit}")
    parts = raw.split(_DOT)
    if len(parts) != _PARTS or len(parts[0]) > _MAX_HEADER_CHARS:
        raise Malformed("not a compact JWS")
    signature = b64url_decode(parts[2])
    if signature_bytes is not None and len(signature) != signature_bytes:
        raise Malformed(f"a signature has {signature_bytes} bytes")
    header = _read_header(parts[0])
    if header.alg not in algorithms:
        raise Malformed(f"JWS alg {header.alg[:20]!r} is none of {', '.join(algorithms)}")
    return Jws(
        header,
        b64url_decode(parts[1]),
        raw[: len(parts[0]) + 1 + len(parts[1])],
        signature,
    )


def verify(token: Jws, public: bytes) -> bool:
    """Whether the signature is by the Ed25519 key `public`."""
    return verifies(token.signature, token.signing_input, public)


@lru_cache(maxsize=64)
def _header(typ: str, kid: str) -> str:
    return b64url_encode(msgspec.json.encode({"alg": "EdDSA", "typ": typ, "kid": kid}))


def sign(payload: bytes, *, typ: str, key: SigningKey, kid: str | None = None) -> bytes:
    """Return `payload` as compact JWS, `alg` EdDSA, `kid` the key's thumbprint unless given."""
    signing_input = f"{_header(typ, kid or key.kid)}.{b64url_encode(payload)}".encode("ascii")
    return signing_input + b"." + b64url_encode(key.sign(signing_input)).encode("ascii")
