"""What a kill points at: canonical form, digest, and words for people.

A kill that is spelled differently from the badge it means would be reported and stop nothing, so
publisher and guard build every target through the same functions, and these know one spelling:
case and default ports are brought to it, and what else could be spelled in two ways is refused
(`rescind_protocol.spelling`).
"""

import re
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from rescind_protocol import spelling
from rescind_protocol.errors import Malformed
from rescind_protocol.limits import MAX_ID_CHARS

DIGEST_BYTES = 16
"""Second preimage 2^128; a collision would need both ends to be the attacker's (attack B5)."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PRINTABLE = re.compile(r"[\x21-\x7e\u00a1-\ud7ff\ue000-\U0010ffff]+")
"""No blanks, no controls, and no lone surrogates, which UTF-8 and so the wire cannot carry."""
_DID = re.compile(
    r"did:([a-z0-9]+):((?:[A-Za-z0-9._:-]|%[0-9A-Fa-f]{2})+)", re.IGNORECASE | re.ASCII
)
"""DID Core §3.1. No path, query or fragment: a DID URL is not an agent, its kill stops nothing."""
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")
_DEFAULT_PORTS = {"https": 443, "http": 80}


class Kind(StrEnum):
    """The kinds of target, from one badge to all of them."""

    BADGE = "badge"
    AGENT = "agent"
    SESSION = "session"
    KEY = "key"
    ISSUER = "issuer"
    EVERYONE = "everyone"


class Target(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """One target; make it with the functions below, which bring it to its canonical form."""

    kind: Kind
    iss: Annotated[str, msgspec.Meta(max_length=MAX_ID_CHARS)] = ""
    id: Annotated[str, msgspec.Meta(max_length=MAX_ID_CHARS)] = ""

    @property
    def digest(self) -> bytes:
        """First 16 bytes of SHA-256 over msgpack `[kind, iss, id]`."""
        return digest(self.kind, self.iss, self.id)

    def __str__(self) -> str:
        return " ".join(part for part in (self.kind.value, self.id, self._under()) if part)

    def _under(self) -> str:
        return f"by {self.iss}" if self.kind is Kind.BADGE else self.iss


def digest(kind: str, iss: str, ident: str) -> bytes:
    """Digest of a canonical target; msgpack delimits the parts, so that no two run together."""
    return sha256(msgspec.msgpack.encode((kind, iss, ident))).digest()[:DIGEST_BYTES]


def _text(what: str, value: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID_CHARS:
        raise Malformed(f"{what} must be text of 1 to {MAX_ID_CHARS} characters")
    if not _PRINTABLE.fullmatch(value):
        raise Malformed(f"{what} {value[:60]!r} has blanks or control characters")
    return value


def canonical_jti(jti: str) -> str:
    """Lower-case a UUID (RFC 9562 §4: input in any case); any other id stands as it is."""
    return spelling.check_text("jti", _jti_form(jti))


def _jti_form(jti: str) -> str:
    if isinstance(jti, str) and _UUID.fullmatch(jti):
        return jti.lower()
    return _text("jti", jti)


@lru_cache(maxsize=4096)
def canonical_issuer(iss: str) -> str:
    """Lower-case scheme and host, drop a default port and a trailing slash (RFC 3986 §6.2).

    Raises `Malformed` for what is not an issuer, and for one that is not in plain form.
    """
    formed = _issuer_form(iss)
    if formed.startswith("did:"):
        return canonical_did(formed)
    parts = urlsplit(formed)
    return spelling.check_issuer(formed, parts.hostname or "", parts.path)


def _issuer_form(iss: str) -> str:
    iss = _text("issuer", iss)
    if iss.startswith("did:"):
        return _did_form(iss)[0]
    try:
        parts = urlsplit(iss)
        port = parts.port
    except ValueError as error:
        raise Malformed(f"issuer {iss[:60]!r} is not a URL") from error
    if parts.scheme.lower() not in _DEFAULT_PORTS or not parts.hostname:
        raise Malformed(f"issuer {iss[:60]!r} is neither an https origin nor a did")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise Malformed(f"issuer {iss[:60]!r} must be an origin, without query or user")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    suffix = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    # Once more: lower-casing can lengthen text, and nobody could read what is beyond the limit.
    return _text("issuer", f"{parts.scheme}://{host}{suffix}{parts.path.rstrip('/')}")


def canonical_did(did: str) -> str:
    """Lower-case method and, for did:web, the domain; the rest is exact (DID Core §3.1).

    Raises `Malformed` for what is not a DID, and for one that is not in plain form.
    """
    return spelling.check_did(*_did_form(did))


def _did_form(did: str) -> tuple[str, str, str]:
    """Return the DID in canonical case, its method, and its identifier."""
    did = _text("agent", did)
    found = _DID.fullmatch(did)
    if found is None:
        raise Malformed(f"agent {did[:60]!r} is not a DID")
    method, ident = found[1].lower(), found[2]
    if method == "web":
        domain, colon, path = ident.partition(":")
        ident = domain.lower().replace("%3a", "%3A") + colon + path
    return f"did:{method}:{ident}", method, ident


def badge(iss: str, jti: str) -> Target:
    """One badge of one issuer; `jti` alone would let issuers kill each other's (AAuth #64)."""
    return Target(Kind.BADGE, canonical_issuer(iss), canonical_jti(jti))


def agent(sub: str) -> Target:
    """Every badge of one agent DID, under any issuer, present and future."""
    return Target(Kind.AGENT, "", canonical_did(sub))


def session(sid: str) -> Target:
    """Every badge that carries this `sid`, the root of a delegation included."""
    return Target(Kind.SESSION, "", spelling.check_text("session", _text("session", sid)))


def key(thumbprint: str) -> Target:
    """Every badge verified by this key: RFC 7638 thumbprint, SHA-256, base64url."""
    if not isinstance(thumbprint, str) or not _THUMBPRINT.fullmatch(thumbprint):
        raise Malformed("key must be an RFC 7638 SHA-256 thumbprint: 43 base64url characters")
    return Target(Kind.KEY, "", thumbprint)


def issuer(iss: str) -> Target:
    """Every badge of one issuer."""
    return Target(Kind.ISSUER, canonical_issuer(iss))


def everyone() -> Target:
    """Every badge there is."""
    return Target(Kind.EVERYONE)


def check(target: Target) -> Target:
    """Return `target` if it is in canonical and plain form, else raise `Malformed`."""
    if _MAKERS[target.kind](target) != target:
        raise Malformed(f"target {str(target)[:80]!r} is not in canonical form")
    return target


def check_stored(target: Target) -> Target:
    """Return the target of a signed event if it is in canonical form, else raise `Malformed`.

    Logs written by 0.1.0 may hold names that are not in plain form. They are read as they were: a
    log of a trusted key that cannot be read would leave every view stale (I10).
    """
    if _FORMS[target.kind](target) != target:
        raise Malformed(f"target {str(target)[:80]!r} is not in canonical form")
    return target


_MAKERS: dict[Kind, Callable[[Target], Target]] = {
    Kind.BADGE: lambda given: badge(given.iss, given.id),
    Kind.AGENT: lambda given: agent(given.id),
    Kind.SESSION: lambda given: session(given.id),
    Kind.KEY: lambda given: key(given.id),
    Kind.ISSUER: lambda given: issuer(given.iss),
    Kind.EVERYONE: lambda _: everyone(),
}
_FORMS: dict[Kind, Callable[[Target], Target]] = {
    **_MAKERS,
    Kind.BADGE: lambda given: Target(Kind.BADGE, _issuer_form(given.iss), _jti_form(given.id)),
    Kind.AGENT: lambda given: Target(Kind.AGENT, "", _did_form(given.id)[0]),
    Kind.SESSION: lambda given: Target(Kind.SESSION, "", _text("session", given.id)),
    Kind.ISSUER: lambda given: Target(Kind.ISSUER, _issuer_form(given.iss)),
}
