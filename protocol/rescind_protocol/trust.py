"""Who may say what: the trust file, signed by the offline root, and rights per key.

The file is a compact JWS (`typ: rescind-trust+jwt`). A kill by a key without the right is void; a
snapshot by a key that may not reinstate would be a silent reinstatement, hence its own right.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from rescind_protocol import jws
from rescind_protocol.changes import Change, Kill, Seconds
from rescind_protocol.encoding import check_json, to_type
from rescind_protocol.errors import Malformed, Unreadable, Untrusted
from rescind_protocol.keys import SigningKey, public_from_text, thumbprint
from rescind_protocol.limits import DEFAULT_QUOTA, MAX_TRUST_BYTES
from rescind_protocol.targets import Kind, Target, canonical_issuer

TYP = "rescind-trust+jwt"
VERSION = 1
LOG_PREFIX_CHARS = 11
"""A log id begins with this much of its key's thumbprint: 66 bits, unique in a trust file."""
TWO_KEY_KINDS = (Kind.ISSUER, Kind.EVERYONE)
"""Kills and floors this wide need the approval of a second key (DESIGN, trust)."""

PublisherId = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,32}\Z")]


class Rights(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What one key may say; everything is refused unless given."""

    kill: tuple[Kind, ...] = ()
    reinstate: tuple[Kind, ...] = ()
    issuers: tuple[str, ...] | None = None
    """Issuers whose badges and whose own name it may touch; None: any."""
    head: bool = False
    snapshot: bool = False
    retire: bool = False
    approve: bool = False
    quota: Annotated[int, Meta(ge=0)] = DEFAULT_QUOTA
    """Live revocations this key may hold at once."""

    @property
    def speaks(self) -> bool:
        """Whether this key may say anything in an event at all."""
        return bool(self.kill or self.reinstate or self.retire)

    def permit(self, change: Change) -> bool:
        """Whether this key may say `change` (a second key's approval is checked elsewhere)."""
        kinds = self.kill if isinstance(change, Kill) else self.reinstate
        return change.target.kind in kinds and self._permit_issuer(change.target)

    def _permit_issuer(self, target: Target) -> bool:
        return self.issuers is None or not target.iss or target.iss in self.issuers


ALL_RIGHTS = Rights(
    kill=tuple(Kind), reinstate=tuple(Kind), head=True, snapshot=True, retire=True, approve=False
)


class TrustedKey(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One publisher's key: `x` is the Ed25519 public key, base64url (RFC 8037 §2)."""

    x: str
    publisher: PublisherId
    rights: Rights
    not_after: Seconds | None = None
    """After this its heads freshen nothing; its kills still count."""


class TrustFile(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The payload of the trust file."""

    ver: int
    aud: str
    """The fabric id."""
    version: Annotated[int, Meta(ge=1)]
    iat: Seconds
    keys: tuple[TrustedKey, ...]
    required: Annotated[tuple[PublisherId, ...], Meta(min_length=1)]
    """Publishers without whose heads no view is fresh."""


class Signer(msgspec.Struct, frozen=True):
    """A trusted key, ready to verify with."""

    kid: str
    public: bytes
    publisher: str
    rights: Rights
    not_after: int | None

    def owns(self, log: str) -> bool:
        """Whether `log` is one of this key's own: its id begins with the key's thumbprint."""
        return log.startswith(self.kid[:LOG_PREFIX_CHARS] + "-")


class Trust:
    """A verified trust file, indexed. Immutable."""

    def __init__(self, file: TrustFile) -> None:
        self.fabric = file.aud
        self.version = file.version
        self.required = file.required
        self.signers = {signer.kid: signer for signer in map(_signer, file.keys)}
        self._by_prefix = {kid[:LOG_PREFIX_CHARS]: s for kid, s in self.signers.items()}
        if not len(self._by_prefix) == len(self.signers) == len(file.keys):
            raise Malformed("trust file: two keys are the same, or share a log prefix")
        heading = [s.publisher for s in self.signers.values() if s.rights.head]
        if len(set(heading)) < len(heading):
            # Each would prove the other fresh, also while cut off from it (red-team A3.2).
            raise Malformed("trust file: one publisher, one key for heads: two hosts, two names")
        if missing := [name for name in self.required if name not in heading]:
            raise Malformed(f"trust file: required publisher {missing[0]!r} has no key for heads")

    def signer(self, kid: str | None) -> Signer:
        """Return the key called `kid`, else raise `Untrusted`."""
        found = self.signers.get(kid or "")
        if found is None:
            raise Untrusted(f"signed by a key that is not in the trust file: {str(kid)[:43]!r}")
        return found

    def owner(self, log: str) -> Signer | None:
        """Return the key that `log` belongs to, if it is trusted."""
        return self._by_prefix.get(log[:LOG_PREFIX_CHARS])


def _signer(key: TrustedKey) -> Signer:
    public = public_from_text(key.x)
    for issuer in key.rights.issuers or ():
        if canonical_issuer(issuer) != issuer:
            raise Malformed(f"trust file: write issuer {issuer[:60]!r} in its canonical form")
    return Signer(thumbprint(public), public, key.publisher, key.rights, key.not_after)


def sign(file: TrustFile, root: SigningKey) -> bytes:
    """Return the trust file as it is stored, signed by the root."""
    Trust(file)
    return jws.sign(msgspec.json.encode(file), typ=TYP, key=root)


def read(raw: bytes, *, root: bytes, fabric: str) -> Trust:
    """Verify a trust file by the root's public key, for one fabric.

    Raises `Malformed`, `Untrusted` (another root, another fabric) or `Unreadable` (newer version).
    """
    token = jws.read(raw.strip(), limit=MAX_TRUST_BYTES)
    if token.header.typ != TYP:
        raise Malformed(f"not a trust file: typ {token.header.typ!r}, expected {TYP!r}")
    if not jws.verify(token, root):
        raise Untrusted("trust file is not signed by this fabric's root key")
    claims = check_json(token.payload)
    if not isinstance(claims, dict) or claims.get("ver") != VERSION:
        raise Unreadable("trust file has a newer version than this program can read")
    file = to_type(claims, TrustFile)
    if file.aud != fabric:
        raise Untrusted(f"trust file is for fabric {file.aud[:32]!r}, not {fabric!r}")
    return Trust(file)
