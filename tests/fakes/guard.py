"""A guard that answers by script: what a transport does with a decision, without badges or keys."""

from dataclasses import dataclass, field

from rescind_guard.codes import Code, Outcome
from rescind_guard.decision import Decision
from rescind_guard.inflight import End, InFlight, Work

ALLOWED = Decision(outcome=Outcome.ALLOW, code=Code.OK, reason="the badge is good")
MISSING = Decision(outcome=Outcome.DENY, code=Code.TOOL_AUTH_MISSING, reason="no badge was sent")
INVALID = Decision(outcome=Outcome.DENY, code=Code.BADGE_SIGNATURE_INVALID, reason="no key fits")
KILLED = Decision(
    outcome=Outcome.DENY,
    code=Code.BADGE_REVOKED,
    reason="the badge is revoked",
    reason_user="ask your administrator",
)
UNSURE = Decision(
    outcome=Outcome.CANNOT_TELL, code=Code.REVOCATION_CHECK_FAILED, reason="the view is stale"
)


@dataclass
class ScriptedGuard:
    """Knows tokens by name; anything else is invalid. `asked` records (question, token, tool)."""

    answers: dict[str, Decision] = field(default_factory=dict)
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    params: list[object] = field(default_factory=list)
    allowed: dict[int, str] = field(default_factory=dict)

    def check(
        self,
        token: str | None,
        *,
        tool: str | None = None,
        params: object = None,
        badge_map: str | None = None,
    ) -> Decision:
        """Answer by the script, with a new decision each time."""
        self.params.append(params)
        self.asked.append(("check", token, tool))
        if token is None:
            return MISSING
        answer = self.answers.get(token, INVALID)
        if badge_map is not None:
            self.asked.append(("badge_map", badge_map, None))
            answer = KILLED if self.answers.get(badge_map) is KILLED else answer
        if not answer:
            return answer
        decision = Decision(outcome=answer.outcome, code=answer.code, reason=answer.reason)
        self.allowed[id(decision)] = token
        return decision

    def recheck(self, decision: Decision) -> Decision:
        """Answer by what the script says now."""
        token = self.allowed[id(decision)]
        self.asked.append(("recheck", token, None))
        return self.answers[token]

    def admits_exempt(self, token: str | None) -> Decision:
        """Refuse the killed, as the script says."""
        self.asked.append(("admits_exempt", token, None))
        answer = self.answers.get(token, ALLOWED) if token is not None else ALLOWED
        return answer if answer is KILLED else ALLOWED

    def watch(self, _: Decision, end: End, *, until_expiry: bool = False) -> Work:  # noqa: ARG002
        """Tell nobody anything."""
        return InFlight().unwatched(end)

    def kill(self, token: str) -> None:
        """Change the script: `token` is killed."""
        self.answers[token] = KILLED
