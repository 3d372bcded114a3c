"""`explain` says of each numbered step what came of it, and never shows the token."""

from typing import Any

import pytest

from rescind_guard import Code, Guard, Mode, Rule
from rescind_guard.explain import Explanation, Step
from rescind_guard.policy import PolicyFailed, Ruling
from rescind_protocol import targets
from tests.fakes.badges import AGENT, Scene
from tests.fakes.fabric import NOW

STEPS = [
    (2, "parse"),
    (3, "issuer and key"),
    (4, "signature"),
    (5, "times"),
    (6, "audience, key binding, level"),
    (7, "revocation"),
    (8, "freshness"),
    (9, "policy"),
]


def explain(scene: Scene, guard: Guard, token: str | None, tool: str | None = None) -> list[Step]:
    """Explain a badge now; whatever came of it, every step is there once and no token shows."""
    at = scene.revocations.view.published
    steps = Explanation(guard, at, scene.clock.wall()).run(token, tool)
    assert [(step.number, step.what) for step in steps] == STEPS
    for step in steps:
        assert step.detail.isprintable() or not step.detail
        assert not token or not any(
            part in step.detail for part in token.split(".") if len(part) > 8
        )
    return steps


def faults(steps: list[Step]) -> dict[int, str]:
    """Return what is not OK, by number."""
    return {step.number: step.code for step in steps if step.code != "OK"}


def not_reached(first: int, *, but: tuple[int, ...] = ()) -> dict[int, str]:
    """Return the steps from `first` on as not reached."""
    return {number: "NOT_REACHED" for number in range(first, 10) if number not in but}


def test_a_good_badge_passes_each_step() -> None:
    """Each step says what it saw."""
    scene = Scene()
    steps = explain(scene, scene.guard(), scene.issuer.badge())
    assert faults(steps) == {}
    assert AGENT in steps[0].detail
    assert steps[3].detail == "expires in 300 s"
    assert steps[5].detail == "no kill among the 0 targets known"
    assert steps[6].detail == "the view is fresh"


def test_a_killed_badge_names_the_kill() -> None:
    """Step 7 has the code and the revocation's id, nothing for operators' eyes elsewhere."""
    scene = Scene()
    name = scene.revocations.kill(targets.agent(AGENT), reason="compromised", reason_admin="INC-1")
    steps = explain(scene, scene.guard(), scene.issuer.badge())
    assert faults(steps) == {7: "BADGE_REVOKED"}
    assert steps[5].detail == f"badge is revoked (compromised), by {name}"


def test_all_that_is_wrong_is_said() -> None:
    """Expired, for another audience, killed, on a stale view and denied by policy: five faults."""
    scene = Scene()
    badge = scene.issuer.badge(aud=["x"], iat=NOW - 900, exp=NOW - 600)
    scene.revocations.kill(targets.agent(AGENT))
    scene.clock.boot_s += 1000
    assert faults(explain(scene, scene.guard(policy=lambda *_: "no"), badge, "refund")) == {
        5: "BADGE_EXPIRED",
        6: "BADGE_AUDIENCE_MISMATCH",
        7: "BADGE_REVOKED",
        8: "REVOCATION_CHECK_FAILED",
        9: "TOOL_POLICY_DENIED",
    }


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (None, "TOOL_AUTH_MISSING"),
        ("junk", "BADGE_MALFORMED"),
        ("a.b.c", "BADGE_MALFORMED"),
        ("", "BADGE_MALFORMED"),
    ],
)
def test_what_is_no_badge_ends_at_the_first_step(token: str | None, code: str) -> None:
    """The rest is not reached."""
    scene = Scene()
    assert faults(explain(scene, scene.guard(), token)) == {2: code} | not_reached(3)


def test_an_issuer_that_is_not_trusted_ends_at_its_key() -> None:
    """Nothing can be verified without a key."""
    scene = Scene()
    steps = explain(scene, scene.guard(), scene.issuer.badge(iss="https://elsewhere.example"))
    assert faults(steps) == {3: "BADGE_ISSUER_UNTRUSTED"} | not_reached(4)


def test_a_forged_badge_ends_at_its_signature() -> None:
    """Nothing in it is to be believed."""
    scene = Scene()
    forged = scene.other.badge(iss=scene.issuer.iss, header={"kid": scene.issuer.key.kid})
    scene.revocations.kill(targets.agent(AGENT))
    steps = explain(scene, scene.guard(), forged)
    assert faults(steps) == {4: "BADGE_SIGNATURE_INVALID"} | not_reached(5)


@pytest.mark.parametrize("bent", [{"aud": "x"}, {"level": "5"}, {"header": {"typ": "x"}}])
def test_a_malformed_badge_is_looked_up_if_it_is_killed(bent: dict[str, Any]) -> None:
    """`explain` sees the kill that the guard denies it for."""
    scene = Scene()
    badge = scene.issuer.badge(**bent)
    guard = scene.guard(rule=Rule(Mode.OBSERVE))
    before = faults(explain(scene, guard, badge))
    assert before[8] == "NOT_REACHED"
    assert 7 not in before
    scene.revocations.kill(targets.agent(AGENT))
    assert guard.check(badge).code is Code.BADGE_REVOKED
    assert faults(explain(scene, guard, badge)) == before | {7: "BADGE_REVOKED"}


def test_a_guard_that_checks_no_revocation_says_so() -> None:
    """With `revocation="skip"` step 7 finds nothing, as the guard does."""
    scene = Scene()
    scene.revocations.kill(targets.agent(AGENT))
    guard = scene.guard(revocation="skip")
    badge = scene.issuer.badge()
    assert guard.check(badge)
    steps = explain(scene, guard, badge)
    assert faults(steps) == {}
    assert steps[5].detail == "revocation is not checked"


def test_a_policy_that_cannot_be_evaluated_says_why() -> None:
    """To who explains, that is: who runs the guard."""
    scene = Scene()

    def policy(*_: object) -> None:
        raise PolicyFailed("policy.rego:3 is not Rego")

    step = explain(scene, scene.guard(policy=policy), scene.issuer.badge())[-1]
    assert step.code == Code.TOOL_POLICY_FAILED
    why, by = step.detail.split("; ")
    assert why == "policy could not be evaluated: policy.rego:3 is not Rego"
    assert by.startswith("by test_a_policy_that_cannot_be_evaluated_says_why")


def test_a_reason_for_operators_is_not_explained() -> None:
    """`reason_admin` of a kill stands in the decision log alone."""
    scene = Scene()
    scene.revocations.kill(targets.agent(AGENT), reason_admin="case 4711")
    steps = explain(scene, scene.guard(), scene.issuer.badge())
    assert faults(steps) == {7: "BADGE_REVOKED"}
    assert "4711" not in repr(steps)


def test_an_obligation_is_explained() -> None:
    """Where it does not deny, it is what the step has to say."""
    scene = Scene()
    guard = scene.guard(
        policy=lambda *_: Ruling(obligations=("redact",)), enforcement_mode="EM-DELEGATE"
    )
    assert "'redact'" in explain(scene, guard, scene.issuer.badge())[-1].detail


def test_what_a_badge_says_reaches_no_terminal() -> None:
    """Escape sequences in claims are shown, not sent; at step 2 nothing is verified."""
    scene = Scene()
    explain(scene, scene.guard(), scene.issuer.badge(jti="\x1b[2Jgone"))
    explain(scene, scene.guard(), scene.issuer.badge(sub="\u202edid:web:a"))
    explain(scene, scene.guard(), scene.issuer.badge(iss="https://\x1b[2J"))
    explain(scene, scene.guard(), scene.issuer.badge(header={"alg": "\x1b[2J"}))
    explain(scene, scene.guard(), scene.issuer.badge(vc={"\x1b": 1}))
