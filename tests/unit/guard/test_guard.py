"""The guard as a whole: what it refuses to be, policy, second look, exempt methods, evidence."""

from typing import Any

import pytest

from rescind_guard import Claims, Code, Decision, Guard, Mode, Outcome, Rule
from rescind_guard.errors import BadGuard
from rescind_protocol import targets
from tests.fakes.badges import AGENT, Scene, read_jti
from tests.fakes.fabric import NOW


def test_a_guard_without_a_view_must_say_so() -> None:
    """No view is refused; `revocation="skip"` shows in the repr and in every decision."""
    scene = Scene()
    with pytest.raises(BadGuard, match='say revocation="skip"'):
        Guard(None, scene.issuers)
    guard = Guard(None, scene.issuers, revocation="skip", clock=scene.clock)
    assert "REVOCATION IS NOT CHECKED" in repr(guard)
    assert "NOT CHECKED" not in repr(scene.guard())
    badge = scene.issuer.badge("4")
    for _ in range(3):
        decision = guard.check(badge)
        assert decision
        assert decision.warnings == ("revocation is not checked",)
    assert guard.recheck(decision) is decision


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"revocation": "maybe"}, "revocation must be"),
        ({"minimum_level": "2"}, "minimum_level"),
        ({"minimum_level": -1}, "minimum_level"),
        ({"minimum_level": 5}, "minimum_level"),
        ({"minimum_level": True}, "minimum_level"),
        ({"audience": ["orders"]}, "audience"),
        ({"audience": ""}, "audience"),
    ],
)
def test_an_option_that_cannot_work_is_refused(option: dict[str, Any], sentence: str) -> None:
    """A guard that would break or refuse at the first call is not built."""
    with pytest.raises(BadGuard, match=sentence):
        Scene().guard(**option)


# --- policy (9) ---


def test_policy_sees_each_call_with_claims_and_tool() -> None:
    """It runs once on each call, also on cached badges, with what was verified."""
    scene = Scene()
    seen: list[tuple[str, str | None]] = []

    def policy(claims: Claims, tool: str | None) -> str | None:
        seen.append((claims.sub, tool))
        return "not this tool" if tool == "refund" else None

    guard = scene.guard(policy=policy)
    badge = scene.issuer.badge()
    assert guard.check(badge, tool="search")
    denied = guard.check(badge, tool="refund")
    assert (denied.code, denied.reason) == (Code.TOOL_POLICY_DENIED, "not this tool")
    assert guard.check(badge)
    assert seen == [(AGENT, "search"), (AGENT, "refund"), (AGENT, None)]


@pytest.mark.parametrize("cached", [False, True])
def test_a_policy_that_breaks_denies(*, cached: bool) -> None:
    """Fail closed, without a word of what broke."""
    scene = Scene()

    def policy(_claims: Claims, tool: str | None) -> None:
        if tool is not None:
            raise RuntimeError("secret detail")

    guard = scene.guard(policy=policy)
    badge = scene.issuer.badge()
    if cached:
        assert guard.check(badge)
    decision = guard.check(badge, tool="refund")
    assert (decision.outcome, decision.code) == (Outcome.DENY, Code.TOOL_POLICY_FAILED)
    assert "secret" not in repr(decision)
    assert decision.reason_admin == "RuntimeError: secret detail"


def test_observe_records_what_policy_denies() -> None:
    """A denial by policy passes in `observe`, cached or not; a kill does not."""
    scene = Scene()
    guard = scene.guard(rule=Rule(Mode.OBSERVE), policy=lambda *_: "no")
    badge = scene.issuer.badge()
    for _ in range(2):
        decision = guard.check(badge)
        assert (bool(decision), decision.code) == (True, Code.TOOL_POLICY_DENIED)
        assert decision.warnings == ("observe: would deny: no",)
    scene.revocations.kill(targets.agent(AGENT))
    assert guard.check(badge).code is Code.BADGE_REVOKED


def test_policy_is_asked_nothing_about_the_dead() -> None:
    """A killed badge is revoked before policy, which cannot undo it."""
    scene = Scene()
    asked: list[str] = []
    guard = scene.guard(policy=lambda claims, _: asked.append(claims.jti))
    badge = scene.issuer.badge()
    assert guard.check(badge)
    scene.revocations.kill(targets.agent(AGENT))
    assert guard.check(badge).code is Code.BADGE_REVOKED
    assert len(asked) == 1


# --- the second look (I3) ---


def test_a_kill_during_the_call_withholds_its_result() -> None:
    """The second look denies by a kill that came meanwhile, in every mode."""
    for mode in Mode:
        scene = Scene()
        guard = scene.guard(rule=Rule(mode))
        decision = guard.check(scene.issuer.badge())
        assert guard.recheck(decision) is decision
        name = scene.revocations.kill(targets.agent(AGENT))
        again = guard.recheck(decision)
        assert (again.outcome, again.code) == (Outcome.DENY, Code.BADGE_REVOKED)
        assert again.revocation == name


def test_the_second_look_holds_for_what_observe_let_pass() -> None:
    """A badge let pass with a fault is looked up again like any other."""
    for fault in ({"aud": "text"}, {"exp": NOW - 61, "iat": NOW - 300}, {"level": "5"}):
        scene = Scene()
        guard = scene.guard(rule=Rule(Mode.OBSERVE))
        decision = guard.check(scene.issuer.badge(**fault))
        assert decision
        scene.revocations.kill(targets.agent(AGENT))
        assert guard.recheck(decision).code is Code.BADGE_REVOKED


def test_the_second_look_is_about_kills_alone() -> None:
    """A badge that expired or a view that grew stale while the tool ran withholds nothing."""
    scene = Scene()
    guard = scene.guard()
    decision = guard.check(scene.issuer.badge("4"))
    scene.clock.advance(100_000)
    assert guard.recheck(decision) is decision


# --- methods that need no badge ---


def test_an_exempt_method_refuses_only_the_killed() -> None:
    """No badge, a bad one, an expired one, a stale view: pass. A killed badge: refused."""
    scene = Scene()
    asked: list[object] = []
    guard = scene.guard(policy=asked.append, rule=Rule(Mode.STRICT))
    badge = scene.issuer.badge()
    for token in (None, "junk", badge, scene.issuer.badge(exp=NOW - 100, iat=NOW - 300)):
        assert guard.admits_exempt(token)
    scene.clock.boot_s += 10_000
    assert guard.admits_exempt(badge)
    scene.revocations.kill(targets.badge(scene.issuer.iss, read_jti(badge)))
    assert guard.admits_exempt(badge).code is Code.BADGE_REVOKED
    assert not asked, "policy has no say in methods that need no badge"


# --- evidence (10) ---


def recording(scene: Scene, **options: Any) -> tuple[Guard, list[tuple[str, str, str | None]]]:
    """Return a guard and the list that it records (outcome, code, tool) in."""
    log: list[tuple[str, str, str | None]] = []

    def record(decision: Decision, tool: str | None, _: object) -> None:
        log.append((decision.outcome, decision.code, tool))

    return scene.guard(recorder=record, **options), log


def test_each_decision_is_counted_and_recorded_once() -> None:
    """Allowed, cached, denied: one line each."""
    scene = Scene()
    guard, log = recording(scene)
    badge = scene.issuer.badge()
    guard.check(badge, tool="a")
    guard.check(badge, tool="b")
    guard.check("junk")
    assert log == [
        ("allow", "OK", "a"),
        ("allow", "OK", "b"),
        ("deny", "BADGE_MALFORMED", None),
    ]
    assert guard.decisions.read() == {"OK": 2, "BADGE_MALFORMED": 1}


def test_what_an_exempt_method_was_answered_is_recorded() -> None:
    """Evidence never says "denied" of a call that passed."""
    scene = Scene()
    guard, log = recording(scene, policy=lambda *_: "no")
    badge = scene.issuer.badge()
    for token in (None, "junk", badge):
        assert guard.admits_exempt(token)
    assert log == [("allow", "OK", None)] * 3
    scene.revocations.kill(targets.agent(AGENT))
    guard.admits_exempt(badge)
    assert log[3:] == [("deny", "BADGE_REVOKED", None)]
    assert guard.decisions.read() == {"OK": 3, "BADGE_REVOKED": 1}


def test_a_withheld_result_is_recorded() -> None:
    """A second look that denies is evidence; one that confirms is not a new decision."""
    scene = Scene()
    guard, log = recording(scene)
    decision = guard.check(scene.issuer.badge(), tool="refund")
    guard.recheck(decision)
    assert len(log) == 1
    scene.revocations.kill(targets.agent(AGENT))
    guard.recheck(decision)
    assert log[1:] == [("deny", "BADGE_REVOKED", None)]
