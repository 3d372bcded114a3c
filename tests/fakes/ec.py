"""An issuer whose key is a P-256 key: signs badges with ES256, as some registries do."""

from dataclasses import dataclass, field
from functools import cached_property

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rescind_protocol import es256
from rescind_protocol.encoding import b64url_encode
from tests.fakes.badges import Issuer


class EcKey:
    """A P-256 key with the methods of a `SigningKey`; one number, one key."""

    def __init__(self, number: int = 1_000_003) -> None:
        self._private = ec.derive_private_key(number, ec.SECP256R1())

    @cached_property
    def public(self) -> bytes:
        """The uncompressed point."""
        return self._private.public_key().public_bytes(
            Encoding.X962, PublicFormat.UncompressedPoint
        )

    @property
    def kid(self) -> str:
        """The thumbprint."""
        return es256.thumbprint(self.public)

    @property
    def jwk(self) -> dict[str, str]:
        """The public JWK."""
        x, y = self.public[1:33], self.public[33:]
        point = {"x": b64url_encode(x), "y": b64url_encode(y)}
        return {"kty": "EC", "crv": "P-256", **point, "kid": self.kid, "alg": "ES256", "use": "sig"}

    def sign(self, message: bytes) -> bytes:
        """Return r and s."""
        r, s = decode_dss_signature(self._private.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@dataclass
class EcIssuer(Issuer):
    """Mints badges with `alg` ES256."""

    key: EcKey = field(default_factory=EcKey)  # type: ignore[assignment]

    def sign(self, payload: bytes, header: dict[str, object] | None = None) -> str:
        """Sign any bytes as a badge."""
        return super().sign(payload, {"alg": es256.ALGORITHM} | (header or {}))

    def jwks(self) -> bytes:
        """Return the JWKS document."""
        return msgspec.json.encode({"keys": [self.key.jwk]})
