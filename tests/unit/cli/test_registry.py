"""Agents, tokens and the audit of this host's registry; no server, no network."""

import json
from pathlib import Path
from typing import Any

import pytest

from rescind.testing.keys import key_of
from rescind_publisher.trail import Trail
from rescind_registry.keyring import Keyring
from tests.unit.cli.conftest import Run, error_of

DID = "did:web:acme.example:x7"
DID_KEY = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"


def said(run: Run, *words: str) -> Any:
    """Run a command that works, and return its document."""
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def key_file(run: Run, tmp_path: Path) -> str:
    """Make an agent's key, and return the file of its public part."""
    said(run, "keys", "new", str(tmp_path / "agent.key"))
    return str(tmp_path / "agent.key.pub.json")


# --- agents ---


def test_an_agent_is_enrolled_listed_and_removed(run: Run, key_file: str) -> None:
    """A did:web with a key; its domain is in its name."""
    made = said(run, "agents", "enrol", DID, "--key", key_file, "--level", "2")
    assert (made["domain"], made["level"]) == ("acme.example", 2)
    (listed,) = said(run, "agents", "list", "--timeout", "0")["agents"]
    assert (listed["did"], listed["state"]) == (DID, "cannot tell")  # nobody publishes here
    said(run, "agents", "remove", DID)
    assert said(run, "agents", "list")["agents"] == []


def test_a_did_key_needs_no_key_and_a_domain(run: Run) -> None:
    """It names its key itself."""
    assert run("agents", "enrol", DID_KEY).exit_code == 2
    assert said(run, "agents", "enrol", DID_KEY, "--domain", "Acme.Example")["domain"] == (
        "acme.example"
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("no-did",), "is not a DID"),
        ((DID,), "public_key is missing"),
        ((DID_KEY, "--domain", "a b"), "domain"),
    ],
)
def test_a_bad_agent_is_one_sentence(run: Run, words: tuple[str, ...], sentence: str) -> None:
    """And nothing is enrolled."""
    done = run("agents", "enrol", *words)
    assert done.exit_code == 2
    assert sentence in error_of(done)
    assert said(run, "agents", "list")["agents"] == []


def test_the_same_agent_with_another_level_is_refused(run: Run, key_file: str) -> None:
    """It would be another agent; the same again is no error."""
    said(run, "agents", "enrol", DID, "--key", key_file)
    said(run, "agents", "enrol", DID, "--key", key_file)
    done = run("agents", "enrol", DID, "--key", key_file, "--level", "4")
    assert done.exit_code == 1
    assert "remove it first" in error_of(done)


def test_an_agent_that_is_not_there_is_said(run: Run) -> None:
    """By name."""
    assert DID in error_of(run("agents", "remove", DID))


# --- tokens ---


def test_a_token_is_shown_once_and_revoked(run: Run) -> None:
    """The list has no secret."""
    made = said(run, "token", "make", "ci", "--scope", "kill", "--scope", "read")
    assert made["scopes"] == ["kill", "read"]
    listed = run("token", "list")
    assert made["id"] in listed.stdout
    assert made["token"] not in listed.stdout
    said(run, "token", "revoke", made["id"])
    assert "revoked" in run("token", "list").stdout


def test_a_token_alone_stands_on_standard_output(run: Run) -> None:
    """So that a script can take it."""
    done = run("token", "make", "ci", "--scope", "read")
    assert done.stdout.startswith("rsc_")
    assert len(done.stdout.split()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("make", "ci"),
        ("make", "ci", "--scope", "everything"),
        ("make", "", "--scope", "read"),
        ("make", "ci", "--scope", "read", "--expires", "2001-01-01T00:00:00Z"),
        ("revoke", "none"),
    ],
)
def test_a_bad_token_command_is_one_sentence(run: Run, words: tuple[str, ...]) -> None:
    """And no token is made."""
    done = run("token", *words)
    assert done.exit_code in (1, 2)
    assert error_of(done)
    assert said(run, "token", "list")["tokens"] == []


# --- the audit ---


def test_what_the_command_line_does_stands_in_the_audit(run: Run, key_file: str) -> None:
    """Who, what, on whom; and it can be narrowed."""
    said(run, "agents", "enrol", DID, "--key", key_file)
    said(run, "token", "make", "ci", "--scope", "kill")
    lines = [json.loads(line) for line in run("audit", "show", "--json").stdout.splitlines()]
    assert [each["what"] for each in lines] == ["enrol", "token.make"]
    assert all("@" in each["who"] and each["where"] == "local" for each in lines)
    narrowed = run("audit", "show", "--target", DID).stdout
    assert "enrol" in narrowed
    assert "token.make" not in narrowed
    assert run("audit", "show", "--since", "now", "--json").stdout == ""


def test_the_audit_is_exported_and_verified(run: Run, folder: Path, tmp_path: Path) -> None:
    """The copy as well as the original; a damaged one is not."""
    said(run, "token", "make", "a", "--scope", "read")
    said(run, "token", "make", "b", "--scope", "read")
    copy = tmp_path / "copy.jsonl"
    assert said(run, "audit", "export", str(copy))["lines"] == 2
    head = said(run, "audit", "verify")["head"]
    assert said(run, "audit", "verify", "--file", str(copy))["head"] == head
    trail = Trail(folder / "registry" / "audit.jsonl")
    trail.path.write_bytes(trail.path.read_bytes().splitlines(keepends=True)[0])
    assert said(run, "audit", "verify")["lines"] == 1
    done = run("audit", "verify", "--head", head)
    assert done.exit_code == 1
    assert "its end was cut" in error_of(done)
    trail.path.write_bytes(copy.read_bytes().replace(b"read", b"kill"))
    assert "was changed" in error_of(run("audit", "verify"))


def test_an_export_replaces_nothing(run: Run, tmp_path: Path) -> None:
    """A file that is there stays."""
    (tmp_path / "there").write_text("kept")
    assert run("audit", "export", str(tmp_path / "there")).exit_code == 1
    assert (tmp_path / "there").read_text() == "kept"


# --- keys ---


def test_a_rotation_needs_a_registry_and_adds_a_key(run: Run, folder: Path) -> None:
    """Published now, signing later."""
    assert "rescind serve" in error_of(run("keys", "rotate"))

    Keyring(folder / "registry" / "keys").add(key_of("registry"), since=0)
    made = said(run, "keys", "rotate", "--overlap", "300")
    assert made["keys"] == 2
    assert made["thumbprint"] != key_of("registry").kid


@pytest.mark.parametrize("words", [("agents", "list"), ("token", "list")])
def test_without_a_fabric_there_is_no_registry(
    run: Run, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Nothing is made where nobody asked for it."""
    done = run(*words, "--home", str(tmp_path / "nowhere"))
    assert done.exit_code == 2
    assert not (tmp_path / "nowhere").exists()
