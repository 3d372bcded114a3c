"""The local snapshot: what a restart remembers (I7), with the cursors into each source.

One file, written whole: temporary file, fsync, rename, fsync of the folder. Its first line names
size and SHA-256 of the rest. A damaged one is set aside and reported, never read as empty: the view
then starts stale, and everything is read again. An old copy is harmless: older cursors, and only
heads make fresh.
"""

import contextlib
import fcntl
import os
from hashlib import sha256
from pathlib import Path

import msgspec

from rescind_protocol.errors import Malformed, RescindError
from rescind_protocol.image import Image
from rescind_protocol.limits import MAX_SNAPSHOT_BYTES
from rescind_subscriber.sources.base import Cursor

MAGIC = b"rescind-local-snapshot 1"
_MODE = 0o600


class Checkpoint(msgspec.Struct, frozen=True):
    """Everything a subscriber keeps over a restart."""

    fabric: str
    image: Image
    cursors: dict[str, Cursor] = {}
    newest_heads: dict[str, float] = {}


class CheckpointDamaged(RescindError):
    """The file is there and cannot be relied upon; it was set aside."""

    code = "CHECKPOINT_DAMAGED"


class CheckpointLost(RescindError):
    """The file could not be written or read: disk, rights."""

    code = "CHECKPOINT_LOST"


_decoder = msgspec.msgpack.Decoder(Checkpoint)


class CheckpointFile:
    """One file, owned by one process at a time."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.snapshot"
        self._folder = folder
        self._lock_path = folder / f"{name}.lock"
        self._lock: int | None = None

    def acquire(self) -> bool:
        """Take the file for this process; False if another one has it."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        except OSError as error:
            raise CheckpointLost(f"cannot use {self._folder}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def release(self) -> None:
        """Give the file up."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def load(self, fabric: str) -> Checkpoint | None:
        """Return what was kept, None if there is nothing; `CheckpointDamaged` if it is not whole.

        A damaged file is renamed to `*.damaged`, for whoever wants to know why.
        """
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CheckpointLost(f"cannot read {self.path}: {error.strerror}") from error
        try:
            found = _decode(raw)
        except Malformed as error:
            with contextlib.suppress(OSError):
                self.path.rename(self.path.with_suffix(".damaged"))
            raise CheckpointDamaged(f"{self.path} is damaged ({error}); set aside") from error
        if found.fabric != fabric:
            raise CheckpointDamaged(f"{self.path} is of fabric {found.fabric!r}, not {fabric!r}")
        return found

    def save(self, checkpoint: Checkpoint) -> None:
        """Write the file whole and durably; raises `CheckpointLost`."""
        body = msgspec.msgpack.encode(checkpoint)
        first = b"%s %s %d\n" % (MAGIC, sha256(body).hexdigest().encode(), len(body))
        temporary = self.path.with_suffix(".writing")
        try:
            _write_durably(temporary, first + body)
            temporary.replace(self.path)
            _sync_folder(self._folder)
        except OSError as error:
            raise CheckpointLost(f"cannot write {self.path}: {error.strerror}") from error


def _decode(raw: bytes) -> Checkpoint:
    line, _, body = raw.partition(b"\n")
    words = line.rsplit(b" ", 2)
    if len(raw) > MAX_SNAPSHOT_BYTES or len(words) != len(("magic", "digest", "size")):
        raise Malformed("not a local snapshot")
    if words[0] != MAGIC or words[1:] != [sha256(body).hexdigest().encode(), b"%d" % len(body)]:
        raise Malformed("its digest does not match")
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Malformed(str(error)) from error


def _write_durably(path: Path, raw: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
    with os.fdopen(handle, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
