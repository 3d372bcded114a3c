"""Key files: who may read them, and what lies there after a crash."""

import os
import stat
from pathlib import Path

import pytest

from rescind_publisher import keyfiles
from rescind_publisher.errors import BadKeyFile
from tests.fakes.fabric import PUBLISHER, ROOT, SECOND


def test_a_private_key_is_written_and_read(tmp_path: Path) -> None:
    """0600 under any umask, with nothing left beside it."""
    path = tmp_path / "key.pem"
    old = os.umask(0)
    try:
        keyfiles.write_private(path, PUBLISHER)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keyfiles.read_private(path).kid == PUBLISHER.kid
    assert [p.name for p in tmp_path.iterdir()] == ["key.pem"]


def test_a_private_key_replaces_nothing(tmp_path: Path) -> None:
    """A key that exists is not overwritten."""
    path = tmp_path / "key.pem"
    keyfiles.write_private(path, PUBLISHER)
    with pytest.raises(BadKeyFile, match="exists"):
        keyfiles.write_private(path, SECOND)
    assert keyfiles.read_private(path).kid == PUBLISHER.kid
    assert [p.name for p in tmp_path.iterdir()] == ["key.pem"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o620])
def test_a_key_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """The sentence names the command that mends it, which then does."""
    path = tmp_path / "key.pem"
    keyfiles.write_private(path, PUBLISHER)
    path.chmod(mode)
    with pytest.raises(BadKeyFile, match=f"mode {mode:04o}.*chmod 600 {path}"):
        keyfiles.read_private(path)
    path.chmod(0o400)
    assert keyfiles.read_private(path).kid == PUBLISHER.kid


def test_somebody_elses_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key file of another user is not used."""
    path = tmp_path / "key.pem"
    keyfiles.write_private(path, PUBLISHER)
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with pytest.raises(BadKeyFile, match="belongs to another user"):
        keyfiles.read_private(path)


@pytest.mark.parametrize("what", ["directory", "fifo", "missing"])
def test_only_a_regular_file_is_read(tmp_path: Path, what: str) -> None:
    """A FIFO is refused instead of waited for."""
    path = tmp_path / "key.pem"
    if what == "directory":
        path.mkdir(mode=0o700)
    if what == "fifo":
        os.mkfifo(path, 0o600)
    with pytest.raises(BadKeyFile):
        keyfiles.read_private(path)


@pytest.mark.parametrize("content", [b"", b"garbage", b"x" * 20_000])
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """With one sentence that names the file and shows nothing of it."""
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(BadKeyFile, match=str(path)):
        keyfiles.read_private(path)


def test_a_public_key_is_written_and_read(tmp_path: Path) -> None:
    """As JWK; a file that is none is refused."""
    path = tmp_path / "key.jwk"
    keyfiles.write_public(path, ROOT.public)
    assert keyfiles.read_public(path) == ROOT.public
    path.write_text('{"kty":"RSA"}')
    with pytest.raises(BadKeyFile, match="not an Ed25519 key"):
        keyfiles.read_public(path)


def test_a_trust_file_replaces_the_one_before(tmp_path: Path) -> None:
    """Atomically: a reader sees the one or the other."""
    path = tmp_path / "trust.jwt"
    keyfiles.write_trust(path, b"one")
    keyfiles.write_trust(path, b"two")
    assert keyfiles.read_trust(path) == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["trust.jwt"]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """The library's exception does not cross the edge."""
    with pytest.raises(BadKeyFile, match="cannot be written"):
        keyfiles.write_private(tmp_path / "no" / "key.pem", PUBLISHER)
