"""A snapshot: the whole state as a signed image.

A statement, one compact JWS (`typ: rescind-snapshot+jwt`), names size and SHA-256 of the body and
of each part that a broker carries it in. One signature, however many revocations. As one file it is
the statement, a line feed, the body.

The body is frames of msgpack: first all that is small, then the revocations in pieces, for at a
million of them one piece would stop every reader of the process for a second.

The cursor says where the writer stood in the very store that the snapshot lies in: everything up to
there is part of the state, and a reader that finds the same bytes there reads on from it.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import islice
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from rescind_protocol import jws
from rescind_protocol.changes import Revocation, Seconds
from rescind_protocol.encoding import b64url_encode, check_json, to_type
from rescind_protocol.errors import Malformed, TooLarge, Unreadable, Untrusted
from rescind_protocol.image import Floor, Image
from rescind_protocol.keys import SigningKey
from rescind_protocol.limits import (
    MAX_CURSOR_CHARS,
    MAX_MANIFEST_BYTES,
    MAX_SNAPSHOT_BYTES,
    MAX_SNAPSHOT_PARTS,
    SNAPSHOT_PART_BYTES,
)
from rescind_protocol.trust import Trust

TYP = "rescind-snapshot+jwt"
VERSION = 1
PIECE = 512
"""Revocations in a frame: under a millisecond of encoding."""
_SIZE_BYTES = 4

T = TypeVar("T")
Digest = Annotated[str, Meta(min_length=43, max_length=43)]


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A position in one store, proven by the SHA-256 of the bytes there."""

    position: Annotated[str, Meta(min_length=1, max_length=MAX_CURSOR_CHARS)]
    sha256: Digest


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the signature covers."""

    iss: str
    aud: str
    ver: int
    iat: Seconds
    trust: int
    """Version of the trust file by which the writer has read what it has read."""
    size: Annotated[int, Meta(ge=0, le=MAX_SNAPSHOT_BYTES)]
    sha256: Digest
    parts: Annotated[tuple[Digest, ...], Meta(max_length=MAX_SNAPSHOT_PARTS)] = ()
    """SHA-256 of each part, in order; none where the body travels whole."""
    cursor: Place | None = None


class _Piece(msgspec.Struct, frozen=True, array_like=True):
    revocations: tuple[Revocation, ...] = ()
    floors: tuple[Floor, ...] = ()


_image = msgspec.msgpack.Decoder(Image)
_piece = msgspec.msgpack.Decoder(_Piece)


# --- the body ---


def encode(image: Image) -> bytes:
    """Return an image's bytes; decode them with `decode`."""
    return b"".join(map(frame, _frames(image)))


def _frames(image: Image) -> Iterator[bytes]:
    yield msgspec.msgpack.encode(msgspec.structs.replace(image, revocations=(), floors=()))
    for some in _batches(image.revocations):
        yield msgspec.msgpack.encode(_Piece(revocations=some))
    for few in _batches(image.floors):
        yield msgspec.msgpack.encode(_Piece(floors=few))


def _batches(items: Iterable[T]) -> Iterator[tuple[T, ...]]:
    rest = iter(items)
    while some := tuple(islice(rest, PIECE)):
        yield some


def decode(body: bytes) -> Image:
    """Return the image, or raise `Malformed`."""
    frames = split(body)
    try:
        first = next(frames, None)
        if first is None:
            raise Malformed("snapshot is empty")
        image = _image.decode(first)
        pieces = [_piece.decode(each) for each in frames]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Malformed(f"snapshot cannot be read: {error}") from error
    return msgspec.structs.replace(
        image,
        revocations=image.revocations + tuple(r for piece in pieces for r in piece.revocations),
        floors=image.floors + tuple(f for piece in pieces for f in piece.floors),
    )


def frame(part: bytes) -> bytes:
    """Return `part` with its length in front; `split` takes frames apart again."""
    return len(part).to_bytes(_SIZE_BYTES, "big") + part


def split(body: bytes) -> Iterator[memoryview]:
    """Yield the parts of framed bytes; raises `Malformed` where they are cut."""
    view, at = memoryview(body), 0
    while at < len(body):
        end = at + _SIZE_BYTES + int.from_bytes(view[at : at + _SIZE_BYTES], "big")
        if end > len(body) or at + _SIZE_BYTES > len(body):
            raise Malformed("a frame is cut off")
        yield view[at + _SIZE_BYTES : end]
        at = end


# --- signing ---


class Body(msgspec.Struct, frozen=True):
    """An encoded image as brokers carry it; every store gets a statement of its own over it."""

    parts: tuple[bytes, ...]
    digests: tuple[str, ...]
    size: int
    sha256: str


def body_of(image: Image) -> Body:
    """Encode an image; raises `TooLarge`."""
    raw = encode(image)
    if len(raw) > MAX_SNAPSHOT_BYTES:
        raise TooLarge(f"snapshot of {len(raw)} bytes, limit {MAX_SNAPSHOT_BYTES}")
    starts = range(0, len(raw), SNAPSHOT_PART_BYTES)
    parts = tuple(raw[at : at + SNAPSHOT_PART_BYTES] for at in starts)
    return Body(parts, tuple(map(_digest, parts)), len(raw), _digest(raw))


def sign(
    body: Body,
    *,
    key: SigningKey,
    publisher: str,
    fabric: str,
    trust: int,
    at: int,
    cursor: Place | None = None,
) -> bytes:
    """Return the signed statement, a broker's manifest; `at` in unix seconds.

    A cursor that is too long is left out: the reader then reads all that the store has.
    """
    if cursor is not None and len(cursor.position) > MAX_CURSOR_CHARS:
        cursor = None
    statement = Statement(
        publisher, fabric, VERSION, at, trust, body.size, body.sha256, body.digests, cursor
    )
    return jws.sign(msgspec.json.encode(statement), typ=TYP, key=key)


def make(
    image: Image, *, key: SigningKey, publisher: str, fabric: str, trust: int, at: int
) -> bytes:
    """Return a signed snapshot as one file, or raise `TooLarge`."""
    body = body_of(image)
    line = sign(body, key=key, publisher=publisher, fabric=fabric, trust=trust, at=at)
    return line + b"\n" + b"".join(body.parts)


# --- reading ---


def authenticate(raw: bytes, trust: Trust) -> Image:
    """Verify a snapshot; raises `Malformed`, `TooLarge`, `Untrusted` or `Unreadable`."""
    if len(raw) > MAX_SNAPSHOT_BYTES + MAX_MANIFEST_BYTES:
        raise TooLarge(f"snapshot of {len(raw)} bytes")
    line, _, body = raw.partition(b"\n")
    return _open(read_statement(line, trust), body)


def read_statement(raw: bytes, trust: Trust) -> Statement:
    """Verify a statement; raises `Malformed`, `Untrusted` or `Unreadable`."""
    token = jws.read(raw, limit=MAX_MANIFEST_BYTES)
    if token.header.typ != TYP:
        raise Malformed(f"not a snapshot: typ {str(token.header.typ)[:40]!r}")
    signer = trust.speaker(token.header.kid)
    if not signer.rights.snapshot:
        raise Untrusted(f"key of {signer.publisher!r} has no right to sign snapshots")
    if not jws.verify(token, signer.public):
        raise Untrusted("snapshot signature does not verify")
    claims = check_json(token.payload)
    if not isinstance(claims, dict) or claims.get("aud") != trust.fabric:
        raise Untrusted("snapshot is for another fabric")
    if claims.get("ver") != VERSION:
        raise Unreadable("snapshot has a newer version than this program can read")
    return to_type(claims, Statement)


def assemble(statement: Statement, parts: Iterable[bytes]) -> Image:
    """Put a body together from parts in any order, with others among them; raises `Malformed`."""
    wanted = set(statement.parts)
    found = {digest: part for part in parts if (digest := _digest(part)) in wanted}
    if len(found) < len(wanted):
        raise Malformed(f"{len(wanted) - len(found)} of {len(wanted)} parts are missing or damaged")
    return _open(statement, b"".join(found[digest] for digest in statement.parts))


def _open(statement: Statement, body: bytes) -> Image:
    if statement.size != len(body) or statement.sha256 != _digest(body):
        raise Malformed("snapshot body is not the one that was signed")
    return decode(body)


def _digest(raw: bytes) -> str:
    return b64url_encode(sha256(raw).digest())
