"""A badge as it travels: untrusted bytes taken apart, and the rules of structure. No I/O, no clock.

Steps 1 to 3 of RFC-002 §8.1, in their order. A fault is `BADGE_MALFORMED` until the claims can be
read, then `BADGE_CLAIMS_INVALID`. Nothing here is verified.
"""

import re
from functools import lru_cache
from typing import Any

import msgspec

from rescind_guard import didkey, jwk
from rescind_guard.codes import Code
from rescind_guard.errors import Refused
from rescind_protocol import jws, targets
from rescind_protocol.changes import Seconds
from rescind_protocol.encoding import check_json, to_type
from rescind_protocol.errors import Malformed
from rescind_protocol.limits import MAX_BADGE_BYTES
from rescind_protocol.targets import Kind, canonical_did, canonical_issuer, canonical_jti, digest

LEVELS = {"0": 0, "1": 1, "2": 2, "3": 3, "4": 4}
"""Self-signed, registered, domain, organisation, extended: strings, compared by this table."""
VC, AGENT = "VerifiableCredential", "AgentIdentity"
"""A badge's credential types; whatever else an issuer signs is no badge (RFC 8725 §3.11)."""
DOMAIN_FROM_LEVEL = 2
"""From here on the issuer has validated a domain, and says which (RFC-002 §4.3.4)."""
_UUID4 = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-4[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}"
)
"""RFC 9562 §5.4, in any case (§4)."""


class _Subject(msgspec.Struct, frozen=True, gc=False):
    level: str
    domain: str | None = None


class _Credential(msgspec.Struct, frozen=True, gc=False):
    subject: _Subject = msgspec.field(name="credentialSubject")
    type: tuple[str, ...] | None = None


class _Confirmation(msgspec.Struct, frozen=True, gc=False):
    kid: str


class Payload(msgspec.Struct, frozen=True, gc=False):
    """The claims as they stand in the token (interop.md §1)."""

    jti: str
    iss: str
    sub: str
    iat: Seconds
    exp: Seconds
    ial: str
    vc: _Credential
    nbf: Seconds | None = None
    aud: tuple[str, ...] | None = None
    key: dict[str, Any] | None = None
    cnf: _Confirmation | None = None
    sid: str | None = None
    map_hash: str | None = None
    """Ours: binds the badge to its badge map (`rescind_guard.hops`)."""


class Badge(msgspec.Struct, frozen=True, gc=False):
    """A badge taken apart, nothing of it verified yet; names are canonical."""

    token: jws.Jws
    payload: Payload
    iss: str
    sub: str
    jti: str
    level: int
    key: bytes | None
    """The agent's public key, as raw bytes."""
    agent: bytes
    """Digest of the agent as a target; likewise `session`."""
    session: bytes | None


def read(token: str | bytes, *, lenient: bool = False, keyless: bool = False) -> Badge:
    """Take a badge apart; raises `Refused` with `BADGE_MALFORMED` or `BADGE_CLAIMS_INVALID`.

    `lenient` accepts what the reference issuer and verifier do: a header without `typ`, a `jti`
    that is no UUID. `keyless` accepts a badge without `key`, for trying things out.
    """
    parts, members = _open(token)
    typ = parts.header.typ
    if typ != "JWT" and not (lenient and typ is None):
        raise Refused(Code.BADGE_MALFORMED, "badge is malformed: typ is not JWT")
    try:
        payload = to_type(members, Payload)
        _refuse_null(members)
        return _badge(parts, payload, lenient=lenient, keyless=keyless)
    except Malformed as error:
        raise Refused(Code.BADGE_CLAIMS_INVALID, f"badge claims: {error}") from error


def read_names(token: str | bytes) -> Payload:
    """Return what a token says of itself, whatever rule it breaks: enough to kill it by.

    Raises `Refused` where not even that can be read.
    """
    _, members = _open(token)
    try:
        return to_type(members, Payload)
    except Malformed as error:
        raise Refused(Code.BADGE_CLAIMS_INVALID, f"badge claims: {error}") from error


def _open(token: str | bytes) -> tuple[jws.Jws, Any]:
    try:
        raw = token.encode("ascii") if isinstance(token, str) else token
        parts = jws.read(raw, limit=MAX_BADGE_BYTES, algorithms=jwk.BADGE_ALGORITHMS)
        return parts, check_json(parts.payload)
    except (Malformed, UnicodeEncodeError) as error:
        raise Refused(Code.BADGE_MALFORMED, f"badge is malformed: {error}") from error


_NULL_FREE = frozenset(Payload.__struct_fields__)


def _refuse_null(members: dict[str, Any]) -> None:
    """A claim that is given without a value is not one that is absent: readers disagree on it."""
    subject = members["vc"]["credentialSubject"]
    for found in (members, members["vc"], subject):
        if None in found.values():
            named = [name for name, value in found.items() if value is None]
            fault = next((name for name in named if found is not members or name in _NULL_FREE), "")
            if fault:
                raise Malformed(f"{fault} is null")


def _badge(parts: jws.Jws, said: Payload, *, lenient: bool, keyless: bool) -> Badge:
    iss = canonical_issuer(said.iss)
    jti = _jti(said.jti, lenient=lenient)
    sub, agent = _agent(said.sub)
    session = None if said.sid is None else targets.session(said.sid).digest
    level = LEVELS.get(said.vc.subject.level)
    if level is None:
        raise Malformed('level is not "0" to "4"')
    if said.key is None and not keyless:
        raise Malformed("key is missing")  # RFC-002 §8.1 3h
    _check_assurance(said)
    _check_level(said, iss, sub, level)
    key = None if said.key is None else _key(said.key)
    return Badge(parts, said, iss, sub, jti, level, key, agent, session)


def _jti(jti: str, *, lenient: bool) -> str:
    if _UUID4.fullmatch(jti):
        return jti.lower()  # as `canonical_jti` does
    if not lenient:
        raise Malformed("jti is not a UUID of version 4")
    return canonical_jti(jti)


@lru_cache(maxsize=65_536)
def _agent(sub: str) -> tuple[str, bytes]:
    """Return an agent's canonical DID and digest; its badges come every few minutes."""
    sub = canonical_did(sub)
    return sub, digest(Kind.AGENT, "", sub)


def _key(members: dict[str, Any]) -> bytes:
    try:
        return jwk.read_public(members)
    except Malformed as error:
        raise Malformed(f"key: {error}") from error


def _check_assurance(said: Payload) -> None:
    """`cnf` if and only if ial is "1" (RFC-002 §8.1 3d to 3f)."""
    if said.ial not in ("0", "1"):
        raise Malformed('ial is not "0" or "1"')
    if (said.cnf is not None) != (said.ial == "1"):
        raise Malformed('cnf belongs to ial "1" and to no other')
    if said.cnf is not None and said.key is None:
        raise Malformed("key is missing, which cnf binds")


def _check_level(said: Payload, iss: str, sub: str, level: int) -> None:
    """What each level asks of the other claims (RFC-002 §4.3)."""
    types = said.vc.type or ()
    if (level or said.vc.type is not None) and not (VC in types and AGENT in types):
        raise Malformed(f"vc is not of the types {VC} and {AGENT}")
    if level >= DOMAIN_FROM_LEVEL and not said.vc.subject.domain:
        raise Malformed("domain is missing, which this level says was validated")
    if level and not iss.startswith("did:"):
        return
    if level or not iss.startswith(didkey.PREFIX) or iss != sub:
        raise Malformed("level 0 is self-signed: iss is a did:key and equal to sub")
    if said.ial != "0":
        raise Malformed('level 0 has ial "0"')
