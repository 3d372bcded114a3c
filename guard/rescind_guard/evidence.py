"""One decision as one record: the evidence's fields (RFC-006 §7.3), and what names the kill.

A record never has a token in it, and of a call's parameters their hash alone: the log is read by
more people than may see either.
"""

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec

from rescind_guard.codes import Code, Outcome
from rescind_guard.decision import Decision
from rescind_protocol.encoding import b64url_encode

EVENT_NAME = "capiscio.tool_invocation"
MAX_TEXT_CHARS = 512
"""Of anything that a caller may have chosen."""
Record = dict[str, str | list[str]]
_WORDS = {Outcome.ALLOW: "ALLOW", Outcome.DENY: "DENY", Outcome.CANNOT_TELL: "DENY"}
OBSERVED = "ALLOW_OBSERVE"
"""A refusal that the mode lets pass (RFC-005 §7.4)."""


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
    """Return `sha256:` and the hash of parameters as JSON with sorted keys; None if they are none.

    Taken at once, for a tool may change what it was given.
    """
    try:
        digest = sha256(msgspec.json.encode(params, order="sorted")).digest()
    except Exception:  # noqa: BLE001 - whatever a caller passes, evidence breaks no call
        return None
    return f"sha256:{b64url_encode(digest)}"


def record(entry: Entry, about: About) -> Record:
    """Return the record; what is not known is absent."""
    decision, claims = entry.decision, entry.decision.claims
    observed = decision.outcome is Outcome.ALLOW and decision.code is not Code.OK
    said: dict[str, Any] = {
        "time": datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="milliseconds"),
        "event.name": EVENT_NAME,
        "capiscio.agent.did": claims and claims.sub,
        "capiscio.badge.jti": claims and claims.jti,
        "capiscio.auth.level": claims and str(claims.level),
        "capiscio.target": about.audience if entry.tool is None else entry.tool,
        "capiscio.policy_version": entry.policy_version,
        "capiscio.policy.decision_id": decision.decision_id,
        "capiscio.decision": OBSERVED if observed else _WORDS[decision.outcome],
        "capiscio.tool.params_hash": entry.params_hash,
        "capiscio.deny_reason": None if decision.code is Code.OK else decision.reason,
        "rescind.code": decision.code.value,
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
