"""The codes of decisions (RFC-002 §8, RFC-006): stable words for callers, metrics and logs."""

from enum import StrEnum


class Outcome(StrEnum):
    """The three answers. Cannot tell is its own: neither revoked nor valid (HTTP: 503)."""

    ALLOW = "allow"
    DENY = "deny"
    CANNOT_TELL = "cannot_tell"


class Code(StrEnum):
    """Why. A kill is always `BADGE_REVOKED`, never merely invalid."""

    OK = "OK"
    BADGE_MALFORMED = "BADGE_MALFORMED"
    BADGE_SIGNATURE_INVALID = "BADGE_SIGNATURE_INVALID"
    BADGE_EXPIRED = "BADGE_EXPIRED"
    BADGE_NOT_YET_VALID = "BADGE_NOT_YET_VALID"
    BADGE_ISSUER_UNTRUSTED = "BADGE_ISSUER_UNTRUSTED"
    BADGE_AUDIENCE_MISMATCH = "BADGE_AUDIENCE_MISMATCH"
    BADGE_REVOKED = "BADGE_REVOKED"
    BADGE_CLAIMS_INVALID = "BADGE_CLAIMS_INVALID"
    BADGE_AGENT_DISABLED = "BADGE_AGENT_DISABLED"
    REVOCATION_CHECK_FAILED = "REVOCATION_CHECK_FAILED"
    TOOL_AUTH_MISSING = "TOOL_AUTH_MISSING"
    TOOL_BADGE_INVALID = "TOOL_BADGE_INVALID"
    TOOL_BADGE_REVOKED = "TOOL_BADGE_REVOKED"
    TOOL_TRUST_INSUFFICIENT = "TOOL_TRUST_INSUFFICIENT"
    TOOL_NOT_FOUND = "TOOL_NOT_FOUND"
    TOOL_ISSUER_UNTRUSTED = "TOOL_ISSUER_UNTRUSTED"
    TOOL_POLICY_DENIED = "TOOL_POLICY_DENIED"
    TOOL_POLICY_FAILED = "TOOL_POLICY_FAILED"
    """Ours: the policy could not be loaded or evaluated, so nobody knows what it would say."""
    TOOL_SCOPE_INSUFFICIENT = "TOOL_SCOPE_INSUFFICIENT"


CANNOT_TELL = frozenset({Code.REVOCATION_CHECK_FAILED})
"""Codes that say that the check could not be made, not that it failed."""

NOT_OURS = {
    Code.TOOL_BADGE_INVALID: "a guard answers with the exact `BADGE_…` code of the fault instead",
    Code.TOOL_BADGE_REVOKED: "a guard answers `BADGE_REVOKED`, at a tool as anywhere",
    Code.TOOL_ISSUER_UNTRUSTED: "a guard answers `BADGE_ISSUER_UNTRUSTED`",
}
"""RFC-006's words for a tool that looks at badges itself, and why no guard says them: a fault has
one code, and a kill is called the same everywhere."""

OF_POLICY = {
    Code.TOOL_NOT_FOUND: "only the server knows which tools there are, and says so itself",
    Code.TOOL_SCOPE_INSUFFICIENT: "badges carry no scopes; a policy that knows some may say it",
}
"""RFC-006's words that a guard says where a policy names them in its `Ruling`, and nowhere else."""

IN_EVIDENCE = {
    Code.TOOL_AUTH_MISSING: Code.TOOL_AUTH_MISSING,
    Code.BADGE_REVOKED: Code.TOOL_BADGE_REVOKED,
    Code.BADGE_AGENT_DISABLED: Code.TOOL_BADGE_REVOKED,
    Code.BADGE_ISSUER_UNTRUSTED: Code.TOOL_ISSUER_UNTRUSTED,
    Code.TOOL_POLICY_FAILED: Code.TOOL_POLICY_DENIED,
}
"""RFC-006 §10: what evidence calls a refusal. Other `TOOL_…` codes are called what they are, and a
fault of a badge is `TOOL_BADGE_INVALID`."""


def in_evidence(code: Code) -> Code:
    """Return the word of RFC-006 §10 for the code of a refusal."""
    named = code if code.startswith("TOOL_") else Code.TOOL_BADGE_INVALID
    return IN_EVIDENCE.get(code, named)
