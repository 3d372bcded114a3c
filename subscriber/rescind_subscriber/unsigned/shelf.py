"""Unsigned lists on disk, for a restart while a registry is away: one private file each.

Never in a local snapshot: that holds what publishers signed. The first line names size and SHA-256
of the rest. A file that is not whole is set aside and said, never read as an empty list, and never
overwritten unless it could be set aside.
"""

import os
import stat
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import msgspec

from rescind_guard.unsigned import UnsignedList
from rescind_protocol.errors import Malformed
from rescind_protocol.table import ALL
from rescind_protocol.targets import DIGEST_BYTES
from rescind_subscriber import durable
from rescind_subscriber.errors import ListUnkept
from rescind_subscriber.unsigned.place import Place
from rescind_subscriber.unsigned.reader import MAX_ENTRIES

MAGIC = b"rescind-unsigned-list 1"
MAX_FILE_BYTES = 64 * MAX_ENTRIES
"""An entry is a digest and a number: 27 bytes at most."""
_Digest = Annotated[bytes, msgspec.Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
_Cut = Annotated[int, msgspec.Meta(ge=0, le=ALL)]


class Kept(msgspec.Struct, frozen=True):
    """What was known of a list."""

    issuer: str
    url: str
    tag: str
    confirmed_at: float
    """Unix seconds of the last good answer."""
    killed: dict[_Digest, _Cut]
    suspended: dict[_Digest, _Cut] = {}

    @property
    def list(self) -> UnsignedList:
        """Return it as guards read it."""
        return UnsignedList(self.issuer, self.killed, self.suspended)


_kept = msgspec.msgpack.Decoder(Kept)


class ListShelf:
    """A folder of files of one process, by its name among those of this host."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._not_ours: set[Path] = set()
        """Files that were found and are not understood, and stay as they are."""

    def path(self, place: Place) -> Path:
        """Return where a list is kept; another address is another list."""
        said = sha256(f"{place.issuer}\n{place.url}".encode()).hexdigest()[:32]
        return self._folder / f"{self._name}.{said}.list"

    def load(self, place: Place) -> Kept | None:
        """Return what was kept, None if nothing was; raises `ListUnkept`, saying what is wrong.

        A file that is not whole is renamed to `*.damaged` first.
        """
        path = self.path(place)
        self._not_ours.add(path)
        try:
            kept = _decode(_read_own(path), place)
        except FileNotFoundError:
            kept = None
        except OSError as error:
            raise ListUnkept(f"cannot read {path}: {error.strerror}") from error
        except Malformed as error:
            what = f"{path} is damaged: {error}"
            raise ListUnkept(f"{what}; {self._set_aside(path)}") from error
        self._not_ours.discard(path)
        return kept

    def save(self, place: Place, kept: Kept) -> None:
        """Keep a list, durably; raises `ListUnkept`."""
        body = msgspec.msgpack.encode(kept)
        line = b"%s %s %d\n" % (MAGIC, sha256(body).hexdigest().encode(), len(body))
        path = self.path(place)
        if path in self._not_ours:
            raise ListUnkept(f"{path} is damaged or not ours, and is not overwritten: look at it")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_folder(self._folder)
            durable.replace_durably(path, [line, body])
        except OSError as error:
            raise ListUnkept(f"cannot write {path}: {error.strerror}") from error

    def _set_aside(self, path: Path) -> str:
        """Rename a damaged file, for whoever wants to know why; what came of it, in words."""
        aside = path.with_suffix(".damaged")
        try:
            # A link first, which fails where there is one: an earlier find is worth no less.
            os.link(path, aside)
            path.unlink()
        except OSError as error:
            return f"it stays as it is, for it cannot be set aside: {error.strerror}"
        self._not_ours.discard(path)
        return f"set aside as {aside.name}"


def _read_own(path: Path) -> bytes:
    with path.open("rb") as file:
        _check_folder(path.parent)
        if os.fstat(file.fileno()).st_uid not in (os.geteuid(), 0):
            raise ListUnkept(f"{path} belongs to another user: not believed")
        return file.read(MAX_FILE_BYTES + 1)


def _check_folder(folder: Path) -> None:
    """Refuse a folder that anyone may write to: who can empty a list frees whom it named."""
    if folder.stat().st_mode & stat.S_IWOTH:
        raise ListUnkept(f"anyone may write to {folder}: chmod o-w, or name another folder")


def _decode(raw: bytes, place: Place) -> Kept:
    line, _, body = raw.partition(b"\n")
    expected = b"%s %s %d" % (MAGIC, sha256(body).hexdigest().encode(), len(body))
    if len(raw) > MAX_FILE_BYTES or line != expected:
        raise Malformed("its digest does not match, or another version wrote it")
    try:
        kept = _kept.decode(body)
    except msgspec.MsgspecError as error:
        raise Malformed(str(error)) from error
    if (kept.issuer, kept.url) != (place.issuer, place.url):
        raise Malformed("it is of another list")
    if len(kept.killed) + len(kept.suspended) > MAX_ENTRIES:
        raise Malformed(f"it has more than {MAX_ENTRIES} entries")
    return kept
