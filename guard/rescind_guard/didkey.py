"""did:key for Ed25519: `z` + base58btc(0xed01 + 32 bytes) (W3C did:key §3, interop.md §1)."""

from functools import lru_cache

from rescind_guard import multikey
from rescind_protocol.errors import Malformed

PREFIX = "did:key:"
_LENGTH = 47
"""Characters of base58btc for 34 bytes that begin with 0xed01, after the `z`. One more would be a
leading zero: a second name of the same key, which no kill of the first would stop."""


@lru_cache(maxsize=4096)
def public_key(did: str) -> bytes:
    """Return the 32 bytes of the key that `did` is, else raise `Malformed`."""
    text = did.removeprefix(PREFIX)
    if text == did or not text.startswith("z") or len(text) != _LENGTH + 1:
        raise Malformed("not a did:key")
    try:
        raw = multikey.decode(text)
    except Malformed as error:
        raise Malformed("did:key is not base58btc") from error
    if len(raw) != len(multikey.ED25519) + 32 or not raw.startswith(multikey.ED25519):
        raise Malformed("did:key is not an Ed25519 key")
    return raw[len(multikey.ED25519) :]


def from_public(public: bytes) -> str:
    """Return the did:key of an Ed25519 public key."""
    return PREFIX + multikey.encode(multikey.ED25519 + public)


def method_of(public: bytes) -> str:
    """Return the DID URL of an Ed25519 key, which resolves without a document (did:key §3.1.4)."""
    did = from_public(public)
    return f"{did}#{did.removeprefix(PREFIX)}"
