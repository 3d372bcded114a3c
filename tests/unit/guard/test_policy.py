"""Policy: what counts as an answer, several as one, the built-in rules, the enforcement modes."""

from typing import Any

import pytest

from rescind_guard import Code, Mode, Rule
from rescind_guard.enforcement import TABLE, Enforcement, Row, row_of
from rescind_guard.errors import BadGuard
from rescind_guard.policy import Policy, Ruling, all_of, fault, version_of
from rescind_guard.rules import MAX_KNOWN_TOOLS, Rules
from tests.fakes.badges import Scene
from tests.fakes.fabric import NOW

# --- what counts as an answer ---


async def forgets_to_wait(*_: object) -> None:
    """Stand for a policy that somebody wrote as a coroutine."""


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize("said", [True, False, 0, {"allow": True}, forgets_to_wait(None)])
def test_what_is_no_answer_denies(said: Any) -> None:
    """None, a text and a `Ruling` are answers; what a truth value was meant to say nobody knows."""
    scene = Scene()
    decision = scene.guard(policy=lambda *_: said).check(scene.issuer.badge())
    assert (bool(decision), decision.code) == (False, Code.TOOL_POLICY_FAILED)
    assert type(said).__name__ in (decision.reason_admin or "")


def test_an_empty_reason_denies_too() -> None:
    """`""` is a text, and a text denies."""
    scene = Scene()
    assert not scene.guard(policy=lambda *_: "").check(scene.issuer.badge())


def test_a_ruling_may_name_its_code_and_id() -> None:
    """Both stand in the decision."""
    scene = Scene()
    ruling = Ruling("no scope", Code.TOOL_SCOPE_INSUFFICIENT, decision_id="d-1")
    decision = scene.guard(policy=lambda *_: ruling).check(scene.issuer.badge())
    assert (decision.code, decision.decision_id) == (Code.TOOL_SCOPE_INSUFFICIENT, "d-1")


def test_of_several_policies_each_may_deny() -> None:
    """The first that denies answers, and one that breaks breaks them all."""
    scene, asked = Scene(), []

    def first(_claims: object, tool: str | None) -> Ruling | str | None:
        asked.append("first")
        return "first says no" if tool == "a" else Ruling(decision_id="1")

    def second(_claims: object, tool: str | None) -> str | None:
        asked.append("second")
        if tool == "b":
            raise ValueError("second broke")
        return "second says no" if tool == "c" else None

    guard, badge = scene.guard(policy=all_of(first, second)), scene.issuer.badge()
    assert guard.check(badge, tool="a").reason == "first says no"
    assert asked == ["first"]
    assert guard.check(badge, tool="b").reason_admin == "ValueError: second broke"
    assert guard.check(badge, tool="c").reason == "second says no"
    assert guard.check(badge, tool="d").decision_id == "1"


def test_none_and_one_policy_are_themselves() -> None:
    """No policy costs nothing."""
    assert all_of() is None
    only: Policy = lambda *_: None  # noqa: E731 - compared by identity
    assert all_of(only) is only


def test_evidence_names_policies() -> None:
    """By version, else by name; a change of rules is another version."""
    rules = Rules(denied=["x"])
    assert version_of(None) == "none"
    assert version_of(forgets_to_wait) == "forgets_to_wait"  # type: ignore[arg-type]
    assert version_of(rules) != version_of(Rules(denied=["y"]))
    both = all_of(rules, forgets_to_wait)  # type: ignore[arg-type]
    assert version_of(both) == f"{rules.version}, forgets_to_wait"
    assert fault(both) is None


# --- built-in rules ---


@pytest.mark.parametrize(
    ("tool", "level", "code"),
    [
        ("orders.list", "2", Code.OK),
        ("orders.delete", "4", Code.TOOL_POLICY_DENIED),  # denied, though allowed too
        ("users.list", "4", Code.TOOL_POLICY_DENIED),  # not allowed
        ("Orders.list", "4", Code.TOOL_POLICY_DENIED),  # case counts
        ("orders.refund", "2", Code.TOOL_TRUST_INSUFFICIENT),
        ("orders.refund", "3", Code.OK),
        ("orders.refund.all", "3", Code.TOOL_TRUST_INSUFFICIENT),  # the highest level counts
        ("orders.refund.all", "4", Code.OK),
        (None, "1", Code.OK),
        (7, "4", Code.TOOL_POLICY_DENIED),  # no name that a pattern could leave out
        ("", "4", Code.TOOL_POLICY_DENIED),
    ],
)
def test_rules_by_name_and_level(tool: Any, level: str, code: Code) -> None:
    """Asked twice, for the answer is kept."""
    scene = Scene()
    rules = Rules(
        allowed=["orders.*"],
        denied=["*.delete"],
        levels={"orders.refund*": 3, "*.all": 4, "orders.*": 1},
    )
    guard, badge = scene.guard(policy=rules), scene.issuer.badge(level)
    assert [guard.check(badge, tool=tool).code for _ in range(2)] == [code] * 2


def test_what_is_kept_of_names_is_bounded() -> None:
    """Callers choose names."""
    scene, rules = Scene(), Rules(denied=["x"])
    guard, badge = scene.guard(policy=rules), scene.issuer.badge()
    for number in range(3 * MAX_KNOWN_TOOLS):
        guard.check(badge, tool=f"tool {number}")
        guard.check(badge, tool="y" * 1000 + str(number))
    assert len(rules._known) <= MAX_KNOWN_TOOLS
    assert max(map(len, rules._known)) < 100


def test_a_denial_quotes_a_name_harmlessly() -> None:
    """It is the caller's text."""
    scene = Scene()
    guard = scene.guard(policy=Rules(allowed=["x"]))
    reason = guard.check(scene.issuer.badge(), tool="\x1b[2J" + "y" * 5000).reason
    assert reason.isprintable()
    assert len(reason) < 150


@pytest.mark.parametrize(
    "options",
    [
        {"allowed": "orders.*"},
        {"denied": [""]},
        {"denied": [3]},
        {"levels": {"x": 5}},
        {"levels": {"x": "3"}},
        {"levels": {"x": True}},
        {"levels": {"": 3}},
    ],
)
def test_rules_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    """One text instead of a list would be a pattern for each of its letters."""
    with pytest.raises(BadGuard, match="tool"):
        Rules(**options)


# --- enforcement modes ---


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.mode)
def test_the_table_of_modes_is_what_the_guard_does(row: Row) -> None:
    """A refusal that does not hold in a mode is recorded, and the call passes."""
    scene = Scene()
    mode: Any = {"enforcement_mode": row.mode}
    expired = scene.issuer.badge(exp=NOW - 100, iat=NOW - 300)
    assert bool(scene.guard(**mode).check(expired)) == (not row.badge)
    policies: list[tuple[Any, bool, Code]] = [
        (lambda *_: "no", row.policy, Code.TOOL_POLICY_DENIED),
        (lambda *_: 1 / 0, row.broken, Code.TOOL_POLICY_FAILED),
    ]
    for policy, holds, code in policies:
        decision = scene.guard(policy=policy, **mode).check(scene.issuer.badge())
        assert (bool(decision), decision.code) == (not holds, code)
        if decision:
            assert decision.warnings == (f"{row.mode}: would deny: {decision.reason}",)
    asked = Ruling(obligations=("redact",))
    decision = scene.guard(policy=lambda *_: asked, **mode).check(scene.issuer.badge())
    assert bool(decision) == (not row.obligation)


def test_only_observe_passes_what_a_policy_could_not_decide() -> None:
    """A folder without a policy that loads has denied nothing yet, and might have denied all."""
    assert [row.mode for row in TABLE if not row.broken] == [Enforcement.OBSERVE]


def test_observing_badges_observes_policy_too() -> None:
    """`mode = "observe"` is for rolling out: nothing but a known kill denies."""
    scene = Scene()
    guard = scene.guard(rule=Rule(Mode.OBSERVE), policy=lambda *_: "no")
    assert guard.check(scene.issuer.badge()).warnings == ("observe: would deny: no",)


@pytest.mark.parametrize("said", ["EM-GUARD", "em-guard", "guard", "Guard"])
def test_a_mode_is_named_in_any_case_with_or_without_prefix(said: str) -> None:
    """As the reference reads it."""
    assert row_of(said).mode is Enforcement.GUARD


@pytest.mark.parametrize("said", ["", "EM-", "EM-LOG", "EM-EM-GUARD", None, "off"])
def test_an_invalid_mode_is_an_error(said: Any) -> None:
    """Never a default that is weaker than what was meant."""
    with pytest.raises(BadGuard, match="is none of EM-OBSERVE, EM-GUARD"):
        Scene().guard(enforcement_mode=said)
