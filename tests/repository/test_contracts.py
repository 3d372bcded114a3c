"""The import contracts hold, and each of them bites."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOTS = {"rescind": ".", "rescind_publisher": "publisher", "rescind_subscriber": "subscriber"}
ROOTS |= {"rescind_registry": "registry"}
ROOTS |= {"rescind_guard": "guard", "rescind_protocol": "protocol"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Give a copy of the packages and of the contracts, to break."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package, folder in ROOTS.items():
        shutil.copytree(
            ROOT / folder / package,
            tmp_path / folder / package,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    return tmp_path


def contracts(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter over the packages of this tree, not over the installed ones."""
    path = os.pathsep.join(str(tree / folder) for folder in ROOTS.values())
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_contracts_hold(tree: Path) -> None:
    """As committed, no contract is broken."""
    answer = contracts(tree)
    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize(
    ("module", "imported", "contract"),
    [
        ("protocol/rescind_protocol", "rescind_guard", "Roles import one way"),
        ("guard/rescind_guard", "rescind_subscriber", "Roles import one way"),
        ("subscriber/rescind_subscriber", "rescind_publisher", "Roles import one way"),
        ("publisher/rescind_publisher", "rescind_registry", "Roles import one way"),
        ("registry/rescind_registry", "rescind", "Roles import one way"),
        ("protocol/rescind_protocol", "socket", "The protocol does no I/O"),
        ("protocol/rescind_protocol", "time", "The protocol does no I/O"),
        ("protocol/rescind_protocol", "redis", "The protocol does no I/O"),
        ("guard/rescind_guard", "nats", "The guard knows no transport and no store"),
        ("guard/rescind_guard", "httpcore2", "The guard knows no transport and no store"),
        ("guard/rescind_guard", "redis", "The guard knows no transport and no store"),
        ("publisher/rescind_publisher", "litestar", "The web framework stays in the registry"),
    ],
)
def test_contract_bites(tree: Path, module: str, imported: str, contract: str) -> None:
    """One import in the wrong direction breaks the contract that forbids it."""
    (tree / module / "probe.py").write_text(f"import {imported}\n")
    answer = contracts(tree)
    assert answer.returncode == 1
    assert f"{contract} BROKEN" in answer.stdout
