"""The demo's command line, before anything is started."""

import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from rescind.demo.command import demo


def test_too_few_subscribers() -> None:
    """Servers, one subscriber to stop and one to stay: fewer are refused with the reason."""
    done = CliRunner().invoke(demo, ["--servers", "5", "--subscribers", "6"])
    assert done.exit_code == 2
    assert "5 servers need 7 subscribers at least" in done.output


def test_keeps_no_other_fabric(tmp_path: Path) -> None:
    """A folder that holds a fabric is left alone."""
    (tmp_path / "rescind.toml").write_text("fabric = 'mine'\n")
    done = CliRunner().invoke(demo, ["--keep", str(tmp_path), "--no-color"])
    assert done.exit_code == 2
    assert "holds a fabric already" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["rescind.toml"]


def test_help_is_light() -> None:
    """The command can be listed without loading what draws, transports or publishes."""
    heavy = ("rich", "nats", "mcp", "msgspec", "rescind_publisher")
    program = f"import sys, rescind.demo.command; print([m for m in {heavy!r} if m in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
