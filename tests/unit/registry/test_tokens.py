"""API tokens: hashed, scoped, revocable."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rescind_protocol.errors import Malformed
from rescind_registry.errors import ScopeMissing, TokenInvalid
from rescind_registry.store import Store
from rescind_registry.tokens import Scope, Tokens

NOW = 1000.0


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[Tokens]:
    """Give a table of them."""
    store = Store(tmp_path / "db.sqlite3")
    yield Tokens(store)
    store.close()


def test_a_token_is_good_until_it_is_revoked(tokens: Tokens) -> None:
    """And then says so."""
    said, made = tokens.make("ci", (Scope.KILL,), now=NOW)
    assert tokens.check(said, NOW) == made
    tokens.revoke(made.id, NOW)
    with pytest.raises(TokenInvalid, match="revoked"):
        tokens.check(said, NOW)


def test_a_token_expires(tokens: Tokens) -> None:
    """At its time, and not before."""
    said, made = tokens.make("ci", (Scope.KILL,), now=NOW, ttl_s=60)
    assert tokens.check(said, NOW + 60) == made
    with pytest.raises(TokenInvalid):
        tokens.check(said, NOW + 61)


def test_the_secret_is_stored_nowhere(tokens: Tokens, tmp_path: Path) -> None:
    """Whoever steals the database can ask for nothing."""
    said, made = tokens.make("ci", (Scope.KILL,), now=NOW)
    secret = said.removeprefix(f"rsc_{made.id}_").encode()
    files = [each.read_bytes() for each in tmp_path.iterdir()]
    assert any(made.id.encode() in each for each in files)
    assert not any(secret in each for each in files)


@pytest.mark.parametrize("change", [lambda said: said[:-1], lambda said: said + "x"])
def test_one_character_more_or_less_is_no_token(tokens: Tokens, change: object) -> None:
    """Nor is a good id with another secret."""
    said, made = tokens.make("ci", (Scope.KILL,), now=NOW)
    for bad in (change(said), f"rsc_{made.id}_{'A' * 43}", "", "rsc", "rsc_ä_ö"):  # type: ignore[operator]
        with pytest.raises(TokenInvalid):
            tokens.check(bad, NOW)


def test_a_scope_is_needed_and_admin_has_all(tokens: Tokens) -> None:
    """Any other has none but its own."""
    _, reader = tokens.make("r", (Scope.READ,), now=NOW)
    _, admin = tokens.make("a", (Scope.ADMIN,), now=NOW)
    reader.check(Scope.READ)
    for scope in Scope:
        admin.check(scope)
        if scope is not Scope.READ:
            with pytest.raises(ScopeMissing):
                reader.check(scope)


@pytest.mark.parametrize(
    ("name", "scopes"), [("", (Scope.READ,)), ("x\n", (Scope.READ,)), ("x", ())]
)
def test_what_cannot_be_told_apart_is_not_made(
    tokens: Tokens, name: str, scopes: tuple[Scope, ...]
) -> None:
    """A token has a name, and a scope."""
    with pytest.raises(Malformed):
        tokens.make(name, scopes, now=NOW)
    assert tokens.all() == []
