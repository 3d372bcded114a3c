"""One decision as one record: the evidence of RFC-006 §7.3, valid against its schema, and ours.

What the schema does not know stands in the namespace `rescind`: the kill, the exact code, the
reason in words.

A record never has a token in it, and of a call's parameters their hash alone: the log is read by
more people than may see either.
"""

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec
import rfc8785

from rescind_guard.codes import Code, Outcome, in_evidence
from rescind_guard.decision import Decision
from rescind_protocol.encoding import b64url_encode

EVENT_NAME = "capiscio.tool_invocation"
MAX_TEXT_CHARS = 512
"""Of anything that a caller may have chosen."""
Record = dict[str, str | list[str]]
ALLOW, DENY = "ALLOW", "DENY"
OBSERVED = "ALLOW_OBSERVE"
"""A refusal that the mode lets pass (RFC-005 §7.4): a word of `capiscio.policy.decision` alone."""
BADGE, ANONYMOUS = "badge", "anonymous"
"""How the caller said who it is (RFC-006 §7.2)."""
_NONE_GIVEN = frozenset({Code.TOOL_AUTH_MISSING, Code.OK})
"""Codes of a decision on no badge: it was missing, or was not needed."""


class About(msgspec.Struct, frozen=True):
    """What is the same in every record of a guard."""

    audience: str | None = None


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What the call path leaves behind: as little work as can be."""

    at: float
    """Unix seconds."""
    decision: Decision
    tool: Any
    params_hash: str | None
    policy_version: str = "none"
    """That was in force."""


def hash_of(params: Any) -> str | None:
    """Return `sha256:` and the hash of parameters as canonical JSON (RFC 8785, RFC-006 §7.2.1).

    None for what is not JSON. Taken at once, for a tool may change what it was given.
    """
    try:
        digest = sha256(rfc8785.dumps(msgspec.to_builtins(params, str_keys=True))).digest()
    except Exception:  # noqa: BLE001 - whatever a caller passes, evidence breaks no call
        return None
    return f"sha256:{b64url_encode(digest)}"


def record(entry: Entry, about: About) -> Record:
    """Return the record; what is not known is absent, or empty where the schema requires it."""
    decision, claims = entry.decision, entry.decision.claims
    allowed, refused = decision.outcome is Outcome.ALLOW, decision.code is not Code.OK
    anonymous = claims is None and decision.code in _NONE_GIVEN
    target = about.audience if entry.tool is None else entry.tool
    said: dict[str, Any] = {
        "time": datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="milliseconds"),
        "event.name": EVENT_NAME,
        "capiscio.agent.did": "" if claims is None else claims.sub,
        "capiscio.badge.jti": claims and claims.jti,
        "capiscio.auth.level": ANONYMOUS if anonymous else BADGE,
        "capiscio.target": "" if target is None else target,
        "capiscio.policy_version": entry.policy_version,
        "capiscio.policy.decision_id": decision.decision_id,
        "capiscio.policy.decision": OBSERVED if allowed and refused else None,
        "capiscio.decision": ALLOW if allowed else DENY,
        "capiscio.tool.params_hash": entry.params_hash,
        "capiscio.deny_reason": None if allowed else in_evidence(decision.code).value,
        "rescind.code": decision.code.value,
        "rescind.reason": decision.reason if refused else None,
        "rescind.trust_level": claims and str(claims.level),
        "rescind.outcome": decision.outcome.value,
        "rescind.issuer": claims and claims.iss,
        "rescind.session": claims and claims.sid,
        "rescind.revocation": decision.revocation and str(decision.revocation),
        "rescind.unsigned_list": decision.unsigned_list,
        "rescind.reason_user": decision.reason_user,
        "rescind.reason_admin": decision.reason_admin,
    }
    found: Record = {name: _text(value) for name, value in said.items() if value is not None}
    if claims is not None and claims.chain:
        found["rescind.chain"] = [_text(hop.sub) for hop in claims.chain]
    if decision.warnings:
        found["rescind.warnings"] = [_text(each) for each in decision.warnings]
    return found


def line(found: Record) -> bytes:
    """Return a record as one line of JSON."""
    return msgspec.json.encode(found) + b"\n"


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else type(value).__name__
    return text[:MAX_TEXT_CHARS].encode("utf-8", "replace").decode()
