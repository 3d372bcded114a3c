"""Unsigned lists at the command line: checked, shown by their class, and explained."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rescind.home import LOCAL_ISSUER
from rescind_guard.parsing import read
from tests.fakes.foreign import ForeignRegistry, answer, foreign_registry
from tests.fakes.lists import jtis
from tests.fakes.terminal import Terminal


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[ForeignRegistry]:
    """A foreign registry that ends with the test."""
    with foreign_registry(tmp_path) as made:
        yield made


def variables(registry: ForeignRegistry) -> dict[str, str]:
    """Return the settings that follow its list for the local issuer."""
    return {
        "RESCIND_UNSIGNED_LISTS": f"{LOCAL_ISSUER}={registry.url}",
        "RESCIND_UNSIGNED_LIST_TOKENS": f"{LOCAL_ISSUER}=t0ken",
        "RESCIND_UNSIGNED_LIST_PRIVATE": "true",
        "RESCIND_UNSIGNED_LIST_CA_FILE": str(registry.ca_file),
    }


def test_a_list_is_checked_shown_and_explained(
    terminal: Terminal, registry: ForeignRegistry
) -> None:
    """By what it is: it denies, and proves nothing. Its token is never shown."""
    badge = terminal.issue("listed")
    registry.raw = jtis(read(badge).payload.jti)
    settings = variables(registry)
    check = terminal.run("config", "check", **settings)
    assert "unsigned lists: " in check.out
    assert "nobody of this fabric signed them: they deny, and prove nothing" in check.out
    status = terminal.run("status", "--json", **settings)
    [found] = status.document["unsigned_lists"]
    assert (found["issuer"], found["entries"], found["trust"]) == (LOCAL_ISSUER, 1, "unsigned")
    assert (
        status.document["subscriber"]["targets"]
        == terminal.run("status", "--json").document["subscriber"]["targets"]
    )
    explained = terminal.run("explain", "--json", given=badge, **settings).document
    assert explained["code"] == "BADGE_REVOKED"
    assert explained["unsigned_list"] == LOCAL_ISSUER
    assert terminal.verdict(badge) == "OK"  # without the list
    asked = terminal.run("status", "badge", "-", "--json", given=badge, **settings).document
    assert (asked["killed"], asked["unsigned_lists"]) == (False, [LOCAL_ISSUER])
    named = terminal.run("status", "badge", "-", given=badge, **settings).out
    assert f"named by the unsigned list of {LOCAL_ISSUER}" in named
    shown = terminal.run("config", "show", "--json", **settings)
    assert "t0ken" not in shown.out
    assert registry.url in shown.out


def test_a_list_that_is_away_is_said(terminal: Terminal, registry: ForeignRegistry) -> None:
    """A failed check, and a warning beside the status; what follows is not held up."""
    registry.answer = lambda handler: answer(handler, 503)
    settings = variables(registry)
    check = terminal.run("config", "check", **settings)
    assert check.code == 1
    assert "FAIL  unsigned lists: " in check.out
    status = terminal.run("status", **settings)
    assert status.code == 0
    assert "answers HTTP 503" in status.out
    asked = terminal.run("status", "agent", "did:web:a.example", **settings)
    assert "answers HTTP 503" in asked.out + asked.err
    explained = terminal.run("explain", given=terminal.issue("away"), **settings)
    assert explained.code == 0
    assert "what it names is not known here" in explained.out + explained.err
