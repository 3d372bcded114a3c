"""A fabric's folder, and a way to run commands in this process."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rescind import home
from rescind.cli.main import cli

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("RESCIND_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A fabric's folder, as `rescind up` makes it; nothing listens on its port."""
    made = tmp_path / "home"
    home.create(made, fabric="default", publisher="local", port=1, now=int(time.time()))
    return made


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on that folder; what stands in `given` comes on standard input."""
    monkeypatch.setenv("RESCIND_HOME", str(folder))

    def call(*words: str, given: str | bytes = "") -> Result:
        return CliRunner().invoke(cli, list(words), input=given)

    return call


def error_of(result: Result) -> str:
    """Return the one sentence on stderr; nothing else may stand there."""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")
