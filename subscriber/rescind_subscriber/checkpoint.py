"""The local snapshot: what a restart remembers (I7), with the cursors into each source.

One file, written whole: temporary file, fsync, rename, fsync of the folder. Its first line names
size and SHA-256 of the rest, which is frames: the first one all that is small, the others the table
in pieces, for at a million entries one piece would stop every reader of this process for a second.

A damaged file is set aside and reported, never read as empty: the view then starts stale, and
everything is read again. An old copy is harmless: older cursors, and only heads make fresh.

One process at a time may write a file, the one that holds its lock; others may read, for the file
is only ever replaced whole.
"""

import contextlib
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
from rescind_protocol.limits import MAX_ENDED, MAX_SNAPSHOT_BYTES
from rescind_protocol.table import Table
from rescind_subscriber import durable
from rescind_subscriber.sources.base import Cursor

MAGIC = b"rescind-local-snapshot 3"
PIECE = 512
"""Targets in a frame: under a millisecond of encoding."""
_SIZE_BYTES = 4
MAX_SLOTS = 64
"""Processes of one name that each keep a snapshot; further ones keep none, and say so."""
MAX_RUN_BYTES = 64


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
    """One file of a name; `acquire` makes this process its writer.

    Workers of one service have one name and a file each: the first whose lock is free. The lock
    file names the run that holds it, until that one has said goodbye. A lock is free once its
    process has ended, however it did: a run named under a free lock is dead, and not cut off.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name, self._slot = folder, name, 1
        self._lock: int | None = None
        self._before: list[str] = []
        """Runs that held this lock and ended without a goodbye."""
        self._saving = threading.Lock()

    @property
    def path(self) -> Path:
        """The snapshot."""
        return self._path(self._slot, "snapshot")

    def _path(self, slot: int, suffix: str) -> Path:
        more = f"+{slot}" if slot > 1 else ""
        return self._folder / f"{self._name}{more}.{suffix}"

    @property
    def ours(self) -> bool:
        """Whether this process may write the file."""
        return self._lock is not None

    def acquire(self, run: str = "") -> bool:
        """Take a file for this process and a run; False if others have all of them."""
        if self._lock is not None:
            return True
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_folder(self._folder)
            for slot in range(1, MAX_SLOTS + 1):
                lock = os.open(
                    self._path(slot, "lock"),
                    durable.LOCK,
                    durable.MODE,
                )
                if durable.locked(lock):
                    self._lock, self._slot = lock, slot
                    self._enter(lock, run)
                    return True
        except OSError as error:
            raise CheckpointLost(f"cannot use {self._folder}: {error.strerror}") from error
        return False

    def _enter(self, lock: int, run: str) -> None:
        """Write down who holds the lock; what cannot be written is not worth a complaint."""
        with contextlib.suppress(OSError):
            before = os.pread(lock, MAX_RUN_BYTES, 0).decode("ascii", "replace")
            os.ftruncate(lock, 0)
            os.pwrite(lock, run.encode("ascii"), 0)
            if before and before != run:
                self._before = [before, *self._before][:MAX_ENDED]

    def goodbye(self) -> None:
        """Know that the run has said that it ends: nobody need say it for it."""
        if self._lock is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._lock, 0)

    def ended(self) -> list[str]:
        """Return runs of this folder that have ended without a goodbye, at most `MAX_ENDED`."""
        found = list(self._before)
        with contextlib.suppress(OSError):
            own = self._path(self._slot, "lock")
            dead = (_dead(path) for path in self._folder.glob("*.lock") if path != own)
            found += [run for run in dead if run]
        return found[:MAX_ENDED]

    def release(self) -> None:
        """Give the file up. In a child after a fork this leaves the parent's lock as it is."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)  # not LOCK_UN: that would unlock it for the parent too (flock(2))

    def newest_of_others(self, fabric: str) -> Checkpoint | None:
        """Return what another of this name kept last, if that is newer than ours.

        After a restart of all, each may get another's file.
        """
        with contextlib.suppress(OSError, RescindError, Malformed):
            own = self.path.stat().st_mtime_ns if self.path.exists() else 0
            slots = (self._path(n, "snapshot") for n in range(1, MAX_SLOTS + 1) if n != self._slot)
            others = [(each.stat().st_mtime_ns, each) for each in slots if each.exists()]
            at, path = max(others, default=(0, self.path))
            if at > own:
                found = decode(_read_own(path))
                return found if found.fabric == fabric else None
        return None

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


def _dead(lock_path: Path) -> str:
    """Return the run that a free lock names; "" where there is none, or it is held."""
    try:
        lock = os.open(lock_path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        run = os.pread(lock, MAX_RUN_BYTES, 0).decode("ascii", "replace")
        return run if run and durable.locked(lock, shared=True) else ""
    except OSError:
        return ""
    finally:
        os.close(lock)


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
