"""Nothing that follows knows a source by name: adding one is a module and a row in a table."""

import ast
from pathlib import Path

import pytest

from rescind.following import MAKERS
from tests.repository.test_contracts import contracts, tree

__all__ = ["tree"]

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "subscriber/rescind_subscriber"
TRANSPORTS = ("nats", "redis", "http", "sse", "grpc", "bundle", "keeping")
"""How the names of modules begin that belong to one transport, or to several of them."""


def loop() -> list[Path]:
    """Return every module of the subscriber that is no transport's."""
    found = [path for path in PACKAGE.glob("*.py") if not path.name.startswith(TRANSPORTS)]
    return [path for path in found if path.name != "libraries.py"]  # of packages, by their names


def texts(path: Path) -> list[str]:
    """Return the strings of a module that are no docstrings."""
    module = ast.parse(path.read_text("utf-8"))
    loose = {
        id(node.value)
        for node in ast.walk(module)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return [
        node.value
        for node in ast.walk(module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in loose
    ]


def named(path: Path) -> list[str]:
    """Return the sources whose name stands in a module, in a string or in an import."""
    module = ast.parse(path.read_text("utf-8"))
    imported = [node.module or "" for node in ast.walk(module) if isinstance(node, ast.ImportFrom)]
    words = [*texts(path), *(name.replace(".", " ").replace("_", " ") for name in imported)]
    said = " ".join(words).lower().split()
    return [name for name in MAKERS if name in said]


def test_the_loop_names_no_source() -> None:
    """Neither in a string nor in an import, in any module that is no transport."""
    assert {path.name for path in loop()} >= {"reconcile.py", "follow.py", "subscriber.py"}
    assert {path.name: named(path) for path in loop() if named(path)} == {}


def test_a_name_would_be_found(tmp_path: Path) -> None:
    """Negative control: a loop that asks for one source by name, or imports one."""
    for line in ('if source.name == "sse": pass', "from rescind_subscriber.sources.sse import S"):
        module = tmp_path / "follow.py"
        module.write_text(line)
        assert named(module) == ["sse"]


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_no_source_may_be_imported_by_the_loop(tree: Path, name: str) -> None:
    """The import contract breaks for each of them."""
    probe = f"import rescind_subscriber.sources.{name}\n"
    module = tree / "subscriber/rescind_subscriber/follow.py"
    module.write_text(probe + module.read_text("utf-8"))
    answer = contracts(tree)
    assert "What follows knows no source BROKEN" in answer.stdout


def test_every_source_is_one_module() -> None:
    """The table's names are the modules of `sources/`, whatever they need besides."""
    modules = {path.stem for path in (PACKAGE / "sources").glob("*.py")}
    assert modules - {"__init__", "base"} == set(MAKERS)
