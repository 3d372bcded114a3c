"""Private keys, public keys and the trust file on disk.

A private key is read only from a regular file of ours that nobody else can read; it is written
atomically, 0600 from its first byte on, and never over another.
"""

import os
import secrets
import stat
from pathlib import Path

import msgspec

from rescind_protocol import keys
from rescind_protocol.encoding import check_json
from rescind_protocol.errors import Malformed
from rescind_protocol.keys import SigningKey
from rescind_protocol.limits import MAX_TRUST_CHAIN_BYTES
from rescind_publisher.errors import BadKeyFile

MAX_KEY_BYTES = 16 * 1024
"""An Ed25519 PEM has 119 bytes."""
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_private(path: Path) -> SigningKey:
    """Load a PKCS #8 PEM private key; raises `BadKeyFile` naming what to do."""
    raw = _read(path, MAX_KEY_BYTES, private=True)
    try:
        return SigningKey.from_pem(raw)
    except Malformed as error:
        raise BadKeyFile(f"{path}: {error}") from error


def write_private(path: Path, key: SigningKey) -> None:
    """Write a private key, 0600, refusing to replace a file that exists."""
    _write(path, key.to_pem(), mode=0o600)


def read_secret(path: Path, limit: int) -> bytes:
    """Load a file that holds a secret in any form; raises `BadKeyFile` if others may read it."""
    return _read(path, limit, private=True)


def read_public(path: Path) -> bytes:
    """Load the 32 bytes of a public key from its JWK file."""
    try:
        return keys.public_from_jwk(check_json(_read(path, MAX_KEY_BYTES)))
    except Malformed as error:
        raise BadKeyFile(f"{path}: {error}") from error


def write_public(path: Path, public: bytes) -> None:
    """Write a public key as JWK, refusing to replace a file that exists."""
    _write(path, msgspec.json.encode(keys.jwk(public)) + b"\n", mode=0o644)


def read_trust(path: Path) -> bytes:
    """Load a trust file's bytes; `rescind_protocol.trust.read` verifies them."""
    return _read(path, MAX_TRUST_CHAIN_BYTES + 1).strip()


def write_trust(path: Path, signed: bytes) -> None:
    """Write a signed trust file, replacing the one before it atomically."""
    write_open(path, signed + b"\n")


def write_open(path: Path, content: bytes) -> None:
    """Write what others may read, replacing what was there atomically; others never write it."""
    _write(path, content, mode=0o644, replace=True)


def write_secret(path: Path, content: bytes, *, replace: bool = False) -> None:
    """Write what its owner alone may read; without `replace`, where nothing is there."""
    _write(path, content, mode=0o600, replace=replace)


def _read(path: Path, limit: int, *, private: bool = False) -> bytes:
    try:
        # O_NONBLOCK: a FIFO must be refused, not waited for.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            _check(path, os.fstat(file.fileno()), private=private)
            raw = file.read(limit + 1)
    except OSError as error:
        raise BadKeyFile(f"{path} cannot be read: {error.strerror}") from error
    if len(raw) > limit:
        raise BadKeyFile(f"{path} is larger than {limit} bytes")
    return raw


def _check(path: Path, found: os.stat_result, *, private: bool) -> None:
    """Judge the open file, not its name: a name can be pointed elsewhere in between."""
    if not stat.S_ISREG(found.st_mode):
        raise BadKeyFile(f"{path} is not a regular file")
    if not private:
        return
    if found.st_uid != os.geteuid():
        raise BadKeyFile(f"{path} belongs to another user (uid {found.st_uid}), not to this one")
    if found.st_mode & _OTHERS:
        mode = stat.S_IMODE(found.st_mode)
        raise BadKeyFile(f"{path} can be read by others (mode {mode:04o}): chmod 600 {path}")


def _write(path: Path, content: bytes, *, mode: int, replace: bool = False) -> None:
    """Write beside, sync, then link or rename: at no time is there half a file under the name."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _put_in_place(beside, path, replace=replace)
        finally:
            beside.unlink(missing_ok=True)
        _sync_directory(path.parent)
    except FileExistsError as error:
        raise BadKeyFile(f"{path} exists; it is not replaced") from error
    except OSError as error:
        raise BadKeyFile(f"{path} cannot be written: {error.strerror}") from error


def _put_in_place(beside: Path, path: Path, *, replace: bool) -> None:
    if replace:
        beside.replace(path)
    else:
        path.hardlink_to(beside)  # fails where the name exists, which a rename would not


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
