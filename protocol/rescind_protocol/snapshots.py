"""A snapshot: the whole state as a signed image.

One line of compact JWS (`typ: rescind-snapshot+jwt`) that names size and SHA-256 of the body, a
line feed, then the body: msgpack. One signature, however many revocations.
"""

from hashlib import sha256

import msgspec

from rescind_protocol import jws
from rescind_protocol.encoding import b64url_encode, check_json, to_type
from rescind_protocol.errors import Malformed, TooLarge, Unreadable, Untrusted
from rescind_protocol.image import Image
from rescind_protocol.keys import SigningKey
from rescind_protocol.limits import MAX_HEAD_BYTES, MAX_SNAPSHOT_BYTES
from rescind_protocol.trust import Trust

TYP = "rescind-snapshot+jwt"
VERSION = 1
_image = msgspec.msgpack.Decoder(Image)


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the signature covers."""

    iss: str
    aud: str
    ver: int
    iat: int
    trust: int
    size: int
    sha256: str


def encode(image: Image) -> bytes:
    """Return an image's bytes; decode them with `decode`."""
    return msgspec.msgpack.encode(image)


def decode(body: bytes) -> Image:
    """Return the image, or raise `Malformed`."""
    try:
        return _image.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Malformed(f"snapshot cannot be read: {error}") from error


def make(
    image: Image, *, key: SigningKey, publisher: str, fabric: str, trust: int, at: int
) -> bytes:
    """Return a signed snapshot, or raise `TooLarge`."""
    body = encode(image)
    if len(body) > MAX_SNAPSHOT_BYTES:
        raise TooLarge(f"snapshot of {len(body)} bytes, limit {MAX_SNAPSHOT_BYTES}")
    digest = b64url_encode(sha256(body).digest())
    statement = Statement(publisher, fabric, VERSION, at, trust, len(body), digest)
    return jws.sign(msgspec.json.encode(statement), typ=TYP, key=key) + b"\n" + body


def authenticate(raw: bytes, trust: Trust) -> Image:
    """Verify a snapshot; raises `Malformed`, `TooLarge`, `Untrusted` or `Unreadable`."""
    if len(raw) > MAX_SNAPSHOT_BYTES + MAX_HEAD_BYTES:
        raise TooLarge(f"snapshot of {len(raw)} bytes")
    line, _, body = raw.partition(b"\n")
    token = jws.read(line, limit=MAX_HEAD_BYTES)
    if token.header.typ != TYP:
        raise Malformed(f"not a snapshot: typ {str(token.header.typ)[:40]!r}")
    signer = trust.signer(token.header.kid)
    if not signer.rights.snapshot:
        raise Untrusted(f"key of {signer.publisher!r} has no right to sign snapshots")
    if not jws.verify(token, signer.public):
        raise Untrusted("snapshot signature does not verify")
    claims = check_json(token.payload)
    if not isinstance(claims, dict) or claims.get("aud") != trust.fabric:
        raise Untrusted("snapshot is for another fabric")
    if claims.get("ver") != VERSION:
        raise Unreadable("snapshot has a newer version than this program can read")
    statement = to_type(claims, Statement)
    if statement.size != len(body) or statement.sha256 != b64url_encode(sha256(body).digest()):
        raise Malformed("snapshot body is not the one that was signed")
    return decode(body)
