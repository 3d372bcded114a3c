"""Policy: what a living badge may do. Runs on every call, after the kill, never instead of it.

A policy is any callable. Beside a function of the service's own there are two kinds: built-in rules
(`rescind_guard.rules`) and Rego (`rescind_guard.rego`). Whatever is no clear answer denies, with a
code of its own: `TOOL_POLICY_FAILED`.
"""

from collections.abc import Callable, Collection

import msgspec

from rescind_guard.badges import Claims
from rescind_guard.codes import Code
from rescind_guard.decision import Decision
from rescind_guard.errors import Refused


class Ruling(msgspec.Struct, frozen=True, gc=False):
    """What a policy says that has more to say than a reason."""

    denied: str | None = None
    """Why not, for the caller; None: allowed."""
    code: Code = Code.TOOL_POLICY_DENIED
    obligations: tuple[str, ...] = ()
    """What the service is to do beside the call, by type (RFC-005 §7)."""
    decision_id: str | None = None


Policy = Callable[[Claims, str | None], str | Ruling | None]
"""(claims, tool) → None to allow, or the reason for the caller why not. Must not block."""

ALLOWED = Ruling()
NO_POLICY = "none"
FAILED = "policy could not be evaluated"


class PolicyFailed(Exception):
    """A policy could not be loaded or evaluated; the sentence is for operators."""


def ask(policy: Policy, claims: Claims, tool: str | None) -> Ruling:
    """Ask the policy; raises `Refused` if it denies, and if it breaks (fail closed)."""
    try:
        said = policy(claims, tool)
    except Refused:
        raise  # of one of several
    except Exception as error:
        raise failed(_words(error)) from error
    if said is None:
        return ALLOWED
    ruling = Ruling(said) if isinstance(said, str) else said
    if not isinstance(ruling, Ruling):
        # False, a coroutine, a dict: to guess what was meant would be to allow by accident.
        raise failed(f"the policy returned {type(said).__name__}, not None, a text or a Ruling")
    if ruling.denied is not None:
        raise Refused(ruling.code, ruling.denied, decision_id=ruling.decision_id)
    return ruling


def failed(why: str) -> Refused:
    """Return the refusal of a policy that gave no answer; `why` is for operators alone."""
    return Refused(Code.TOOL_POLICY_FAILED, FAILED, reason_admin=why)


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, PolicyFailed) else f"{type(error).__name__}: {error}"


def unmet(ruling: Ruling) -> str:
    """Say which conditions nobody here fulfils."""
    named = ", ".join(repr(each[:40]) for each in ruling.obligations[:4])
    return f"policy allows it only with {named}, which is not done here"


def noted(decision: Decision, ruling: Ruling) -> Decision:
    """Return an allowing decision with what the policy had to say beside."""
    more = (unmet(ruling),) if ruling.obligations else ()
    return msgspec.structs.replace(
        decision, warnings=(*decision.warnings, *more), decision_id=ruling.decision_id
    )


def all_of(*policies: Policy) -> Policy | None:
    """Return the policy that allows what all of these allow, asked in this order; None for none."""
    if len(policies) <= 1:
        return policies[0] if policies else None
    return _All(policies)


class _All:
    """Several policies as one; the first that denies answers."""

    def __init__(self, policies: tuple[Policy, ...]) -> None:
        self._policies = policies

    @property
    def version(self) -> str:
        return ", ".join(map(version_of, self._policies))

    @property
    def fault(self) -> str | None:
        return next(filter(None, map(fault, self._policies)), None)

    @property
    def trouble(self) -> str | None:
        return next(filter(None, map(trouble, self._policies)), None)

    def unmatched(self, names: Collection[str]) -> list[str]:
        """Return what each of them says."""
        return [said for policy in self._policies for said in unmatched(policy, names)]

    def __call__(self, claims: Claims, tool: str | None) -> Ruling:
        obligations: tuple[str, ...] = ()
        decision_id = None
        for policy in self._policies:
            ruling = ask(policy, claims, tool)
            obligations += ruling.obligations
            decision_id = decision_id or ruling.decision_id
        return Ruling(obligations=obligations, decision_id=decision_id)


def fault(policy: Policy | None) -> str | None:
    """Return why a policy cannot be evaluated at all, for operators; None if nothing is known."""
    said = getattr(policy, "fault", None)
    return said if isinstance(said, str) else None


def trouble(policy: Policy | None) -> str | None:
    """Return why a policy decides that is not the newest, for operators; None if it is."""
    said = getattr(policy, "trouble", None)
    return said if isinstance(said, str) else None


def unmatched(policy: Policy | None, names: Collection[str]) -> list[str]:
    """Return the rules that can match none of these names (patterns), as far as a policy knows."""
    say = getattr(policy, "unmatched", None)
    return list(say(names)) if callable(say) else []


def current(policy: Policy | None) -> bool:
    """Whether the newest policy decides, as far as is known here."""
    return fault(policy) is None and trouble(policy) is None


def version_of(policy: Policy | None) -> str:
    """Return what evidence calls this policy: its `version`, else its name."""
    if policy is None:
        return NO_POLICY
    said = getattr(policy, "version", None)
    return said if isinstance(said, str) else getattr(policy, "__qualname__", type(policy).__name__)
