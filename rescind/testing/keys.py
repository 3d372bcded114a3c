"""Keys and trust for tests: every key is derived from its name, so that a run can be replayed.

Such keys are public knowledge. They exist in tests only: nothing here writes one anywhere.
"""

from functools import cache
from hashlib import sha256

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rescind_protocol import trust
from rescind_protocol.encoding import b64url_encode
from rescind_protocol.keys import SigningKey
from rescind_protocol.limits import DEFAULT_QUOTA
from rescind_protocol.trust import ALL_RIGHTS, Rights, Trust, TrustedKey, TrustFile

FABRIC = "test"
_APPROVER = Rights(approve=True)


@cache
def key_of(name: str) -> SigningKey:
    """Return the Ed25519 key that belongs to `name`; the same one each time."""
    seed = sha256(f"rescind.testing {name}".encode()).digest()
    return SigningKey(Ed25519PrivateKey.from_private_bytes(seed))


@cache
def trust_of(publishers: tuple[str, ...], quota: int = DEFAULT_QUOTA) -> Trust:
    """Return the trust of a fabric with these publishers, all required, and "approver"."""
    rights = msgspec.structs.replace(ALL_RIGHTS, quota=quota)
    file = TrustFile(
        ver=trust.VERSION,
        aud=FABRIC,
        version=1,
        iat=0,
        keys=(
            *(_trusted(name, rights) for name in publishers),
            _trusted("approver", _APPROVER),
        ),
        required=publishers,
    )
    root = key_of("root")
    return trust.read(trust.sign(file, root), root=root.public, fabric=FABRIC)


def _trusted(name: str, rights: Rights) -> TrustedKey:
    return TrustedKey(x=b64url_encode(key_of(name).public), publisher=name, rights=rights)
