"""The input document of a policy, `capiscio.pip.v1` (RFC-005 §5.1): what it may decide by.

What is not set is absent: a rule that asks for it is undefined, and does not match by accident.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec

from rescind_guard.badges import Claims
from rescind_guard.policy import PolicyFailed

VERSION = "capiscio.pip.v1"
Value = str | list["Value"] | Mapping[str, "Value"]
Document = Mapping[str, Value]
"""An input document: text, lists, and either by name."""


class Context(msgspec.Struct, frozen=True):
    """What is the same for every call of a guard."""

    enforcement: str
    audience: str | None
    """What this service is called; the resource's identifier."""


def document(
    claims: Claims, tool: str | None, context: Context, now: float
) -> tuple[Document, str]:
    """Return the document of one call, and the transaction id in it; `now` in unix seconds.

    Raises `PolicyFailed` for names with a NUL, which the interpreter would cut off there: the
    policy would judge another name than the one that is called.
    """
    subject = _subject(claims)
    if tool is not None and "\0" in tool:
        raise PolicyFailed("a name has a NUL in it")
    txn_id = str(uuid4())
    said: dict[str, Value] = {"txn_id": txn_id, "enforcement_mode": context.enforcement}
    if claims.chain:
        said["chain"] = [_subject(hop) for hop in claims.chain]
    return {
        "pip_version": VERSION,
        "subject": subject,
        "action": {"operation": ""} if tool is None else {"operation": tool, "mcp_tool": tool},
        "resource": {"identifier": context.audience or ""},
        "context": said,
        "environment": {"time": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")},
    }, txn_id


def _subject(claims: Claims) -> dict[str, Value]:
    if "\0" in claims.sub or "\0" in claims.jti:
        raise PolicyFailed("a name has a NUL in it")
    return {
        "did": claims.sub,
        "badge_jti": claims.jti,
        "ial": claims.ial,
        "trust_level": str(claims.level),
    }


def probe(context: Context, now: float) -> Document:
    """Return a document of nobody's call, to ask a new policy before it is in force."""
    nobody = Claims(
        iss="https://probe.invalid",
        sub="did:web:probe.invalid",
        jti=str(UUID(int=0)),
        iat=int(now),
        exp=int(now),
        nbf=None,
        level=0,
        ial="0",
        aud=None,
        domain=None,
        sid=None,
        key_thumbprint="",
        targets=(),
    )
    return document(nobody, "probe", context, now)[0]
