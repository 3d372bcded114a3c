"""Codes that the guard leaves to others stand in no source of it."""

from pathlib import Path

import rescind_guard
from rescind_guard.codes import NOT_OURS


def test_no_source_says_what_is_not_ours() -> None:
    """A word that the guard did say would be a second code of one fault."""
    folder = Path(rescind_guard.__file__).parent
    said = {
        (path.name, code)
        for path in folder.rglob("*.py")
        if path.name != "codes.py"
        for code in NOT_OURS
        if code.value in path.read_text("utf-8")
    }
    assert said == set()
