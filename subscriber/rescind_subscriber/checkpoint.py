"""The local snapshot: what a restart remembers (I7), with the cursors into each source.

One file, written whole: temporary file, fsync, rename, fsync of the folder. Its first line names
size and SHA-256 of the rest, which is frames: the first one all that is small, the others the table
in pieces, for at a million entries one piece would stop every reader of this process for a second.

A damaged file is set aside and reported, never read as empty: the view then starts stale, and
everything is read again. An old copy is harmless: older cursors, and only heads make fresh.

One process at a time may write, the one that holds the lock; others may read, for the file is only
ever replaced whole.
"""

import contextlib
import fcntl
import os
import stat
import threading
from collections.abc import Iterator
from hashlib import sha256
from itertools import islice
from pathlib import Path

import msgspec

from rescind_protocol.changes import Revocation
from rescind_protocol.errors import Malformed, RescindError
from rescind_protocol.image import Floor, Image
from rescind_protocol.limits import MAX_SNAPSHOT_BYTES
from rescind_protocol.table import Table
from rescind_subscriber import durable
from rescind_subscriber.sources.base import Cursor

MAGIC = b"rescind-local-snapshot 3"
PIECE = 512
"""Targets in a frame: under a millisecond of encoding."""
_SIZE_BYTES = 4


class Checkpoint(msgspec.Struct, frozen=True):
    """Everything a subscriber keeps over a restart."""

    fabric: str
    trust: str
    """The digest of the trust by which the sources were read; others' events were skipped."""
    image: Image
    cursors: dict[str, Cursor] = {}
    newest_heads: dict[str, float] = {}
    read_by: int = 0
    """The version of the trust by which the state came about."""
    newest_counts: dict[str, int] = {}
    """Greatest count of each publisher's heads."""


class _Piece(msgspec.Struct, frozen=True, array_like=True):
    revocations: list[Revocation]
    floors: list[Floor]


class CheckpointDamaged(RescindError):
    """The file is there and cannot be relied upon; it was set aside."""

    code = "CHECKPOINT_DAMAGED"


class CheckpointForeign(RescindError):
    """The file is whole, and belongs to another fabric; it is left alone."""

    code = "CHECKPOINT_FOREIGN"


class CheckpointLost(RescindError):
    """The file could not be written or read: disk, rights."""

    code = "CHECKPOINT_LOST"


_checkpoint = msgspec.msgpack.Decoder(Checkpoint)
_piece = msgspec.msgpack.Decoder(_Piece)


class CheckpointFile:
    """One file; `acquire` makes this process its writer."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.snapshot"
        self._folder = folder
        self._lock_path = folder / f"{name}.lock"
        self._lock: int | None = None
        self._saving = threading.Lock()

    @property
    def ours(self) -> bool:
        """Whether this process may write the file."""
        return self._lock is not None

    def acquire(self) -> bool:
        """Take the file for this process; False if another one has it."""
        if self._lock is not None:
            return True
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_folder(self._folder)
            lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, durable.MODE)
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
        """Give the file up. In a child after a fork this leaves the parent's lock as it is."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)  # not LOCK_UN: that would unlock it for the parent too (flock(2))

    def load(self, fabric: str) -> Checkpoint | None:
        """Return what was kept, None if there is nothing.

        Raises `CheckpointDamaged` if it is not whole (its writer first renames it to `*.damaged`,
        for whoever wants to know why), `CheckpointForeign` and `CheckpointLost`.
        """
        try:
            _check_folder(self._folder)
            raw = _read_own(self.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CheckpointLost(f"cannot read {self.path}: {error.strerror}") from error
        try:
            found = decode(raw)
        except Malformed as error:
            if self.ours:
                with contextlib.suppress(OSError):
                    self.path.rename(self.path.with_suffix(".damaged"))
            raise CheckpointDamaged(f"{self.path} is damaged: {error}") from error
        if found.fabric != fabric:
            raise CheckpointForeign(f"{self.path} is of fabric {found.fabric!r}, not {fabric!r}")
        return found

    def save(self, checkpoint: Checkpoint, table: Table) -> None:
        """Write the file whole and durably, `table` beside the image; raises `CheckpointLost`.

        Blocks; from any thread, one after the other.
        """
        parts = encode(checkpoint, table)
        temporary = self.path.with_suffix(".writing")
        with self._saving:
            try:
                durable.write_synced(temporary, parts)
                temporary.replace(self.path)
                durable.sync_folder(self._folder)
            except OSError as error:
                raise CheckpointLost(f"cannot write {self.path}: {error.strerror}") from error


def _check_folder(folder: Path) -> None:
    """Refuse a folder that anyone may write to: the snapshot is not signed, only private."""
    if folder.stat().st_mode & stat.S_IWOTH:
        raise CheckpointLost(f"anyone may write to {folder}: chmod o-w, or name another folder")


def _read_own(path: Path) -> bytes:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_uid not in _trusted_users():
            raise CheckpointLost(f"{path} belongs to another user: not believed")
        return file.read(MAX_SNAPSHOT_BYTES + 1)


def _trusted_users() -> set[int]:
    return {os.geteuid(), 0}


def encode(checkpoint: Checkpoint, table: Table) -> list[bytes]:
    """Return the file's bytes, in parts; `table` beside the image."""
    frames = list(_frames(checkpoint, table))
    digest = sha256()
    for frame in frames:
        digest.update(frame)
    size = sum(map(len, frames))
    return [b"%s %s %d\n" % (MAGIC, digest.hexdigest().encode(), size), *frames]


def _frames(checkpoint: Checkpoint, table: Table) -> Iterator[bytes]:
    yield _frame(checkpoint)
    entries = table.items()
    while some := list(islice(entries, PIECE)):
        yield _frame(
            _Piece(
                [r for _, e in some for r in e.revocations],
                [Floor(d, iat, log) for d, e in some for log, iat in e.floors],
            )
        )


def _frame(part: Checkpoint | _Piece) -> bytes:
    body = msgspec.msgpack.encode(part)
    return len(body).to_bytes(_SIZE_BYTES, "big") + body


def decode(raw: bytes) -> Checkpoint:
    """Return what the file's bytes say, or raise `Malformed`."""
    line, _, body = raw.partition(b"\n")
    words = line.rsplit(b" ", 2)
    if len(raw) > MAX_SNAPSHOT_BYTES or len(words) != len(("magic", "digest", "size")):
        raise Malformed("not a local snapshot")
    if words[0] != MAGIC:
        raise Malformed("it was written by another version")
    if words[1:] != [sha256(body).hexdigest().encode(), b"%d" % len(body)]:
        raise Malformed("its digest does not match")
    try:
        first, *rest = _split(body)
        checkpoint = _checkpoint.decode(first)
        pieces = [_piece.decode(part) for part in rest]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Malformed(str(error)) from error
    image = msgspec.structs.replace(
        checkpoint.image,
        revocations=tuple(r for piece in pieces for r in piece.revocations),
        floors=tuple(f for piece in pieces for f in piece.floors),
    )
    return msgspec.structs.replace(checkpoint, image=image)


def _split(body: bytes) -> Iterator[memoryview]:
    view, at = memoryview(body), 0
    while at < len(body):
        size = int.from_bytes(view[at : at + _SIZE_BYTES], "big")
        at += _SIZE_BYTES
        yield view[at : at + size]
        at += size
