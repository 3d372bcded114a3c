"""did:key for Ed25519: `z` + base58btc(0xed01 + 32 bytes) (W3C did:key §3, INTEROP §1)."""

from functools import lru_cache

from rescind_protocol.errors import Malformed

PREFIX = "did:key:"
_MULTICODEC = b"\xed\x01"
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUE = {letter: value for value, letter in enumerate(_ALPHABET)}
_BASE = len(_ALPHABET)
_LENGTH = 47
"""Characters of base58btc for 34 bytes that begin with 0xed01, after the `z`. One more would be a
leading zero: a second name of the same key, which no kill of the first would stop."""


@lru_cache(maxsize=4096)
def public_key(did: str) -> bytes:
    """Return the 32 bytes of the key that `did` is, else raise `Malformed`."""
    text = did.removeprefix(PREFIX)
    if text == did or not text.startswith("z") or len(text) != _LENGTH + 1:
        raise Malformed("not a did:key")
    number = 0
    for letter in text[1:]:
        if letter not in _VALUE:
            raise Malformed("did:key is not base58btc")
        number = number * _BASE + _VALUE[letter]
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    if len(raw) != len(_MULTICODEC) + 32 or not raw.startswith(_MULTICODEC):
        raise Malformed("did:key is not an Ed25519 key")
    return raw[len(_MULTICODEC) :]


def from_public(public: bytes) -> str:
    """Return the did:key of an Ed25519 public key."""
    number = int.from_bytes(_MULTICODEC + public, "big")
    letters = ""
    while number:
        number, digit = divmod(number, _BASE)
        letters = _ALPHABET[digit] + letters
    return f"{PREFIX}z{letters}"
