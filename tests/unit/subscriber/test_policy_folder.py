"""A policy folder that changes: what is taken, when, and what stays in force."""

from pathlib import Path

import pytest

from rescind_guard import Code
from rescind_guard.guard import Guard
from rescind_guard.rego import Rego
from rescind_subscriber.policies.folder import FolderSource
from rescind_subscriber.policies.keeper import PolicyKeeper
from tests.fakes.badges import Scene
from tests.fakes.policies import BROKEN, folder, shut
from tests.fakes.policy_bundles import ALLOWS, DENIES, saying

LISTED = """package capiscio.policy
import rego.v1
default decision := "ALLOW"
decision := "DENY" if input.action.mcp_tool in denied
denied contains "none"
"""


class Kept:
    """A folder, a policy from it, and a guard that asks it."""

    def __init__(self, path: Path) -> None:
        self.policy = Rego()
        self.keeper = PolicyKeeper(self.policy, FolderSource(path))
        self.keeper.load()
        scene = Scene()
        self.guard: Guard = scene.guard(policy=self.policy)
        self._badge = scene.issuer.badge()

    def looks(self, times: int = 2) -> None:
        """Look so often; a change counts when it was seen twice."""
        for _ in range(times):
            self.keeper.step()

    def code(self) -> Code:
        """What a call gets."""
        return self.guard.check(self._badge, tool="search").code

    @property
    def gauges(self) -> list[float]:
        """`policy_ready` and `policy_current`."""
        found = {each.metric.name: each.values for each in self.guard.metrics()}
        names = ("rescind_guard_policy_ready", "rescind_guard_policy_current")
        return [found[name][""] for name in names]


def test_a_changed_folder_is_in_force_without_a_restart(tmp_path: Path) -> None:
    """For the next call of a thread that has asked the old one already."""
    kept = Kept(folder(tmp_path, ALLOWS))
    before = kept.policy.version
    assert kept.code() is Code.OK
    folder(tmp_path, DENIES)
    kept.looks()
    assert kept.code() is Code.TOOL_POLICY_DENIED
    assert kept.policy.version != before
    folder(tmp_path, ALLOWS)
    kept.looks()
    assert (kept.code(), kept.policy.version) == (Code.OK, before)


def test_a_folder_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    """It counts when two looks in succession see the same."""
    kept = Kept(folder(tmp_path, DENIES))
    for number in range(3):
        folder(tmp_path, f"{ALLOWS}# {number}\n")
        kept.looks(1)
        assert kept.code() is Code.TOOL_POLICY_DENIED
    kept.looks(1)
    assert kept.code() is Code.OK


@pytest.mark.parametrize("says", BROKEN)
def test_a_broken_update_leaves_the_last_good_policy_in_force(tmp_path: Path, says: str) -> None:
    """It says why for as long as it lies there, and both ways: what was denied stays denied."""
    kept = Kept(folder(tmp_path, DENIES))
    folder(tmp_path, BROKEN[says])
    kept.looks(4)
    assert kept.code() is Code.TOOL_POLICY_DENIED
    assert kept.policy.fault is None
    assert says in (kept.policy.trouble or "")
    assert kept.gauges == [1, 0]
    folder(tmp_path, ALLOWS)
    kept.looks()
    assert (kept.code(), kept.gauges) == (Code.OK, [1, 1])


def test_an_update_that_was_not_tried_first_would_deny_everybody(tmp_path: Path) -> None:
    """The control: the same broken policy in force answers nobody."""
    policy = Rego(folder(tmp_path, BROKEN["does not compile"]))
    scene = Scene()
    decision = scene.guard(policy=policy).check(scene.issuer.badge(), tool="search")
    assert decision.code is Code.TOOL_POLICY_FAILED


def test_a_policy_that_is_removed_is_not_gone(tmp_path: Path) -> None:
    """To delete it allows nothing."""
    kept = Kept(folder(tmp_path / "policy", DENIES))
    (tmp_path / "policy" / "policy.rego").unlink()
    kept.looks(3)
    assert kept.code() is Code.TOOL_POLICY_DENIED
    assert "there is no .rego file" in (kept.policy.trouble or "")
    (tmp_path / "policy").rmdir()
    kept.looks(3)
    assert kept.code() is Code.TOOL_POLICY_DENIED


def test_without_a_policy_every_call_is_denied_until_there_is_one(tmp_path: Path) -> None:
    """A folder that is filled after the start needs no restart."""
    kept = Kept(tmp_path / "policy")
    assert (kept.code(), kept.gauges) == (Code.TOOL_POLICY_FAILED, [0, 0])
    kept.looks()
    assert kept.code() is Code.TOOL_POLICY_FAILED
    folder(tmp_path / "policy", ALLOWS)
    kept.looks()
    assert (kept.code(), kept.gauges) == (Code.OK, [1, 1])


def test_hidden_files_are_no_policy(tmp_path: Path) -> None:
    """A mounted volume keeps its versions in hidden folders, and links to one of them."""
    version = folder(tmp_path / "..2026_11_23", saying("ALLOW", "linked"))
    (tmp_path / "policy.rego").symlink_to(version / "policy.rego")
    (tmp_path / ".policy.rego.swp.rego").write_text("x {")
    kept = Kept(tmp_path)
    assert (kept.code(), kept.policy.fault) == (Code.OK, None)


def test_a_subfolder_that_cannot_be_listed_takes_no_rule_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule in it goes on denying, the reason shows, and it heals by itself."""
    below = rules_apart(tmp_path, monkeypatch)
    kept = Kept(Path())
    assert kept.code() is Code.TOOL_POLICY_DENIED
    with shut(below):
        kept.looks(3)
    assert kept.code() is Code.TOOL_POLICY_DENIED
    assert "deny cannot be read: Permission denied" in (kept.policy.trouble or "")
    kept.looks(3)
    assert (kept.code(), kept.policy.trouble) == (Code.TOOL_POLICY_DENIED, None)
    (below / "rules.rego").unlink()
    kept.looks(3)
    assert kept.code() is Code.OK  # the control: this is what would be allowed without the rule


def test_a_start_with_a_subfolder_that_cannot_be_listed_denies_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a policy is none. A hidden folder is no part of it, and may be shut."""
    with shut(rules_apart(tmp_path, monkeypatch)):
        kept = Kept(Path())
    assert kept.code() is Code.TOOL_POLICY_FAILED
    assert "deny cannot be read: Permission denied" in (kept.policy.fault or "")
    hidden = (tmp_path / "deny").rename(tmp_path / ".git")
    with shut(hidden):
        kept = Kept(Path())
    assert (kept.code(), kept.policy.fault) == (Code.OK, None)


def rules_apart(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a policy into the working directory, its rule that denies below; return where."""
    folder(path, LISTED)
    (path / "deny").mkdir()
    (path / "deny" / "rules.rego").write_text(
        'package capiscio.policy\nimport rego.v1\ndenied contains "search"\n'
    )
    path.chmod(0o755)
    monkeypatch.chdir(path)  # above it anybody else need not get through
    return path / "deny"


def test_the_metrics_are_there_without_a_policy() -> None:
    """An alarm on a series that is missing would never ring."""
    found = {each.metric.name: each.values for each in Scene().guard().metrics()}
    assert found["rescind_guard_policy_current"] == {"": 1}
