"""Public keys as multibase text: `z`, base58btc, of a multicodec prefix and the key (Multikey §2).

Ed25519 (0xed01, 32 bytes) and P-256 (0x8024, a compressed point of 33 bytes).
"""

from rescind_protocol import es256, keys
from rescind_protocol.errors import Malformed

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUE = {letter: value for value, letter in enumerate(_ALPHABET)}
_BASE = len(_ALPHABET)
ED25519, P256 = b"\xed\x01", b"\x80\x24"
_POINT_BYTES = 33
MAX_CHARS = 49
"""`z` and the 48 characters of the longer of the two."""


def encode(raw: bytes) -> str:
    """Return `z` and the base58btc of bytes that do not begin with 0."""
    number, letters = int.from_bytes(raw, "big"), ""
    while number:
        number, digit = divmod(number, _BASE)
        letters = _ALPHABET[digit] + letters
    return f"z{letters}"


def decode(text: str) -> bytes:
    """Return the bytes of a short `z…`, else raise `Malformed`.

    No leading zeros: they would be a second name of the same key.
    """
    if not text.startswith("z") or not 1 < len(text) <= MAX_CHARS or text[1] == _ALPHABET[0]:
        raise Malformed("a key is not multibase base58btc")
    number = 0
    for letter in text[1:]:
        if letter not in _VALUE:
            raise Malformed("a key is not base58btc")
        number = number * _BASE + _VALUE[letter]
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def read_public(text: str) -> bytes | None:
    """Return the raw public key (32 bytes of Ed25519, 65 of P-256), None for one of another kind.

    Raises `Malformed` for what is no key at all.
    """
    raw = decode(text)
    kind, key = raw[: len(P256)], raw[len(P256) :]
    if kind not in (ED25519, P256):
        return None
    if len(key) != (keys.PUBLIC_BYTES if kind == ED25519 else _POINT_BYTES):
        raise Malformed("a key is not as long as its kind")
    return key if kind == ED25519 else es256.public_from_compressed(key)
