"""The decision log from settings: where it goes, what is refused, that a sidecar runs it."""

from pathlib import Path

import pytest

from rescind import config, recording
from rescind.errors import BadConfig
from rescind_guard.decision import Decision
from rescind_guard.rules import Rules
from tests.fakes.badges import Scene
from tests.fakes.decision_log import lines


def loaded(home: Path, text: str = "", **env: str) -> config.Loaded:
    """Load settings."""
    (home / "rescind.toml").write_text(text)
    return config.load(env={"RESCIND_HOME": str(home)} | env)


def test_without_the_setting_there_is_no_log(tmp_path: Path) -> None:
    """And no thread."""
    assert recording.make(loaded(tmp_path), None) is None


def test_a_file_is_relative_to_the_settings(tmp_path: Path) -> None:
    """A record names policy and service; a recorder of one's own is called too."""
    policy, own = Rules(denied=["x"]), list[Decision]()
    settings = loaded(tmp_path, 'decision_log = "decisions.log"\naudience = "orders"\n')
    log = recording.make(settings, policy)
    assert log is not None
    scene = Scene()
    recorder = recording.both(lambda decision, *_: own.append(decision), log)
    log.start()
    decision = scene.guard(recorder=recorder).check(scene.issuer.badge())
    log.stop()
    (found,) = lines(tmp_path / "decisions.log")
    assert found["capiscio.target"] == "orders"
    assert found["capiscio.policy_version"] == policy.version
    assert own == [decision]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_standard_stream_gets_lines(
    tmp_path: Path, stream: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also where the settings are not in the fabric's folder."""
    other = tmp_path / "etc"
    other.mkdir()
    (other / "r.toml").write_text(f'decision_log = "{stream}"\n')
    log = recording.make(loaded(tmp_path, RESCIND_CONFIG=str(other / "r.toml")), None)
    assert log is not None
    log.start()
    Scene().guard(recorder=log).check(None)
    log.stop()
    said = capfd.readouterr()
    assert '"rescind.code":"TOOL_AUTH_MISSING"' in (said.out if stream == "stdout" else said.err)


@pytest.mark.parametrize(
    ("where", "says"), [("no/such/folder", "No such file"), (".", "Is a directory")]
)
def test_a_log_that_cannot_be_written_is_an_error(tmp_path: Path, where: str, says: str) -> None:
    """At the start, with the setting's name."""
    with pytest.raises(BadConfig, match=f"setting 'decision_log': .*{says}"):
        recording.make(loaded(tmp_path, f'decision_log = "{where}"\n'), None)
