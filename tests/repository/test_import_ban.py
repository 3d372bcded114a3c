"""Folder = role, package = rescind_<role>: the folder's name is never imported.

An editable install puts the top of the source tree on the path, so `import guard.rescind_guard`
would work there (a namespace package), and its classes would not be those of `rescind_guard`.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("protocol", "guard", "subscriber", "publisher", "registry")


def refused(statement: str) -> bool:
    """Whether the project's own lint settings refuse this import (TID251)."""
    command = [sys.executable, "-m", "ruff", "check", "--output-format=concise", "-"]
    answer = subprocess.run(
        [*command, "--select=TID251", "--stdin-filename=guard/rescind_guard/probe.py"],
        input=statement + "\n",
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert answer.returncode in (0, 1), answer.stderr
    return "TID251" in answer.stdout


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize(
    "statement",
    [
        "import {0}.rescind_{0}",
        "from {0} import rescind_{0}",
        "from {0}.rescind_{0}.errors import X",
    ],
)
def test_folder_name_is_refused_in_imports(folder: str, statement: str) -> None:
    """Reaching a package through its role's folder is a lint error."""
    assert refused(statement.format(folder))


@pytest.mark.parametrize("folder", FOLDERS)
def test_package_name_is_allowed_in_imports(folder: str) -> None:
    """Control: the one right name passes, so the ban does not simply refuse everything."""
    assert not refused(f"from rescind_{folder}.errors import X")


def test_second_name_would_make_a_second_class() -> None:
    """Control: without the ban the wrong name imports, and yields classes that are not equal."""
    program = (
        "from protocol.rescind_protocol.errors import Malformed as second\n"
        "from rescind_protocol.errors import Malformed as first\n"
        "print(first is second)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert answer.stdout.strip() == "False"
