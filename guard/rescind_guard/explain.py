"""Each numbered step of the guard with its outcome, for a person who asks why."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from rescind_guard import badges
from rescind_guard.badges import Claims
from rescind_guard.codes import Code
from rescind_guard.errors import Refused
from rescind_guard.guard import NOT_CHECKED, Guard
from rescind_guard.issuers import IssuerKey
from rescind_guard.parsing import Badge
from rescind_guard.policy import NO_POLICY, Ruling, unmet
from rescind_guard.view import Published

T = TypeVar("T")


_BOUND = "the badge is good with one badge map alone, which comes with a call and is not here"


class Step(msgspec.Struct, frozen=True):
    """One step: its number in `rescind_guard.guard`, and what came of it."""

    number: int
    what: str
    code: str
    """`OK`, `NOT_REACHED`, or the code it would refuse with."""
    detail: str


class Explanation:
    """Runs the guard's own steps one by one; all those that can still be judged are."""

    def __init__(self, guard: Guard, published: Published, now: float) -> None:
        self._guard = guard
        self._published = published
        self._now = now
        self.steps: list[Step] = []
        self.claims: Claims | None = None
        self._refused: Refused | None = None

    def run(self, token: str | None, tool: str | None = None) -> list[Step]:
        """Return the steps for one badge; raises nothing for a bad one."""
        verifier = self._guard.verifier
        badge = self._try(2, "parse", lambda: verifier.read(token), _say_badge)
        keys = badge and self._try(3, "issuer and key", lambda: verifier.keys(badge), _say_keys)
        if badge is None or keys is None:
            return self._not_reached(3 if badge is None else 4, token)
        self._try(4, "signature", lambda: self._verify(badge), _say_claims)
        if self.claims is None:
            return self._not_reached(5, token)
        self._judge(self.claims, tool)
        return self.steps

    def _verify(self, badge: Badge) -> Claims:
        claims = self._guard.verifier.verify(badge)
        self.claims = claims  # who it is, also if its key is good no longer
        badges.check_key(claims)
        return claims

    def _judge(self, claims: Claims, tool: str | None) -> None:
        guard, at = self._guard, self._published
        self._try(5, "times", lambda: badges.check_times(claims, self._now), self._say_times)
        self._try(6, "audience, key binding, level", lambda: guard.check_rules(claims))
        self._look_up(claims)
        self._try(
            8,
            "freshness",
            lambda: guard.check_fresh(claims, tool, at, self._now),
            lambda warnings: "; ".join(warnings) or "the view is fresh",
        )
        if claims.map_hash is not None:
            self.steps.append(Step(8, "badge map", "NOT_REACHED", _BOUND))
        self._try(9, "policy", lambda: guard.check_policy(claims, tool), _say_ruling)
        self._name_policy()

    def _try(
        self, number: int, what: str, step: Callable[[], T], say: Callable[[T], str] | None = None
    ) -> T | None:
        try:
            found = step()
        except Refused as refused:
            detail = refused.reason
            if refused.answer is Code.TOOL_POLICY_FAILED and refused.reason_admin:
                # Who explains is who runs the guard; and it is no one's words about a person.
                detail += f": {refused.reason_admin}"
            if refused.revocation is not None:
                detail += f", by {refused.revocation}"
            if refused.unsigned_list is not None:
                detail += "; no publisher of this fabric has said so"
            self.steps.append(Step(number, what, refused.answer, detail))
            self._refused = refused
            return None
        self.steps.append(Step(number, what, "OK", say(found) if say else ""))
        return found

    def _not_reached(self, first: int, token: str | None) -> list[Step]:
        """Say that the rest is not reached, but for the view: the guard looks there (I3)."""
        names = {3: "issuer and key", 4: "signature", 5: "times", 6: "audience, key binding, level"}
        names |= {7: "revocation", 8: "freshness", 9: "policy"}
        refused = self._refused
        claims = None if refused is None else self._guard.verifier.despite(token, refused)
        for number in range(first, 10):
            if number == 7 and claims is not None:  # noqa: PLR2004 - the step's number
                self._look_up(claims)
            else:
                self.steps.append(Step(number, names[number], "NOT_REACHED", ""))
        return self.steps

    def _look_up(self, claims: Claims) -> None:
        at = self._published
        self._try(7, "revocation", lambda: self._guard.check_revocation(claims, at), self._say_view)

    def _say_times(self, _: None) -> str:
        left = self.claims.exp - self._now if self.claims else 0
        return f"expires in {left:.0f} s"

    def _name_policy(self) -> None:
        """Say beside what policy answered which one it was."""
        version, trouble = self._guard.about_policy()
        if version != NO_POLICY:
            said = [self.steps[-1].detail, f"by {version}"]
            said += [f"not the newest: {trouble}"] if trouble else []
            detail = "; ".join(filter(None, said))
            self.steps[-1] = msgspec.structs.replace(self.steps[-1], detail=detail)

    def _say_view(self, looked: bool) -> str:  # noqa: FBT001 - what the step returned
        known = len(self._published.table)
        return f"no kill among the {known} targets known" if looked else NOT_CHECKED


def _say_badge(badge: Badge) -> str:
    # Not verified yet, and shown on a terminal: escaped, and no longer than a line or two.
    return f"jti {badge.payload.jti[:120]!r}, sub {badge.payload.sub[:120]!r}"


def _say_keys(keys: tuple[IssuerKey, ...]) -> str:
    return ", ".join(key.kid for key in keys)


def _say_claims(claims: Claims) -> str:
    return f"by key {claims.key_thumbprint}, level {claims.level}"


def _say_ruling(ruling: Ruling) -> str:
    return unmet(ruling) if ruling.obligations else ""
