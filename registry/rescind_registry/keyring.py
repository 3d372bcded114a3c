"""The keys that sign badges: a folder that nodes share, and the moment from which each key signs.

A new key is published before it signs, so that guards know it by then. An old one stays published:
its badges must be found to be *revoked* or *expired*, never "by an unknown key" (attack B6).
Who must no longer be believed is killed by the key's thumbprint.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from rescind_protocol.keys import SigningKey, jwk
from rescind_publisher.keyfiles import read_private, write_private, write_secret
from rescind_registry.errors import BadKeyring

MANIFEST = "keys.json"
OVERLAP_S = 600
"""How long a new key is published before it signs: two lives of a cached JWKS, 300 s each."""
MAX_KEYS = 64
"""A rotation a week for a year; a guard without a `kid` tries five (interop.md §1)."""


class KeyTime(msgspec.Struct, frozen=True):
    """From when (unix seconds) a key signs."""

    kid: str
    since: int


class _Manifest(msgspec.Struct, frozen=True):
    keys: tuple[KeyTime, ...] = ()


class Keyring:
    """Reads the folder anew when its manifest changes; raises `BadKeyring`, `BadKeyFile`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / MANIFEST
        self._seen: tuple[int, int] | None = None
        self._times: tuple[KeyTime, ...] = ()
        self._keys: dict[str, SigningKey] = {}

    def __repr__(self) -> str:
        return f"<Keyring {self.folder}, {len(self.times())} keys>"

    def times(self) -> tuple[KeyTime, ...]:
        """Return every key and from when it signs, oldest first."""
        try:
            at = self._path.stat()
        except FileNotFoundError:
            return ()
        if self._seen != (at.st_mtime_ns, at.st_ino):
            self._times = _read(self._path).keys
            self._keys |= {
                each.kid: read_private(self.folder / f"{each.kid}.key")
                for each in self._times
                if each.kid not in self._keys
            }
            self._seen = (at.st_mtime_ns, at.st_ino)
        return self._times

    def signing(self, now: float) -> SigningKey:
        """Return the key that signs now: the one whose moment passed last."""
        ready = [each for each in self.times() if each.since <= now]
        if not ready:
            raise BadKeyring(f"no key in {self.folder} may sign yet")
        return self._keys[max(ready, key=lambda each: each.since).kid]

    def jwks(self) -> list[dict[str, str]]:
        """Return the public part of all keys, those to come included (RFC 7517)."""
        return [jwk(self._keys[each.kid].public) for each in self.times()]

    def publics(self) -> dict[str, bytes]:
        """Return the public key of each key id."""
        return {each.kid: self._keys[each.kid].public for each in self.times()}

    def add(self, key: SigningKey, *, since: int) -> None:
        """Put a key in; it signs from `since` (unix seconds) on."""
        with self._locked():
            times = _read(self._path).keys if self._path.exists() else ()
            if len(times) >= MAX_KEYS:
                raise BadKeyring(f"{self._path} holds {MAX_KEYS} keys: remove old ones from it")
            if any(each.kid == key.kid for each in times):
                return
            file = self.folder / f"{key.kid}.key"
            if not (file.exists() and read_private(file).kid == key.kid):
                write_private(file, key)  # else a start that was interrupted has written it
            made = tuple(sorted((*times, KeyTime(key.kid, since)), key=lambda each: each.since))
            written = msgspec.json.encode(_Manifest(made)) + b"\n"
            write_secret(self._path, written, replace=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _read(path: Path) -> _Manifest:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Manifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise BadKeyring(f"{path} cannot be read: {error}") from error
