"""Strict base64url and JSON: one spelling for each value, or `Malformed`.

Two spellings of one token would be two cache keys, two digests and, somewhere, two opinions.
"""

import codecs
import json
from binascii import b2a_base64
from typing import Any, TypeVar

import msgspec

from rescind_protocol.errors import Malformed

T = TypeVar("T")

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
"""RFC 4648 §5."""
_OTHERS = bytes(set(range(256)).difference(_ALPHABET))
_TO_STANDARD = bytes.maketrans(_ALPHABET + _OTHERS, _ALPHABET[:-2] + b"+/" + b"!" * len(_OTHERS))
"""What is not in the alphabet becomes what no alphabet has."""
_TO_URL = bytes.maketrans(b"+/", b"-_")
_PADDING = (b"", b"!", b"==", b"=")
"""By length modulo 4; one character alone is no byte."""
_LAST = (_ALPHABET, b"", _ALPHABET[::16], _ALPHABET[::4])
"""The last characters that leave no bit over (RFC 4648 §3.5), by length modulo 4."""
_bytes_of = msgspec.json.Decoder(bytes)


def b64url_encode(raw: bytes) -> str:
    """Return unpadded base64url (RFC 7515 §2)."""
    return b2a_base64(raw, newline=False).translate(_TO_URL).rstrip(b"=").decode("ascii")


def b64url_decode(text: bytes) -> bytes:
    """Return the bytes of canonical unpadded base64url, else raise `Malformed`.

    Encoding the result again gives the same text: padding, white space and the standard alphabet
    are refused, and so are stray trailing bits. msgspec reads base64 in a JSON string in less than
    half of the time that binascii takes.
    """
    over = len(text) & 3
    if text[-1:] not in _LAST[over]:
        raise Malformed("base64url is not canonical")
    try:
        return _bytes_of.decode(b'"%b%b"' % (text.translate(_TO_STANDARD), _PADDING[over]))
    except msgspec.MsgspecError as error:
        raise Malformed("not base64url") from error


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


def check_document(raw: bytes) -> Any:
    """Return the JSON value of a document that was fetched or read from a file.

    Raises `Malformed`, as `check_json` does. A byte order mark in front is passed over, which
    RFC 8259 §8.1 leaves to the reader: editors write one, and it changes nothing.
    """
    return check_json(raw.removeprefix(codecs.BOM_UTF8))


def to_type(value: Any, shape: type[T]) -> T:
    """Convert a decoded JSON value to `shape`, or raise `Malformed` naming the member."""
    try:
        return msgspec.convert(value, shape)
    except (msgspec.ValidationError, RecursionError) as error:
        raise Malformed(str(error)) from error
