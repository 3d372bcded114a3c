"""Strict base64url and JSON: one spelling for each value, or `Malformed`.

Two spellings of one token would be two cache keys, two digests and, somewhere, two opinions.
"""

import json
from binascii import b2a_base64
from typing import Any, TypeVar

import msgspec

from rescind_protocol.errors import Malformed

T = TypeVar("T")

_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_TO_URL = bytes.maketrans(b"+/", b"-_")
_PADDING = (b"", b"===", b"==", b"=")
_text_of = msgspec.json.Encoder()
_bytes_of = msgspec.json.Decoder(bytes)


def b64url_encode(raw: bytes) -> str:
    """Return unpadded base64url (RFC 7515 §2)."""
    return b2a_base64(raw, newline=False).translate(_TO_URL).rstrip(b"=").decode("ascii")


def b64url_decode(text: bytes) -> bytes:
    """Return the bytes of canonical unpadded base64url, else raise `Malformed`.

    Encoding the result again must give the same text: this one comparison refuses padding, white
    space, the standard alphabet and stray trailing bits (RFC 4648 §3.5). msgspec writes bytes as
    base64 in a JSON string, and reads it in less than half of the time that binascii takes.
    """
    try:
        raw = _bytes_of.decode(b'"%b%b"' % (text.translate(_TO_STANDARD), _PADDING[len(text) & 3]))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Malformed("not base64url") from error
    if _text_of.encode(raw).translate(_TO_URL).rstrip(b'="')[1:] != text:
        raise Malformed("base64url is not canonical")
    return raw


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Malformed("JSON object with a duplicate key")
    return members


def check_json(raw: bytes) -> Any:
    """Return the decoded JSON value, or raise `Malformed` (duplicate keys: RFC 7515 §4).

    Decoding and encoding compact JSON gives the same bytes unless a key was dropped, which is how
    nearly every document passes in two microseconds; anything else takes the slow, exact way.
    """
    try:
        value = msgspec.json.decode(raw)
        if msgspec.json.encode(value) != raw:
            json.loads(raw, object_pairs_hook=_refuse_duplicates)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Malformed("not JSON") from error
    return value


def to_type(value: Any, shape: type[T]) -> T:
    """Convert a decoded JSON value to `shape`, or raise `Malformed` naming the member."""
    try:
        return msgspec.convert(value, shape)
    except (msgspec.ValidationError, RecursionError) as error:
        raise Malformed(str(error)) from error
