"""`.signatures.json`: a JWT over the SHA-256 of each file of a bundle, verified as an OPA does it.

One signature, RS256 or ES256, by one of the keys that were given; which algorithm, the key says and
not the token (RFC 8725 §3.1). Every file but the signature is named in it, and no file is named
that is not there. JSON is hashed by its value (`exact_json`), all else by its bytes (OPA, bundle
signing).

`iat` is not OPA's: who signs with it can be held to an order, in which an older bundle is no news.
"""

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from rescind_protocol import es256, jws
from rescind_protocol.bundles import SIGNATURES
from rescind_protocol.encoding import check_json, to_type
from rescind_protocol.errors import Malformed, Untrusted
from rescind_protocol.exact_json import canonical, loads

RS256 = "RS256"
MIN_RSA_BITS = 2048
"""RFC 7518 §3.3."""
MAX_KEYS = 8
"""One that signs, one that will, and some room."""
MAX_SIGNATURE_BYTES = 512 * 1024
"""For 1024 files of long names."""
MAX_SHOWN_CHARS = 40
"""Of a scope that somebody else wrote, in a sentence."""
STRUCTURED = ("data.json", ".manifest")
_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----[^-]*-----END PUBLIC KEY-----")
_SHA256 = "SHA-256"

PublicKey = rsa.RSAPublicKey | bytes
"""An RSA key, or a point of P-256."""


class OtherScope(Untrusted):
    """The signature holds, for another use than was asked for."""

    def __init__(self, sentence: str, given: str) -> None:
        super().__init__(sentence)
        self.given = given
        """What it is signed for, as it can be shown."""


class _File(msgspec.Struct, frozen=True):
    name: str
    hash: str
    algorithm: str


class Statement(msgspec.Struct, frozen=True):
    """What a signature says beside the files."""

    files: tuple[_File, ...]
    scope: str = ""
    iat: int | None = None
    """When it was signed, unix seconds; None: it is not said."""


def read_keys(pem: bytes) -> tuple[PublicKey, ...]:
    """Return the public keys in PEM, RSA or P-256; raises `Malformed`."""
    blocks = _PEM.findall(pem)
    if not 0 < len(blocks) <= MAX_KEYS:
        raise Malformed(f"it holds {len(blocks)} public keys in PEM; 1 to {MAX_KEYS} are wanted")
    return tuple(map(_read_key, blocks))


def _read_key(block: bytes) -> PublicKey:
    try:
        key = serialization.load_pem_public_key(block)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Malformed("a block in it is no public key") from error
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        point = serialization.PublicFormat.UncompressedPoint
        return key.public_bytes(serialization.Encoding.X962, point)
    raise Malformed(
        f"a key in it is neither RSA of {MIN_RSA_BITS} bits or more (RS256) nor P-256 (ES256)"
    )


def verify(members: Mapping[str, bytes], keys: Sequence[PublicKey], *, scope: str) -> Statement:
    """Return what was signed about these files; raises `Untrusted`, `Malformed`."""
    token = read(members)
    if not any(_verifies(token, key) for key in keys):
        raise Untrusted("the bundle's signature does not verify by a key that is given")
    claims = check_json(token.payload)
    if isinstance(claims, dict) and claims.keys() & {"exp", "nbf"}:
        raise Malformed("the bundle's signature has an end or a beginning, which is not kept here")
    said = to_type(claims, Statement)
    if said.scope != scope:
        given = repr(said.scope[:MAX_SHOWN_CHARS])
        raise OtherScope(
            f"the bundle is signed for {f'the scope {given}' if said.scope else 'no scope'}, not "
            f"{repr(scope) if scope else 'for none'}",
            given,
        )
    _check_files(members, said)
    return said


def read(members: Mapping[str, bytes]) -> jws.Jws:
    """Return the one signature of a bundle, unverified; raises `Untrusted`, `Malformed`."""
    return jws.read(
        _token(members),
        limit=MAX_SIGNATURE_BYTES,
        algorithms=(RS256, es256.ALGORITHM),
        signature_bytes=None,
    )


def _token(members: Mapping[str, bytes]) -> bytes:
    """Return the one JWT, as OPA wants it."""
    raw = members.get(SIGNATURES)
    if raw is None:
        raise Untrusted(f"the bundle is not signed: there is no {SIGNATURES} in it")
    found = check_json(raw)
    tokens = found.get("signatures") if isinstance(found, dict) else None
    if not isinstance(tokens, list) or len(tokens) != 1 or not isinstance(tokens[0], str):
        raise Untrusted("the bundle is not signed: it needs exactly one signature")
    return tokens[0].encode("ascii", "replace")


def _verifies(token: jws.Jws, key: PublicKey) -> bool:
    if isinstance(key, bytes):
        is_es256 = token.header.alg == es256.ALGORITHM
        whole = len(token.signature) == 2 * es256.COORDINATE_BYTES
        return is_es256 and whole and es256.verifies(token.signature, token.signing_input, key)
    if token.header.alg != RS256:
        return False
    try:
        key.verify(token.signature, token.signing_input, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def _check_files(members: Mapping[str, bytes], said: Statement) -> None:
    signed = {each.name.strip("/"): each for each in said.files}
    found = members.keys() - {SIGNATURES}
    if found != signed.keys() or len(signed) != len(said.files):
        raise Untrusted("the bundle has other files than those that were signed")
    for name in sorted(found):
        if signed[name].algorithm != _SHA256:
            raise Untrusted(f"{name[:80]} is signed by another hash than {_SHA256}")
        if signed[name].hash != digest_of(name, members[name]):
            raise Untrusted(f"{name[:80]} is not what was signed")


def digest_of(name: str, raw: bytes) -> str:
    """Hash a file as OPA does: JSON by its value, with its numbers as written.

    Raises `Malformed`, which names the file.
    """
    if name.rpartition("/")[2] not in STRUCTURED:
        return sha256(raw).hexdigest()
    try:
        return sha256(canonical(loads(raw))).hexdigest()
    except Malformed as error:
        raise Malformed(f"{name[:80]}: {error}") from error
