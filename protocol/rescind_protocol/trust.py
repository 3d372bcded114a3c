"""Who may say what: the trust file, a chain of versions signed by the offline root.

A file holds one version a line, oldest first; each is a compact JWS (`typ: rescind-trust+jwt`)
and is read by these rules:

- the first is signed by the root key that the reader holds
- version n + 1 names the digest of version n, and is signed by the root that n names
- a version that names another root than the one before is signed by both: by the old one first, and
  after a space, over the same bytes, by the new one
- a key's rights stay as they are, or its `since` is the version that changes them; a key once
  revoked stays revoked

What is the newest version is for heads to say; that it follows from what a reader goes by, this
module does. A version is never taken back: a newer one is written.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Annotated

import msgspec
from msgspec import Meta

from rescind_protocol import jws, keys
from rescind_protocol.changes import DigestText, Seconds
from rescind_protocol.encoding import b64url_encode, check_json, to_type
from rescind_protocol.errors import (
    Malformed,
    TooLarge,
    TrustBroken,
    TrustGap,
    Unreadable,
    Untrusted,
)
from rescind_protocol.image import Image
from rescind_protocol.keys import SigningKey, public_from_text
from rescind_protocol.limits import MAX_TRUST_BYTES, MAX_TRUST_CHAIN_BYTES, MAX_TRUST_VERSIONS
from rescind_protocol.positions import START, Position
from rescind_protocol.rights import (
    ALL_RIGHTS,
    LOG_PREFIX_CHARS,
    TWO_KEY_KINDS,
    PublisherId,
    Rights,
    Signer,
    TrustedKey,
    signer_of,
)

__all__ = [
    "ALL_RIGHTS",
    "LOG_PREFIX_CHARS",
    "TWO_KEY_KINDS",
    "TYP",
    "VERSION",
    "PublisherId",
    "Rights",
    "Signer",
    "Trust",
    "TrustFile",
    "TrustedKey",
    "catch_up",
    "extend",
    "fabric_of",
    "is_version",
    "read",
    "sign",
]

TYP = "rescind-trust+jwt"
VERSION = 1


class TrustFile(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The payload of one version."""

    ver: int
    aud: str
    """The fabric id."""
    version: Annotated[int, Meta(ge=1, lt=2**53)]
    iat: Seconds
    keys: tuple[TrustedKey, ...]
    required: Annotated[tuple[PublisherId, ...], Meta(min_length=1)]
    """Publishers without whose heads no view is fresh."""
    root: str = ""
    """Public key of the root that signs the next version; `sign` writes it."""
    prev: DigestText | None = None
    """SHA-256 of the payload of the version before this; `sign` writes it."""


class Trust:
    """A verified chain of versions, the newest one indexed. Immutable."""

    def __init__(self, file: TrustFile, *, raws: tuple[bytes, ...] = ()) -> None:
        self.file = file
        self.fabric = file.aud
        self.version = file.version
        self.required = file.required
        self.raws = raws
        """Every version of the chain that is known here, as it was signed, oldest first."""
        self.digest = b64url_encode(sha256(msgspec.json.encode(file)).digest())
        """What the next version has to name as the one before it."""
        self.signers = {signer.kid: signer for signer in map(signer_of, file.keys)}
        self._by_prefix = {kid[:LOG_PREFIX_CHARS]: s for kid, s in self.signers.items()}
        if not len(self._by_prefix) == len(self.signers) == len(file.keys):
            raise Malformed("trust file: two keys are the same, or share a log prefix")
        self._heading = _heading(self.signers.values())
        if missing := [name for name in self.required if name not in self._heading]:
            raise Malformed(f"trust file: required publisher {missing[0]!r} has no key for heads")

    def jwks(self) -> list[dict[str, str]]:
        """Return the public keys whose events count, as JWKs (RFC 7517), in order of publishers.

        Revoked keys are left out: what counts of them ends at a cut, which no JWK can say.
        """
        speaking = [
            each for each in self.signers.values() if each.rights.speaks and not each.revoked
        ]
        return [keys.jwk(each.public) for each in sorted(speaking, key=_by_publisher)]

    def signer(self, kid: str | None) -> Signer:
        """Return the key called `kid`, else raise `Untrusted`."""
        found = self.signers.get(kid or "")
        if found is None:
            raise Untrusted(f"signed by a key that is not in the trust file: {str(kid)[:43]!r}")
        return found

    def speaker(self, kid: str | None) -> Signer:
        """Do as `signer` for what only counts while it is new: raise for a revoked key, too."""
        found = self.signer(kid)
        if found.revoked:
            raise Untrusted(f"signed by a key of {found.publisher!r} that the root has revoked")
        return found

    def owner(self, log: str) -> Signer | None:
        """Return the key that `log` belongs to, if it is trusted."""
        return self._by_prefix.get(log[:LOG_PREFIX_CHARS])

    def heading(self, publisher: str) -> str | None:
        """Return the id of the key that signs a publisher's heads."""
        return self._heading.get(publisher)

    def holds_root(self, raw: bytes, version: int) -> bool:
        """Whether a root of this chain has signed these bytes as that version of the file."""
        roots = {to_type(check_json(_payload(known)), TrustFile).root for known in self.raws}
        try:
            tokens = [jws.read(each, limit=MAX_TRUST_BYTES) for each in _tokens(raw)[:2]]
            named = _version_of(raw)
        except (Malformed, TooLarge):
            return False
        keys = [public_from_text(root) for root in roots if root]
        return named == version and any(jws.verify(t, key) for t in tokens for key in keys)

    # --- cuts ---

    def cut(self, log: str) -> Position | None:
        """Where the root has a log end: at once if nobody may write it, None if nowhere."""
        owner = self.owner(log)
        return START if owner is None or not owner.rights.speaks else owner.cut(log)

    def cuts(self) -> Iterator[tuple[str, Position]]:
        """Every log that a revoked key signed and that stands up to somewhere."""
        for signer in self.signers.values():
            for log, at in (signer.cuts or {}).items():
                if signer.owns(log):
                    yield log, at

    def reads_alike(self, image: Image, version: int) -> bool:
        """Whether we would make of the same events what a reader by `version` has made of them.

        If not, they have to be read anew: a right was granted or withdrawn, a key is gone, or
        there is something beyond a cut. A newer version than ours is not ours to judge.
        """
        if version > self.version or self._judges_otherwise(image, version):
            return False
        return all(self._stands(log, image, version) for log in {*image.vector, *image.above})

    def _judges_otherwise(self, image: Image, version: int) -> bool:
        """Whether a key was changed since that has a say in the logs of others."""
        for signer in self.signers.values():
            # A thief's snapshot drops kills of any log and leaves no trace in its own.
            if signer.rights.snapshot and signer.cut_at > version:
                return True
            if signer.rights.approve and max(signer.since, signer.cut_at) > version:
                return True
            if signer.rights.retire and image.retired and signer.cut_at > version:
                return True
        return False

    def _stands(self, log: str, image: Image, version: int) -> bool:
        owner = self.owner(log)
        if owner is None or owner.since > version:
            return False
        cut = owner.cut(log)
        return cut is None or image.within(log, cut)


def _heading(signers: Iterable[Signer]) -> dict[str, str]:
    """Return which key signs each publisher's heads."""
    found: dict[str, str] = {}
    for signer in signers:
        if not signer.rights.head or signer.revoked:
            continue
        if signer.publisher in found:
            # Each would prove the other fresh, also while cut off from it (attack A3.2).
            raise Malformed("trust file: one publisher, one key for heads: two hosts, two names")
        found[signer.publisher] = signer.kid
    return found


# --- writing ---


def sign(
    file: TrustFile,
    root: SigningKey,
    *,
    before: Trust | None = None,
    new_root: SigningKey | None = None,
) -> bytes:
    """Return the file as it is stored, a new version at its end, signed by the root.

    `before` is what it follows; `new_root` takes over from the version after this. Raises
    `Malformed` and `TrustBroken` for what no reader would take.
    """
    successor = new_root or root
    file = msgspec.structs.replace(file, root=b64url_encode(successor.public))
    if before is not None:
        file = _following(file, before)
    raw = _signed(file, root)
    if new_root is not None:
        raw += b" " + _signed(file, new_root)
    if before is None:
        return b"\n".join(_read_first(raw, root.public, file.aud).raws)
    return b"\n".join(extend(before, raw).raws)


def _signed(file: TrustFile, key: SigningKey) -> bytes:
    return jws.sign(msgspec.json.encode(file), typ=TYP, key=key)


def _following(file: TrustFile, before: Trust) -> TrustFile:
    """Return the file with what ties it to the version before it."""
    known = {key.x: key for key in before.file.keys}
    keys = tuple(_dated(key, known.get(key.x), file.version) for key in file.keys)
    return msgspec.structs.replace(file, keys=keys, prev=before.digest)


def _dated(key: TrustedKey, old: TrustedKey | None, version: int) -> TrustedKey:
    """Return a line with the versions in which its rights and its cuts became what they are."""
    if old is None:
        return msgspec.structs.replace(key, since=version, cut_at=_cut_at(key, None, version))
    since = old.since if old.rights.reads_like(key.rights) else version
    return msgspec.structs.replace(key, since=since, cut_at=_cut_at(key, old, version))


def _cut_at(key: TrustedKey, old: TrustedKey | None, version: int) -> int:
    if key.cuts is None:
        return 0
    return old.cut_at if old is not None and old.cuts == key.cuts else version


# --- reading ---


def is_version(raw: bytes) -> bool:
    """Whether these bytes say of themselves that they are a version of a trust file."""
    try:
        return jws.read(_tokens(raw)[0], limit=MAX_TRUST_BYTES).header.typ == TYP
    except Malformed:
        return False


def read(raw: bytes, *, root: bytes, fabric: str) -> Trust:
    """Verify a trust file, all its versions, by the root's public key, for one fabric.

    Raises `Malformed`, `Untrusted` (another root, another fabric), `TrustBroken` (a version does
    not follow from the one before) or `Unreadable` (newer than this program).
    """
    if len(raw) > MAX_TRUST_CHAIN_BYTES:
        raise TooLarge(f"trust file of {len(raw)} bytes, limit {MAX_TRUST_CHAIN_BYTES}")
    versions = [line.strip() for line in raw.splitlines() if line.strip()] or [b""]
    if len(versions) > MAX_TRUST_VERSIONS:
        raise TooLarge(f"trust file of {len(versions)} versions, limit {MAX_TRUST_VERSIONS}")
    trust = _read_first(versions[0], root, fabric)
    for each in versions[1:]:
        trust = extend(trust, each)
    return trust


def fabric_of(raw: bytes) -> str:
    """Return the fabric that a file says it is for; nothing is verified."""
    claims = check_json(_payload(raw.strip().splitlines()[0] if raw.strip() else b""))
    return str(claims.get("aud")) if isinstance(claims, dict) else ""


def extend(trust: Trust, raw: bytes) -> Trust:
    """Return the trust with its next version; raises as `read` for any other.

    `TrustBroken` also for one that is known already, or older, or does not follow yet.
    """
    file = _verified(raw, public_from_text(trust.file.root) if trust.file.root else b"")
    if file.aud != trust.fabric:
        raise Untrusted(f"trust file is for fabric {file.aud[:32]!r}, not {trust.fabric!r}")
    if file.version > trust.version + 1:
        raise TrustGap(
            f"trust version {file.version} does not follow version {trust.version}: the versions "
            "in between are needed"
        )
    if file.version <= trust.version:
        raise TrustBroken(
            f"trust version {file.version} is not newer than version {trust.version}, which we go "
            "by: no version is ever taken back, a newer one is written"
        )
    if file.prev != trust.digest:
        raise TrustBroken(
            f"trust version {file.version} follows another version {trust.version} than ours: the "
            "root has signed two histories"
        )
    _check_keys(file, trust)
    return Trust(file, raws=(*trust.raws, raw.strip()))


def catch_up(trust: Trust, raws: Iterable[bytes]) -> Trust:
    """Return the trust with whatever of these versions follows it; others must be part of it.

    Raises as `extend`: `TrustBroken` where they are another history, or have no version in common.
    """
    known = {_version_of(raw): raw for raw in trust.raws}
    met = False
    for raw in raws:
        version = _version_of(raw)
        if version > trust.version:
            trust = extend(trust, raw)
        elif version in known:
            if _payload(known[version]) != _payload(raw):
                raise TrustBroken(f"there are two trust versions {version}, by one root")
        else:
            continue
        met = True
    if not met:
        raise TrustBroken(f"trust version {trust.version} has none in common with those kept")
    return trust


def _payload(raw: bytes) -> bytes:
    return jws.read(_tokens(raw)[0], limit=MAX_TRUST_BYTES).payload


def _version_of(raw: bytes) -> int:
    """Return the number that a version gives itself; nothing is verified."""
    claims = check_json(_payload(raw))
    found = claims.get("version") if isinstance(claims, dict) else None
    if not isinstance(found, int):
        raise Malformed("a trust version without its number")
    return found


def _read_first(raw: bytes, root: bytes, fabric: str) -> Trust:
    file = _verified(raw, root)
    if file.aud != fabric:
        raise Untrusted(f"trust file is for fabric {file.aud[:32]!r}, not {fabric!r}")
    return Trust(file, raws=(raw.strip(),))


def _check_keys(file: TrustFile, before: Trust) -> None:
    """A reader must be able to tell, of each key, whether what it knows still holds."""
    known = {key.x: key for key in before.file.keys}
    for key in file.keys:
        old = known.get(key.x)
        if key != _dated(key, old, file.version):
            raise TrustBroken(f"trust version {file.version}: a key's change has another version")
        if old is not None and old.cuts is not None and key.cuts is None:
            raise TrustBroken(f"trust version {file.version}: a revoked key is trusted again")


def _tokens(raw: bytes) -> list[bytes]:
    return raw.strip().split(b" ")


def _verified(raw: bytes, root: bytes) -> TrustFile:
    """Return one version, signed by this root, and by the next one if it names another."""
    first, *more = _tokens(raw)
    token = jws.read(first, limit=MAX_TRUST_BYTES)
    if token.header.typ != TYP:
        raise Malformed(f"not a trust file: typ {token.header.typ!r}, expected {TYP!r}")
    if not root or not jws.verify(token, root):
        raise Untrusted("trust file is not signed by this fabric's root key")
    claims = check_json(token.payload)
    if not isinstance(claims, dict) or claims.get("ver") != VERSION:
        raise Unreadable("trust file has a newer version than this program can read")
    file = to_type(claims, TrustFile)
    if msgspec.json.encode(file) != token.payload:
        raise Malformed("trust file is not written as `rescind trust` writes it")
    if len(raw) > MAX_TRUST_BYTES:
        raise TooLarge(f"trust version of {len(raw)} bytes, limit {MAX_TRUST_BYTES}")
    _check_rotation(file, token.payload, more, root)
    return file


def _check_rotation(file: TrustFile, payload: bytes, more: list[bytes], root: bytes) -> None:
    """A new root signs as well: whoever names a key nobody has would end the chain."""
    successor = public_from_text(file.root) if file.root else root
    if successor == root:
        if more:
            raise Malformed("trust file: two signatures, and no new root")
        return
    signed = [jws.read(each, limit=MAX_TRUST_BYTES) for each in more]
    if len(signed) != 1 or signed[0].payload != payload or not jws.verify(signed[0], successor):
        raise Untrusted("trust file names a new root that has not signed it")


def _by_publisher(signer: Signer) -> tuple[str, str]:
    return signer.publisher, signer.kid
