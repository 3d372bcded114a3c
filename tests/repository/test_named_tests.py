"""Tests that the documents name exist: a protection that nothing tests is not to be claimed."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_every_test_that_a_page_names_exists() -> None:
    """By file and function."""
    named = [
        (page.name, path, name)
        for page in (ROOT / "docs").rglob("*.md")
        for path, name in NAMED.findall(page.read_text("utf-8"))
    ]
    assert len(named) > 20
    missing = [each for each in named if each[2] not in functions(ROOT / each[1])]
    assert not missing


def functions(path: Path) -> set[str]:
    """Return the names of the test functions in a module; none where there is no such file."""
    if not path.exists():
        return set()
    tree = ast.parse(path.read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


def test_every_fault_of_the_field_has_a_row_with_a_test() -> None:
    """22 faults, each with a test of its own."""
    page = (ROOT / "docs" / "security.md").read_text("utf-8")
    table = page.partition("## Faults that others shipped")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 22
    assert all(NAMED.search(row) for row in rows)
