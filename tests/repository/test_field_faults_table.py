"""The table of faults seen in the field names tests and scenarios that exist."""

import re
from pathlib import Path

from tests.chaos.real_tier import load

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "testing.md").read_text("utf-8").partition("## Faults seen in")[2]
LEAST = 20


def test_every_named_test_exists() -> None:
    """In the file that it is said to be in."""
    named = re.findall(r"\| `(test_\w+)` in \[[\w.]+\]\(\.\./([\w/.]+)\) \|", TABLE)
    missing = [test for test, file in named if f"def {test}(" not in (ROOT / file).read_text()]
    assert missing == []
    assert len(named) + len(scenarios()) >= LEAST


def test_every_named_scenario_exists() -> None:
    """With real servers."""
    assert scenarios() <= set(load())


def scenarios() -> set[str]:
    """Return the scenarios that the table names."""
    return set(re.findall(r"\| scenario `([^`]+)` \|", TABLE))
