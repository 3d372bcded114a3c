"""Policy from settings: what reaches the guard, what is refused, what `config check` says."""

import re
from pathlib import Path
from typing import Any

import pytest

from rescind import config, policies
from rescind.cli import checks
from rescind.errors import BadConfig
from rescind_guard.badges import Claims
from rescind_guard.policy import Ruling, fault, version_of
from tests.fakes.badges import Scene
from tests.fakes.policies import folder


def policy_of(home: Path, settings: str, own: Any = None, **env: str) -> Any:
    """Make the policy of a settings file."""
    (home / "rescind.toml").write_text(settings)
    return policies.make(config.load(env={"RESCIND_HOME": str(home)} | env), own)


def says(policy: Any, tool: str, level: str = "2") -> str | None:
    """Return why a good badge may not call this tool, None if it may."""
    scene = Scene()
    decision = scene.guard(policy=policy).check(scene.issuer.badge(level), tool=tool)
    return None if decision else decision.reason


def test_without_settings_there_is_no_policy(tmp_path: Path) -> None:
    """And no cost."""
    assert policy_of(tmp_path, "") is None


def test_rules_come_from_the_file(tmp_path: Path) -> None:
    """Lists and a table."""
    policy = policy_of(
        tmp_path,
        'tools_allowed = ["a.*"]\ntools_denied = ["a.x"]\ntool_levels = {"a.y" = 3}\n',
    )
    assert says(policy, "a.b") is None
    assert says(policy, "a.x") == "tool 'a.x' is not allowed here"
    assert says(policy, "b") == "tool 'b' is not allowed here"
    assert says(policy, "a.y") == "trust level 2; tool 'a.y' needs 3"


def test_rules_come_from_variables(tmp_path: Path) -> None:
    """Commas between names, and between pattern=level."""
    env = {"RESCIND_TOOLS_DENIED": "a, b", "RESCIND_TOOL_LEVELS": "c=3, d*=4"}
    policy = policy_of(tmp_path, "", **env)
    assert says(policy, "b") is not None
    assert says(policy, "c", "3") is None
    assert says(policy, "dd", "3") == "trust level 3; tool 'dd' needs 4"


def test_rules_rego_and_a_function_are_all_asked(tmp_path: Path) -> None:
    """The folder is relative to the file that says it; each of the three may deny."""
    folder(tmp_path / "rules")

    def own(_: Claims, tool: str | None) -> str | Ruling | None:
        return "not on my watch" if tool == "c" else None

    policy = policy_of(tmp_path, 'tools_denied = ["a"]\npolicy_folder = "rules"\n', own)
    assert says(policy, "a") == "tool 'a' is not allowed here"
    assert says(policy, "admin.b") == "level too low, or a tool of administrators"
    assert says(policy, "c") == "not on my watch"
    assert says(policy, "d") is None
    assert version_of(policy).count(",") == 2


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ('tool_levels = {"a" = 5}\n', "setting tool_levels: 'a' needs a level from 0 to 4, not 5"),
        ('tools_denied = [""]\n', "setting tools_denied must be a list of patterns"),
        ('tools_denied = "a"\n', r"setting 'tools_denied' .*Expected `array`"),
    ],
)
def test_rules_that_cannot_work_are_refused(tmp_path: Path, settings: str, sentence: str) -> None:
    """With the setting's name."""
    with pytest.raises(BadConfig, match=sentence):
        policy_of(tmp_path, settings)


def test_levels_without_a_level_are_refused(tmp_path: Path) -> None:
    """The variable's form is said."""
    with pytest.raises(BadConfig, match="RESCIND_TOOL_LEVELS: write pattern=level"):
        policy_of(tmp_path, "", RESCIND_TOOL_LEVELS="refund")


@pytest.mark.parametrize(
    ("env", "mode"),
    [
        ({}, "EM-STRICT"),
        ({"RESCIND_ENFORCEMENT_MODE": "guard"}, "EM-GUARD"),
        ({"CAPISCIO_ENFORCEMENT_MODE": "em-delegate"}, "EM-DELEGATE"),
        ({"CAPISCIO_ENFORCEMENT_MODE": "guard", "RESCIND_ENFORCEMENT_MODE": "strict"}, "EM-STRICT"),
    ],
)
def test_the_enforcement_mode_may_be_the_references(env: dict[str, str], mode: str) -> None:
    """Ours wins; the default is the strictest."""
    assert policies.enforcement_mode(config.load(env=env | {"HOME": "/nowhere"})) == mode


@pytest.mark.parametrize("variable", ["RESCIND_ENFORCEMENT_MODE", "CAPISCIO_ENFORCEMENT_MODE"])
def test_an_invalid_mode_is_an_error(variable: str) -> None:
    """Not a weaker default."""
    loaded = config.load(env={variable: "EM-NONE", "HOME": "/nowhere"})
    with pytest.raises(BadConfig, match=r"setting 'enforcement_mode': .*'EM-NONE' is none of"):
        policies.enforcement_mode(loaded)


def test_a_folder_that_cannot_be_used_is_a_fault_and_no_error(tmp_path: Path) -> None:
    """The service starts, denies every call, and `config check` says why."""
    loaded = config.load({"policy_folder": "nowhere"}, {"RESCIND_HOME": str(tmp_path)})
    policy = policies.make(loaded)
    assert says(policy, "a") == "policy could not be evaluated"
    assert "nowhere cannot be read: No such file" in (fault(policy) or "")
    line = checks.policy_line(loaded)
    assert not line.ok
    assert re.match("every call is denied: .*nowhere cannot be read: No such file", line.detail)


def test_the_check_names_policy_and_mode(tmp_path: Path) -> None:
    """So that a host's policy can be told from another's."""
    env = {"RESCIND_HOME": str(tmp_path)}
    assert checks.policy_line(config.load(env=env)).detail == "none: every tool may be called"
    folder(tmp_path / "policy")
    line = checks.policy_line(config.load({"policy_folder": "policy"}, env))
    assert line.ok
    assert line.detail.startswith("rego:")
    assert line.detail.endswith(", EM-STRICT")
