"""The issuers a guard trusts, and their keys. Immutable: new keys are a new object.

An empty allowlist is an error, never "any" (interop.md §1).
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Self

import msgspec

from rescind_guard import didkey, jwk
from rescind_guard.codes import Code
from rescind_guard.errors import BadGuard, Refused
from rescind_protocol.encoding import check_document
from rescind_protocol.errors import Malformed
from rescind_protocol.targets import canonical_issuer

MAX_TRIES = 5
"""Keys tried for a badge that names none (RFC-002 §7)."""
MAX_KEYS = 256
"""Keys of one issuer."""


class Standing(StrEnum):
    """What a key is good for. A badge by any of them can be looked up: killed is revoked (I3)."""

    LIVE = "live"
    WITHDRAWN = "withdrawn"
    """Its issuer has it no longer."""
    OUTDATED = "outdated"
    """Nobody knows whether its issuer still has it."""


class IssuerKey(msgspec.Struct, frozen=True, gc=False):
    """One key of an issuer."""

    kid: str
    public: bytes
    """32 bytes of an Ed25519 key, or the 65 of a point of P-256."""
    thumbprint: str
    standing: Standing = Standing.LIVE


class KeySet(tuple[IssuerKey, ...]):  # noqa: SLOT001 - a tuple has no place for slots
    """The keys of a document that can be used, and what is wrong with the entries that cannot."""

    ignored: tuple[str, ...]
    """A sentence for each; entries of kinds that badges do not know are not among them."""

    def __new__(cls, keys: Iterable[IssuerKey] = (), ignored: Iterable[str] = ()) -> Self:
        """Make the set of `keys`, without repeats."""
        made = super().__new__(cls, dict.fromkeys(keys))
        made.ignored = tuple(ignored)
        return made


class Issuers:
    """Which issuer has which keys; one without keys is trusted, and its keys are not known yet."""

    __slots__ = ("_by_kid", "_keys")

    def __init__(self, keys: Mapping[str, Iterable[IssuerKey]]) -> None:
        """Raise `BadGuard` for a name that is no issuer, or one that is given twice."""
        self._keys: dict[str, tuple[IssuerKey, ...]] = {}
        for name, found in keys.items():
            iss = _issuer(name)
            if iss in self._keys:
                raise BadGuard(f"issuer {iss} is given twice, spelled differently")
            self._keys[iss] = tuple(found) or _own_key(iss)
        self._by_kid: dict[tuple[str, str], tuple[IssuerKey, ...]] = {}
        for iss, found in self._keys.items():
            for key in found:
                alike = self._by_kid.get((iss, key.kid), ())
                self._by_kid[iss, key.kid] = (*alike, key)[:MAX_TRIES]

    def __repr__(self) -> str:
        return f"<Issuers {', '.join(f'{i}: {len(k)} keys' for i, k in self._keys.items())}>"

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __contains__(self, iss: object) -> bool:
        return iss in self._keys

    def items(self) -> Iterator[tuple[str, tuple[IssuerKey, ...]]]:
        """Return each issuer with its keys."""
        return iter(self._keys.items())

    def __getitem__(self, iss: str) -> tuple[IssuerKey, ...]:
        return self._keys[iss]

    @classmethod
    def from_jwks(cls, documents: Mapping[str, bytes]) -> "Issuers":
        """Build from JWKS documents (RFC 7517 §5) by issuer; `BadGuard` names a bad one."""
        return cls({iss: read_jwks(iss, raw) for iss, raw in documents.items()})

    def candidates(self, iss: str, kid: str | None) -> tuple[IssuerKey, ...]:
        """Return the keys a badge of `iss` may be signed with, at most `MAX_TRIES`.

        Keys with one `kid`, which an issuer should not have and some have (RFC 7517 §4.5), are all
        returned; none if it has no such key. Raises `Refused` if the issuer is not on the allowlist
        or nobody knows its keys.
        """
        keys = self._keys.get(iss)
        if keys is None:
            raise Refused(Code.BADGE_ISSUER_UNTRUSTED, f"issuer {iss[:120]!r} is not trusted here")
        if not keys:
            raise Refused(Code.REVOCATION_CHECK_FAILED, f"cannot tell: keys of {iss} are not known")
        if kid is None or iss.startswith(didkey.PREFIX):
            return keys[:MAX_TRIES]
        return self._by_kid.get((iss, kid), ())


def _own_key(iss: str) -> tuple[IssuerKey, ...]:
    """An agent trusted by name to sign for itself needs no JWKS."""
    return (self_signed_key(iss),) if iss.startswith(didkey.PREFIX) else ()


def self_signed_key(iss: str) -> IssuerKey:
    """Return the key that a did:key issuer is (level 0)."""
    try:
        public = didkey.public_key(iss)
    except Malformed as error:
        raise Refused(Code.BADGE_CLAIMS_INVALID, f"badge claims: {error}") from error
    return IssuerKey(iss, public, jwk.thumbprint(public))


def _issuer(name: str) -> str:
    try:
        return canonical_issuer(name)
    except Malformed as error:
        raise BadGuard(f"allowlist of issuers: {error}") from error


def read_jwks(iss: str, raw: bytes) -> KeySet:
    """Return the keys in a JWKS document; raises `BadGuard`, naming the issuer, if it has none.

    An entry that cannot be used takes no other with it (RFC 7517 §5): else one broken entry would
    keep a withdrawn key in use, and a new one out of it.
    """
    try:
        members = _members(check_document(raw))
    except Malformed as error:
        raise BadGuard(f"JWKS of issuer {iss}: {error}") from error
    keys: list[IssuerKey] = []
    ignored: list[str] = []
    for place, member in enumerate(members, 1):
        try:
            if isinstance(member, dict) and jwk.is_candidate(member):
                keys.append(_read_jwk(member))
        except Malformed as error:
            ignored.append(f"key {place} of {len(members)}: {error}")
    if not keys:
        why = f" ({'; '.join(ignored[:MAX_TRIES])})" if ignored else ""
        raise BadGuard(
            f"JWKS of issuer {iss} has no key for {', '.join(jwk.BADGE_ALGORITHMS)}{why}"
        )
    return KeySet(keys, ignored)


def _members(document: object) -> list[object]:
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list) or len(members) > MAX_KEYS:
        raise Malformed(f"a JWKS has a list `keys` of at most {MAX_KEYS}")
    return members


def _read_jwk(members: dict[str, object]) -> IssuerKey:
    public = jwk.read_public(members)
    print_ = jwk.thumbprint(public)
    kid = members.get("kid", print_)
    if not isinstance(kid, str):
        raise Malformed("kid is not text")
    return IssuerKey(kid, public, print_)
