"""Policy in Rego: what it is asked, what counts as an answer, and one interpreter a thread."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from regopy.rego_shared import rego as shared

from rescind_guard import Code, Outcome, policy_files, rego_engine
from rescind_guard.decision import Decision
from rescind_guard.enforcement import Enforcement
from rescind_guard.policy import PolicyFailed, all_of, fault, trouble, version_of
from rescind_guard.policy_files import MAX_DATA_BYTES, Modules
from rescind_guard.rego import Rego
from rescind_protocol import targets
from tests.fakes.badges import AGENT, Scene, read_jti
from tests.fakes.policies import BROKEN, LEVEL_3, SMALL, folder

ECHO = """
package capiscio.policy
import rego.v1
decision := "DENY"
reason := json.marshal(input)
"""


def decide(
    path: Path, source: str, *, level: str = "2", tool: str | None = "search", **options: Any
) -> Decision:
    """Decide one call under this policy, of a badge of this level."""
    scene = Scene()
    policy = Rego(folder(path, source), clock=scene.clock)
    return scene.guard(policy=policy, **options).check(scene.issuer.badge(level), tool=tool)


@pytest.mark.parametrize(
    ("level", "tool", "code"),
    [
        ("2", "search", Code.OK),
        ("4", None, Code.OK),
        ("1", "search", Code.TOOL_POLICY_DENIED),
        ("4", "admin.drop", Code.TOOL_POLICY_DENIED),
    ],
)
def test_a_small_policy_decides(tmp_path: Path, level: str, tool: str | None, code: Code) -> None:
    """By level and tool; the reason is the policy's, and each decision has an id."""
    decision = decide(tmp_path, SMALL, level=level, tool=tool)
    assert decision.code is code
    assert len(decision.decision_id or "") == 36
    assert (decision.reason == "level too low, or a tool of administrators") == (not decision)


def test_the_input_is_the_reference_document(tmp_path: Path) -> None:
    """`capiscio.pip.v1`: what is not set is absent."""
    scene = Scene()
    policy = Rego(
        folder(tmp_path, ECHO),
        enforcement_mode="strict",
        audience="orders",
        clock=scene.clock,
    )
    badge = scene.issuer.badge("3")
    guard = scene.guard(policy=policy)
    said = msgspec.json.decode(guard.check(badge, tool="refund").reason)
    txn_id = said["context"].pop("txn_id")
    assert len(txn_id) == 36
    assert said == {
        "pip_version": "capiscio.pip.v1",
        "subject": {"did": AGENT, "badge_jti": read_jti(badge), "ial": "0", "trust_level": "3"},
        "action": {"operation": "refund", "mcp_tool": "refund"},
        "resource": {"identifier": "orders"},
        "context": {"enforcement_mode": "EM-STRICT"},
        "environment": {"time": said["environment"]["time"]},
    }
    other = msgspec.json.decode(guard.check(badge).reason)
    assert other["action"] == {"operation": ""}
    assert other["context"]["txn_id"] != txn_id


@pytest.mark.parametrize("says", BROKEN)
def test_a_policy_without_an_answer_denies(tmp_path: Path, says: str) -> None:
    """With a code of its own; the caller gets no word of why, operators do."""
    decision = decide(tmp_path, BROKEN[says])
    assert (decision.outcome, decision.code) == (Outcome.DENY, Code.TOOL_POLICY_FAILED)
    assert decision.reason == "policy could not be evaluated"
    assert says in (decision.reason_admin or "")
    assert says not in repr(decision)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path / "nowhere", "nowhere cannot be read: No such file"),
        (lambda path: folder(path / "y.rego").parent, "y.rego cannot be read: Is a dir"),
        (lambda path: folder(path, data_json="{"), "data.json in"),
        (lambda path: folder(path, data_json="[1]"), "not a JSON object"),
        (lambda path: folder(path, data_json='{"a":1,"a":2}'), "'a' stands twice"),
        (lambda path: folder(path, data_json='{"a":NaN}'), "NaN is not a JSON value"),
        (lambda path: folder(path, data_json='{"a":1e999}'), "1e999 is out of range"),
        (lambda path: folder(path, data_json=f'{{"x":"{"y" * MAX_DATA_BYTES}"}}'), "every call"),
        (lambda path: folder(path, SMALL + "#" * 2**20), "over a megabyte"),
    ],
)
def test_a_folder_that_cannot_be_used_denies_and_says_why(
    tmp_path: Path, make: Callable[[Path], Path], says: str
) -> None:
    """The guard is built, and no call passes."""
    scene = Scene()
    policy = Rego(make(tmp_path))
    assert says in (policy.fault or "")
    assert policy.version == "rego:none"
    decision = scene.guard(policy=policy).check(scene.issuer.badge(), tool="search")
    assert (decision.outcome, decision.code) == (Outcome.DENY, Code.TOOL_POLICY_FAILED)
    assert says in (decision.reason_admin or "")


@pytest.mark.parametrize("literal", ["1E5", "1e5", "100000.0", "1.0e+5", "10.00E4"])
def test_a_number_of_the_data_may_be_written_in_any_way(tmp_path: Path, literal: str) -> None:
    """The library reads no exponent, and said only that the policy does not compile."""
    source = (
        'package capiscio.policy\nimport rego.v1\ndefault decision := "DENY"\n'
        'decision := "ALLOW" if data.limit == 100000'
    )
    scene = Scene()
    policy = Rego(folder(tmp_path, source, data_json=f'{{"limit":{literal}}}'))
    assert scene.guard(policy=policy).check(scene.issuer.badge())


def test_data_that_is_not_taken_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not the policy beside it."""
    monkeypatch.setattr(policy_files, "_in_fixed_notation", lambda value: value)
    policy = Rego(folder(tmp_path, data_json='{"limit":1E5}'))
    assert "data.json is not taken" in str(policy.fault)


def test_data_beside_the_policy_is_looked_up_and_tests_are_left_out(tmp_path: Path) -> None:
    """`data.json` is there; `*_test.rego` is not compiled; the version follows the contents."""
    source = (
        'package capiscio.policy\nimport rego.v1\ndefault decision := "DENY"\n'
        'decision := "ALLOW" if input.action.mcp_tool in data.tools'
    )
    more = {"data_json": '{"tools":["search"]}', "policy_test_rego": "x"}
    path = folder(tmp_path, source, **more)
    (path / "policy_test.rego").write_text("this is no Rego {")
    scene, policy = Scene(), Rego(path)
    guard, badge = scene.guard(policy=policy), scene.issuer.badge()
    assert guard.check(badge, tool="search")
    assert not guard.check(badge, tool="refund")
    folder(path, source, data_json='{"tools":["refund"]}')
    assert Rego(path).version != policy.version


def test_a_name_that_the_interpreter_would_cut_off_is_denied(tmp_path: Path) -> None:
    """`search` may be called; `search`, NUL, `drop` is another tool, and would look like it."""
    source = 'package capiscio.policy\nimport rego.v1\ndefault decision := "DENY"\n'
    source += 'decision := "ALLOW" if input.action.mcp_tool == "search"'
    assert decide(tmp_path, source, tool="search")
    assert decide(tmp_path, source, tool="search\0drop").code is Code.TOOL_POLICY_FAILED
    assert decide(tmp_path, source, tool="search\ud800").code is Code.TOOL_POLICY_FAILED


OBLIGED = """
package capiscio.policy
import rego.v1
decision := "ALLOW"
obligations := [{"type": "redact", "params": {"fields": ["iban"]}}]
"""


@pytest.mark.parametrize("mode", Enforcement)
def test_a_condition_that_nobody_fulfils(tmp_path: Path, mode: Enforcement) -> None:
    """It denies in EM-STRICT (RFC-005 §7.3), and is noted in every other mode."""
    decision = decide(tmp_path, OBLIGED, enforcement_mode=mode)
    assert bool(decision) == (mode is not Enforcement.STRICT)
    said = (decision.reason, *decision.warnings)
    assert any("'redact', which is not done here" in each for each in said)


def crossed_answers(policy: Rego, calls: int = 400) -> int:
    """Ask from four threads, half of them level 1, half level 3; return the wrong answers."""
    scene, wrong = Scene(), []
    guard = scene.guard(policy=policy)
    badges = {level: scene.issuer.badge(level) for level in ("1", "3")}
    begin = threading.Barrier(4)

    def ask(level: str) -> None:
        begin.wait()
        for _ in range(calls):
            decision = guard.check(badges[level], tool="search")
            if bool(decision) != (level == "3"):
                wrong.append(decision)

    threads = [threading.Thread(target=ask, args=(level,)) for level in ("1", "3") * 2]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    return len(wrong)


def test_threads_do_not_get_each_others_answers(tmp_path: Path) -> None:
    """One interpreter a thread."""
    assert crossed_answers(Rego(folder(tmp_path, LEVEL_3))) == 0


def test_a_shared_interpreter_would_mix_answers_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same with one interpreter for all: or the test above could not fail."""
    monkeypatch.setattr(rego_engine, "_c", OneAtATime())
    policy = Rego(folder(tmp_path, LEVEL_3))
    policy._local = SimpleNamespace(  # type: ignore[assignment]
        evaluate=rego_engine.load(policy._in_force.modules), generation=1
    )
    assert crossed_answers(policy) > 0


class OneAtATime:
    """The library's functions; each call has it for itself, so that sharing is no data race."""

    def __init__(self) -> None:
        self.alone = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Any:
            with self.alone:
                return getattr(shared, name)(*args)

        return call


def test_a_policy_that_allows_everything_allows_no_killed_badge(tmp_path: Path) -> None:
    """I3: a kill is found before the policy, which is not even asked."""
    scene = Scene()
    source = 'package capiscio.policy\ndecision := "ALLOW"'
    guard = scene.guard(policy=Rego(folder(tmp_path, source)), enforcement_mode="EM-OBSERVE")
    badge = scene.issuer.badge()
    assert guard.check(badge, tool="search")
    scene.revocations.kill(targets.agent(AGENT))
    assert guard.check(badge, tool="search").code is Code.BADGE_REVOKED


def saying(reason: str) -> Modules:
    """Return a policy that denies everybody, for this reason."""
    source = f'package capiscio.policy\ndecision := "DENY"\nreason := "{reason}"'
    return Modules((("policy.rego", source),), None, revision=reason)


def test_every_thread_follows_a_swap_at_its_next_call() -> None:
    """Each call is answered by the old policy or by the new one, and from the swap on by the new.

    The threads compile while others ask; none waits, and none is answered by nobody.
    """
    policy, scene = Rego(), Scene()
    policy.take(saying("0"))
    guard, badge = scene.guard(policy=policy), scene.issuer.badge()
    swaps, wrong = 20, []
    said = [0]
    """The number of the swap that has returned."""

    def ask() -> None:
        while said[0] < swaps:
            first = said[0]
            decision = guard.check(badge, tool="search")
            if decision.code is not Code.TOOL_POLICY_DENIED or int(decision.reason) < first:
                wrong.append(decision)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, swaps + 1):
            policy.take(saying(str(number)))
            said[0] = number
    finally:
        said[0] = swaps  # or nobody would stop asking
        for thread in threads:
            thread.join()
    assert wrong == []
    assert guard.check(badge, tool="search").reason == str(swaps)


def test_a_policy_that_fails_when_it_is_tried_changes_nothing() -> None:
    """`take` raises; version, answer and generation stay."""
    policy, scene = Rego(), Scene()
    policy.take(saying("first"))
    before = policy._in_force
    for source in BROKEN.values():
        with pytest.raises(PolicyFailed):
            policy.take(Modules((("policy.rego", source),), None))
    assert policy._in_force is before
    assert policy.version == f"rego:{saying('first').digest}@first"
    decision = scene.guard(policy=policy).check(scene.issuer.badge(), tool="search")
    assert decision.reason == "first"


def test_evidence_names_the_policy_that_was_in_force(tmp_path: Path) -> None:
    """A part of several, too: what is asked for is looked up each time."""
    policy = Rego(folder(tmp_path))
    both = all_of(policy, lambda *_: None)
    before = version_of(both)
    policy.take(saying("second"))
    assert version_of(both) != before
    policy.fail("the newest does not compile")
    assert trouble(both) == "the newest does not compile"
    assert fault(both) is None
