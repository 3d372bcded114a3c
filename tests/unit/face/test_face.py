"""The face: `import rescind` is light, and gives every name it promises."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rescind

NAMES: list[str] = vars(rescind)["__all__"]
HEAVY = (
    *("nats", "redis", "mcp", "starlette", "sqlite3", "nacl", "cryptography", "msgspec", "rich"),
    *("litestar", "uvicorn", "httpx2", "rescind_registry"),
)


def test_import_loads_no_transport_and_no_framework() -> None:
    """`import rescind` alone loads no transport, no web framework and no library of ours."""
    program = f"import sys, rescind; print([m for m in {HEAVY!r} if m in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_using_the_guard_loads_no_transport() -> None:
    """A guard loads neither NATS nor MCP."""
    program = (
        "import sys, rescind; rescind.Guard; print([m for m in ('nats','mcp') if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_a_sidecar_loads_no_publisher() -> None:
    """A process that only guards loads nothing of what says kill."""
    program = (
        "import sys, rescind; rescind.Sidecar; "
        "print([m for m in sys.modules if m.startswith('rescind_publisher')])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_there(name: str) -> None:
    """Every promised name can be had."""
    assert getattr(rescind, name).__name__ == name


def test_type_checkers_see_the_same_names() -> None:
    """The stub lists exactly the names that the module gives."""
    stub = Path(rescind.__file__).with_suffix(".pyi").read_text("utf-8")
    names = [
        alias.asname
        for node in ast.parse(stub).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert sorted(n for n in names if n) == NAMES


def test_unknown_names_are_attribute_errors() -> None:
    """A misspelt name is an AttributeError that names it."""
    with pytest.raises(AttributeError, match="has no attribute 'KilSwitch'"):
        _ = rescind.KilSwitch  # type: ignore[attr-defined]
