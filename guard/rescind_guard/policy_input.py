"""The input document of a policy, `capiscio.pip.v1` (RFC-005 §5.1): what it may decide by.

What is not set is absent: a rule that asks for it is undefined, and does not match by accident.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec

from rescind_guard.badges import Claims
from rescind_guard.policy import PolicyFailed

VERSION = "capiscio.pip.v1"


class Context(msgspec.Struct, frozen=True):
    """What is the same for every call of a guard."""

    enforcement: str
    audience: str | None
    """What this service is called; the resource's identifier."""


def document(claims: Claims, tool: str | None, context: Context, now: float) -> dict[str, Any]:
    """Return the document of one call, with a transaction id of its own; `now` in unix seconds.

    Raises `PolicyFailed` for names with a NUL, which the interpreter would cut off there: the
    policy would judge another name than the one that is called.
    """
    if any("\0" in name for name in (tool or "", claims.sub, claims.jti)):
        raise PolicyFailed("a name has a NUL in it")
    action = {"operation": tool or ""}
    if tool is not None:
        action["mcp_tool"] = tool
    return {
        "pip_version": VERSION,
        "subject": {
            "did": claims.sub,
            "badge_jti": claims.jti,
            "ial": claims.ial,
            "trust_level": str(claims.level),
        },
        "action": action,
        "resource": {"identifier": context.audience or ""},
        "context": {"txn_id": str(uuid4()), "enforcement_mode": context.enforcement},
        "environment": {"time": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")},
    }
