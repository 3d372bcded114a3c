"""The audit trail: who did what, why, from where. JSON lines, each with the hash of the one before.

Append only, by any process of this host, each line on disk before the answer. A line that was
changed, taken out or put in shows in `verify`. Lines cut off the end show only to who knows the
last hash: `rescind audit verify --head` compares with one that was kept elsewhere.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from rescind_registry.errors import AuditFailed

GENESIS = "0" * 64
MAX_LINE_BYTES = 64 * 1024 * 1024
"""A request is one line: 10,000 targets, each with two names of 512 characters of up to 4 bytes."""
_TAIL_BYTES = 64 * 1024
Hash = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One act. `at` in unix seconds; never a token, a key or a badge."""

    n: int = 0
    at: float
    who: str
    """Name and id of the API token, or user@host for the command line."""
    where: str
    """Address of the client, or "local"."""
    what: str
    """As `kill`, `reinstate`, `enrol`, `token.make`."""
    targets: tuple[str, ...] = ()
    why: str | None = None
    outcome: str = "done"
    ids: tuple[str, ...] = ()
    """The revocations that it made or ended."""
    prev: Hash = GENESIS
    hash: str = ""

    def sealed(self, n: int, prev: str) -> "Entry":
        """Return it with its number, the hash before, and its own."""
        # A whole number is read back as a float, and would be written otherwise then.
        bare = msgspec.structs.replace(self, n=n, at=float(self.at), prev=prev, hash="")
        return msgspec.structs.replace(bare, hash=_digest(bare))


def _digest(entry: Entry) -> str:
    """SHA-256 over the line without its own hash."""
    return sha256(msgspec.json.encode(msgspec.structs.replace(entry, hash=""))).hexdigest()


class Trail:
    """The file; raises `AuditFailed`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, entry: Entry) -> Entry:
        """Write one act, and return it as it stands there."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            handle = os.open(self.path, flags, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                last = _last(handle)
                sealed = entry.sealed(*((1, GENESIS) if last is None else (last.n + 1, last.hash)))
                _write(handle, msgspec.json.encode(sealed) + b"\n")
            finally:
                os.close(handle)
        except OSError as error:
            raise AuditFailed(
                f"the audit trail {self.path} cannot be written: {error.strerror}"
            ) from error
        return sealed

    def entries(self) -> Iterator[Entry]:
        """Read every act, oldest first, without judging the chain."""
        try:
            with self.path.open("rb") as file:
                while line := file.readline(MAX_LINE_BYTES):
                    yield _read(line, self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise AuditFailed(f"{self.path} cannot be read: {error.strerror}") from error


def _write(handle: int, line: bytes) -> None:
    while line:
        line = line[os.write(handle, line) :]
    os.fsync(handle)


def _last(handle: int) -> Entry | None:
    """Return the last line; half a line, of a write that was cut off, is an error."""
    end = os.lseek(handle, 0, os.SEEK_END)
    if end == 0:
        return None
    size = _TAIL_BYTES
    while True:
        start = max(0, end - size)
        tail = os.pread(handle, end - start, start)
        if not tail.endswith(b"\n"):
            raise AuditFailed(
                "the audit trail ends in half a line: look at it, and add the line feed or cut it"
            )
        _, found, line = tail[:-1].rpartition(b"\n")
        if found or start == 0:
            return _read(line, None)
        size *= 4


def _read(line: bytes, path: Path | None) -> Entry:
    try:
        return msgspec.json.decode(line, type=Entry)
    except msgspec.MsgspecError as error:
        where = f"{path}: " if path else ""
        raise AuditFailed(f"{where}a line of the audit trail is damaged: {error}") from error


def verify(entries: Iterable[Entry], head: str | None = None) -> tuple[int, str]:
    """Return the number of lines and the last hash; raises `AuditFailed` at the first fault."""
    count, prev = 0, GENESIS
    for count, entry in enumerate(entries, 1):
        if entry.n != count or entry.prev != prev:
            raise AuditFailed(f"line {count} of the audit trail does not follow the one before it")
        if entry.hash != _digest(entry):
            raise AuditFailed(f"line {count} of the audit trail was changed after it was written")
        prev = entry.hash
        if prev == head:
            head = None
    if head is not None:
        raise AuditFailed(f"no line of the audit trail has the hash {head[:64]}: its end was cut")
    return count, prev
