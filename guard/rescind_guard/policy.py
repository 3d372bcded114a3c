"""Policy: what a living badge may do. Runs on every call, after the kill, never instead of it."""

from collections.abc import Callable

from rescind_guard.badges import Claims
from rescind_guard.codes import Code
from rescind_guard.errors import Refused

Policy = Callable[[Claims, str | None], str | None]
"""(claims, tool) → None to allow, or the reason for the caller why not. Must not block."""


def ask(policy: Policy, claims: Claims, tool: str | None) -> None:
    """Ask the policy; a policy that breaks denies (fail closed)."""
    try:
        reason = policy(claims, tool)
    except Exception as error:
        raise Refused(Code.TOOL_POLICY_DENIED, "policy could not be evaluated") from error
    if reason is not None:
        raise Refused(Code.TOOL_POLICY_DENIED, reason)
