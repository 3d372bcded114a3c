"""`.signatures.json`: a JWT over the SHA-256 of each file, as OPA verifies it.

OPA refuses EdDSA when it runs, so the key is one of its own: RSA (RS256) or P-256 (ES256). What our
subscribers believe is signed by publishers and does not depend on it.

ES256 signs with RFC 6979's deterministic nonce, so that two nodes with one key write the same bytes
and no weak source of random numbers gives the key away.
"""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from jwt.algorithms import ECAlgorithm

from rescind_publisher.keyfiles import read_secret
from rescind_registry.bundle.lines import encode
from rescind_registry.errors import BadRegistryConfig

MIN_RSA_BITS = 2048
"""RFC 7518 §3.3."""
MAX_KEY_BYTES = 64 * 1024
_P256_BYTES = 32


class _DeterministicES256(ECAlgorithm):
    def __init__(self) -> None:
        super().__init__(ECAlgorithm.SHA256, ec.SECP256R1)

    def sign(self, msg: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
        try:
            how = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
            der = key.sign(msg, how)
        except UnsupportedAlgorithm:  # OpenSSL before 3.2: a random nonce, other bytes each time
            der = key.sign(msg, ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(der)  # RFC 7518 §3.4: R and S, 32 bytes each
        return r.to_bytes(_P256_BYTES, "big") + s.to_bytes(_P256_BYTES, "big")


_jws = jwt.PyJWS()
_jws.unregister_algorithm("ES256")
_jws.register_algorithm("ES256", _DeterministicES256())


class BundleSigner:
    """Signs bundles with one key; `keyid` and `scope` are what an OPA has to be configured with.

    OPA hashes JSON files by their values; ours are written as it hashes them, so that the SHA-256
    of the bytes is the same.
    """

    def __init__(
        self,
        key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
        *,
        keyid: str = "rescind",
        scope: str = "",
    ) -> None:
        self.keyid, self.scope = keyid, scope
        self.algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
        self._key = key

    def __repr__(self) -> str:
        return f"<BundleSigner {self.algorithm} {self.keyid!r}, scope {self.scope!r}>"

    @property
    def public_pem(self) -> str:
        """The public key, as OPA's configuration takes it."""
        return (
            self._key.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode("ascii")
        )

    def sign(self, members: Mapping[str, bytes], *, at: int | None = None) -> bytes:
        """Return `.signatures.json` over these files; `at`: when, unix seconds, if it is said."""
        claims: dict[str, object] = {
            "files": [_file(name, members[name]) for name in sorted(members)]
        }
        claims |= {"scope": self.scope} if self.scope else {}
        claims |= {} if at is None else {"iat": at}
        token = _jws.encode(
            encode(claims), self._key, algorithm=self.algorithm, headers={"kid": self.keyid}
        )
        return encode({"signatures": [token]})


def _file(name: str, raw: bytes) -> dict[str, str]:
    return {"name": name, "hash": sha256(raw).hexdigest(), "algorithm": "SHA-256"}


def load(path: Path, *, keyid: str = "rescind", scope: str = "") -> BundleSigner:
    """Read a private key in PEM; raises `BadKeyFile` if others may, `BadRegistryConfig`."""
    raw = read_secret(path, MAX_KEY_BYTES)
    try:
        key = serialization.load_pem_private_key(raw, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadRegistryConfig(f"{path} is no private key in PEM without a password") from error
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= MIN_RSA_BITS:
        return BundleSigner(key, keyid=keyid, scope=scope)
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return BundleSigner(key, keyid=keyid, scope=scope)
    raise BadRegistryConfig(
        f"{path}: OPA verifies RS256 (an RSA key of {MIN_RSA_BITS} bits or more) or ES256 (P-256)"
    )


def make_key() -> bytes:
    """Return a new P-256 private key in PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
