"""The keys that sign badges: published first, signing later, never forgotten."""

from pathlib import Path

import pytest

from rescind.testing.keys import key_of
from rescind_registry.errors import BadKeyring
from rescind_registry.keyring import Keyring


def test_a_new_key_is_published_before_it_signs(tmp_path: Path) -> None:
    """And the old one stays published after it."""
    ring = Keyring(tmp_path)
    ring.add(key_of("one"), since=0)
    ring.add(key_of("two"), since=1000)
    both = {key_of("one").kid, key_of("two").kid}
    assert {each["kid"] for each in ring.jwks()} == both
    assert ring.signing(999).kid == key_of("one").kid
    assert ring.signing(1000).kid == key_of("two").kid
    assert set(ring.publics()) == both


def test_another_process_sees_a_rotation_at_once(tmp_path: Path) -> None:
    """A node that runs reads the folder anew."""
    running = Keyring(tmp_path)
    Keyring(tmp_path).add(key_of("one"), since=0)
    assert running.signing(1).kid == key_of("one").kid
    Keyring(tmp_path).add(key_of("two"), since=1)
    assert running.signing(1).kid == key_of("two").kid


def test_the_same_key_twice_is_one(tmp_path: Path) -> None:
    """Two nodes that start at once do no harm."""
    ring = Keyring(tmp_path)
    ring.add(key_of("one"), since=0)
    ring.add(key_of("one"), since=5)
    assert [each.since for each in ring.times()] == [0]


def test_no_key_that_may_sign_is_an_error(tmp_path: Path) -> None:
    """Nothing is signed with a key that nobody knows yet."""
    ring = Keyring(tmp_path)
    with pytest.raises(BadKeyring):
        ring.signing(1)
    ring.add(key_of("one"), since=10)
    with pytest.raises(BadKeyring):
        ring.signing(9)


def test_a_damaged_manifest_is_said(tmp_path: Path) -> None:
    """Never an empty ring."""
    (tmp_path / "keys.json").write_text("{")
    with pytest.raises(BadKeyring, match=r"keys\.json"):
        Keyring(tmp_path).times()


def test_private_keys_are_the_owners_alone(tmp_path: Path) -> None:
    """Mode 0600."""
    Keyring(tmp_path).add(key_of("one"), since=0)
    (file,) = tmp_path.glob("*.key")
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_key_that_an_interrupted_start_has_written_is_taken(tmp_path: Path) -> None:
    """Its file is there, and the manifest does not name it yet."""
    key = key_of("one")
    Keyring(tmp_path).add(key, since=1)
    (tmp_path / "keys.json").unlink()
    Keyring(tmp_path).add(key, since=1)
    assert [each.kid for each in Keyring(tmp_path).times()] == [key.kid]
