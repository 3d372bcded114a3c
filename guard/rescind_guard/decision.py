"""A decision: reads as an `if`, explains itself."""

import msgspec

from rescind_guard.badges import Claims
from rescind_guard.codes import CANNOT_TELL, Code, Outcome
from rescind_guard.errors import Refused
from rescind_protocol.changes import RevocationId


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The guard's answer. `reason` and `reason_user` may be shown to the caller, as they are."""

    outcome: Outcome
    code: Code
    reason: str
    claims: Claims | None = None
    """Of a badge whose signature verified; None for anything else."""
    revocation: RevocationId | None = None
    """The kill that decided."""
    reason_user: str | None = None
    warnings: tuple[str, ...] = ()
    decision_id: str | None = None
    """By which the policy's own records know it."""
    reason_admin: str | None = None
    """For the decision log alone; never shown to a caller, nor by `repr`."""
    hops: tuple[Claims, ...] = ()
    """The badges behind the caller's that verified, bound to it or not: none of them may die."""
    unsigned_list: str | None = None
    """The issuer whose unsigned list decided, where no signed kill did."""

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        del shown["reason_admin"]
        return f"Decision({', '.join(f'{name}={said!r}' for name, said in shown.items())})"

    def __bool__(self) -> bool:
        return self.outcome is Outcome.ALLOW


def refusal(refused: Refused, claims: Claims | None, warnings: tuple[str, ...]) -> Decision:
    """Turn a refusal into the decision it means."""
    return Decision(
        Outcome.CANNOT_TELL if refused.answer in CANNOT_TELL else Outcome.DENY,
        refused.answer,
        refused.reason,
        claims,
        refused.revocation,
        refused.reason_user,
        warnings,
        refused.decision_id,
        refused.reason_admin,
        unsigned_list=refused.unsigned_list,
    )
