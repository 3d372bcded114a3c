"""Ed25519 keys and their RFC 7638 thumbprints.

cryptography makes and loads keys; libsodium signs and verifies everywhere, so that no two places
disagree about one signature. No file is read here: see `rescind_publisher.keyfiles`.
"""

from hashlib import sha256
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nacl.bindings import crypto_sign, crypto_sign_BYTES, crypto_sign_open
from nacl.exceptions import CryptoError

from rescind_protocol.encoding import b64url_decode, b64url_encode
from rescind_protocol.errors import Malformed

PUBLIC_BYTES = 32
SIGNATURE_BYTES: int = crypto_sign_BYTES


def thumbprint(public: bytes) -> str:
    """Return the RFC 7638 thumbprint of an Ed25519 public key (members by RFC 8037 §2)."""
    canonical = b'{"crv":"Ed25519","kty":"OKP","x":"%s"}' % b64url_encode(public).encode()
    return b64url_encode(sha256(canonical).digest())


def public_from_jwk(jwk: Any) -> bytes:
    """Return the 32 bytes of an OKP/Ed25519 JWK (RFC 8037 §2), else raise `Malformed`."""
    if not isinstance(jwk, dict) or jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519":
        raise Malformed("JWK is not an Ed25519 key")
    if not isinstance(jwk.get("x"), str):
        raise Malformed("JWK has no member x")
    return public_from_text(jwk["x"])


def public_from_text(text: str) -> bytes:
    """Return the 32 bytes of a base64url public key, else raise `Malformed`."""
    try:
        public = b64url_decode(text.encode("ascii"))
    except UnicodeEncodeError as error:
        raise Malformed("public key is not base64url") from error
    if len(public) != PUBLIC_BYTES:
        raise Malformed("an Ed25519 public key has 32 bytes")
    return public


def jwk(public: bytes) -> dict[str, str]:
    """Return the public JWK, with its thumbprint as `kid`."""
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": b64url_encode(public),
        "kid": thumbprint(public),
        "alg": "EdDSA",
        "use": "sig",
    }


def verifies(signature: bytes, message: bytes, public: bytes) -> bool:
    """Whether `signature` (64 bytes) over `message` is by `public` (RFC 8032 §5.1.7).

    libsodium also refuses small-order keys and non-canonical points.
    """
    try:
        crypto_sign_open(signature + message, public)
    except (CryptoError, ValueError):
        return False
    return True


class SigningKey:
    """A private Ed25519 key; its repr shows the thumbprint only."""

    __slots__ = ("_secret", "kid", "public")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self.public: bytes = private.public_key().public_bytes_raw()
        self._secret: bytes = private.private_bytes_raw() + self.public
        self.kid: str = thumbprint(self.public)

    def __repr__(self) -> str:
        return f"<SigningKey {self.kid}>"

    @classmethod
    def generate(cls) -> "SigningKey":
        """Make a new key from the system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, pem: bytes) -> "SigningKey":
        """Load an unencrypted PKCS #8 PEM; anything else raises `Malformed`."""
        try:
            private = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise Malformed("not an unencrypted PKCS #8 PEM private key") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise Malformed("the private key is not Ed25519")
        return cls(private)

    def to_pem(self) -> bytes:
        """Return the key as unencrypted PKCS #8 PEM; the caller keeps it 0600."""
        private = Ed25519PrivateKey.from_private_bytes(self._secret[:PUBLIC_BYTES])
        return private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature (RFC 8032 §5.1.6)."""
        return bytes(crypto_sign(message, self._secret)[:SIGNATURE_BYTES])
