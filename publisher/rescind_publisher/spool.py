"""The spool: a kill is accepted when it is committed here (I1).

SQLite in WAL mode with `synchronous=FULL`: a commit is one append to the WAL and one fsync; in
another journal mode FULL would not be durable (attack F). The lock is SQLite's own, exclusive
from the first read to the close, so that two publishers cannot fork one log.

One event is one row in one B-tree: its key is `log number << 32 | seq`. Progress of the sinks is
saved behind the kills, in batches and without an fsync: what a power cut takes of it is sent again
and answered as a duplicate.

Ownership: one `Spool` belongs to one `Publisher`, whose lock serialises the calls.
"""

import ctypes
import os
import sqlite3
import stat
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from rescind_protocol.heads import Position
from rescind_publisher.chain import Numbered
from rescind_publisher.clock import NOTHING, Measured
from rescind_publisher.errors import SpoolFailed, SpoolForeign, SpoolInUse
from rescind_publisher.sinks.base import Record

SCHEMA_VERSION = 1
FILE = "spool.db"
OWNER_FILE = "owner.pid"
CHECKPOINT_PAGES = 1000
"""The WAL is folded into the file beyond this, off the path of a kill (SQLite's own default)."""
_REMEDY = "move it away, and give every kill in it again"
_SEQ_BITS = 32
_MEASURED = "measured"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_BEGIN = "BEGIN IMMEDIATE"
"""Within `with` on the connection itself, which commits or rolls back: between the two, no code of
ours runs that an interrupt could cut short and leave the transaction open."""

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE logs (number INTEGER PRIMARY KEY, log TEXT NOT NULL UNIQUE);
CREATE TABLE events (place INTEGER PRIMARY KEY, digest BLOB NOT NULL, raw BLOB NOT NULL);
CREATE TABLE progress (
  sink TEXT, number INTEGER, durable INTEGER NOT NULL, position TEXT NOT NULL,
  PRIMARY KEY (sink, number)
) WITHOUT ROWID;
"""


class Mark(msgspec.Struct, frozen=True):
    """How far a sink holds a log for certain: everything up to `durable` was read back."""

    durable: int
    position: str
    """Where the sink holds that event, in its own notation: what a later look must find again."""


class _Kept(msgspec.Struct, frozen=True):
    """What was measured, as it lies there: a boot clock's time means nothing in another boot."""

    boot_id: str = ""
    boot_s: float | None = None
    count: int = 0


class Marks(msgspec.Struct, frozen=True):
    """The mark of one log in one sink."""

    sink: str
    log: str
    mark: Mark


@contextmanager
def _mapped(directory: Path, what: str) -> Iterator[None]:
    """Map SQLite's errors to ours, with the sentence for the operator."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorname", "") or ""
        if code.startswith("SQLITE_BUSY"):
            raise SpoolInUse(
                f"spool {directory} is in use by process {_owner(directory)}"
            ) from error
        raise SpoolFailed(f"spool {directory}: {what}: {_advice(code)} ({error})") from error
    except OSError as error:
        raise SpoolFailed(f"spool {directory}: {what}: {error.strerror}") from error


def _advice(code: str) -> str:
    known = {
        "SQLITE_FULL": "the disk is full",
        "SQLITE_READONLY": "it is read-only",
        "SQLITE_CORRUPT": f"it is corrupt: {_REMEDY}",
        "SQLITE_NOTADB": f"its file is not a spool: {_REMEDY}",
        "SQLITE_ERROR": f"its file is not a whole spool: {_REMEDY}",
        "SQLITE_CANTOPEN": "its file cannot be opened",
        "SQLITE_IOERR": "the disk reports an error",
    }
    return next((text for prefix, text in known.items() if code.startswith(prefix)), "it failed")


def _owner(directory: Path) -> str:
    with suppress(OSError, ValueError):
        return str(int((directory / OWNER_FILE).read_text("ascii")[:20]))
    return "unknown"


_open_spools: weakref.WeakSet["Spool"] = weakref.WeakSet()


def _leave_to_parent() -> None:
    """Never close what a fork copied: SQLite would fold and remove the parent's WAL."""
    for spool in _open_spools:
        spool.leak()


os.register_at_fork(after_in_child=_leave_to_parent)


class Spool:
    """The events of one key in one fabric, on this host's disk."""

    def __init__(self, directory: Path, *, fabric: str, kid: str) -> None:
        """Open or create; raises `SpoolInUse`, `SpoolForeign`, `SpoolFailed`."""
        self.directory = directory
        self._numbers: dict[str, int] = {}
        self.dropped: set[str] = set()
        """Logs that were dropped: brokers may hold them, and nobody needs them."""
        with _mapped(directory, "cannot be opened"):
            _prepare(directory)
            self._db = sqlite3.connect(
                directory / FILE, timeout=0, isolation_level=None, check_same_thread=False
            )
        try:
            with _mapped(directory, "cannot be opened"):
                self._open(fabric, kid)
        except SpoolFailed:
            self._db.close()
            raise
        _open_spools.add(self)

    def leak(self) -> None:
        """Keep the connection from ever being closed in this process."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._db))

    def _open(self, fabric: str, kid: str) -> None:
        execute = self._db.execute
        execute("PRAGMA locking_mode=EXCLUSIVE")  # before the first access: no shared memory then
        execute("PRAGMA journal_mode=WAL")
        execute("PRAGMA synchronous=FULL")
        execute("PRAGMA wal_autocheckpoint=0")
        execute("BEGIN EXCLUSIVE")
        version = execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._create(fabric, kid)
        execute("COMMIT")
        if version > SCHEMA_VERSION:
            raise SpoolForeign(f"spool {self.directory} was written by a newer version")
        self._check_owner(fabric, kid)
        _write_owner(self.directory)
        execute("CREATE TABLE IF NOT EXISTS dropped (log TEXT PRIMARY KEY) WITHOUT ROWID")
        self._numbers = {log: number for number, log in execute("SELECT number, log FROM logs")}
        self.dropped = {log for (log,) in execute("SELECT log FROM dropped")}

    def _create(self, fabric: str, kid: str) -> None:
        for statement in _SCHEMA.split(";"):
            self._db.execute(statement)
        self._db.executemany("INSERT INTO meta VALUES (?, ?)", [("fabric", fabric), ("kid", kid)])
        self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def _check_owner(self, fabric: str, kid: str) -> None:
        of = dict(self._db.execute("SELECT name, value FROM meta"))
        if of.get("fabric") != fabric:
            raise SpoolForeign(
                f"spool {self.directory} belongs to fabric {of.get('fabric')!r}, not {fabric!r}"
            )
        if of.get("kid") != kid:
            raise SpoolForeign(
                f"spool {self.directory} belongs to key {of.get('kid')!r}, not {kid!r}: "
                "use a directory for each key"
            )

    def close(self) -> None:
        """Release the lock."""
        _open_spools.discard(self)
        with suppress(sqlite3.Error):
            self._db.close()

    # --- events ---

    def append(self, made: list[Numbered]) -> None:
        """Commit events of one log; when it returns they are on the disk (I1)."""
        log = made[0].event.log
        with _mapped(self.directory, "the event was not accepted"):
            number = self._numbers.get(log)
            if number is not None and len(made) == 1:
                self._db.execute("INSERT INTO events VALUES (?, ?, ?)", _row(number, made[0]))
                return
            with self._db:
                self._db.execute(_BEGIN)
                if number is None:
                    number = self._new_log(log)
                rows = [_row(number, each) for each in made]
                self._db.executemany("INSERT INTO events VALUES (?, ?, ?)", rows)
            self._numbers[log] = number

    def _new_log(self, log: str) -> int:
        number = self._db.execute("INSERT INTO logs (log) VALUES (?)", (log,)).lastrowid
        if number is None:
            raise SpoolFailed("SQLite gave no row id")
        return number

    def positions(self) -> dict[str, Position]:
        """Newest number and digest of each log."""
        found: dict[str, Position] = {}
        with _mapped(self.directory, "cannot be read"):
            for log, number in self._numbers.items():
                row = self._db.execute(
                    "SELECT place, digest FROM events WHERE place BETWEEN ? AND ? "
                    "ORDER BY place DESC LIMIT 1",
                    (number << _SEQ_BITS, (number + 1 << _SEQ_BITS) - 1),
                ).fetchone()
                if row is None or not isinstance(row[1], bytes):
                    raise self._corrupt(f"log {log} has no newest event")
                found[log] = Position(row[0] - (number << _SEQ_BITS), row[1])
        return found

    def read(self, log: str, after: int, limit: int) -> list[Record]:
        """Up to `limit` events of a log beyond number `after`, in order."""
        number = self._numbers.get(log)
        if number is None:
            return []
        base = number << _SEQ_BITS
        with _mapped(self.directory, "cannot be read"):
            rows = self._db.execute(
                "SELECT place, raw FROM events WHERE place > ? AND place < ? "
                "ORDER BY place LIMIT ?",
                (base + after, number + 1 << _SEQ_BITS, limit),
            ).fetchall()
        if not all(isinstance(raw, bytes) for _, raw in rows):
            raise self._corrupt(f"an event of log {log} is none")
        return [Record(log, place - base, raw) for place, raw in rows]

    def _corrupt(self, what: str) -> SpoolFailed:
        return SpoolFailed(f"spool {self.directory} is corrupt: {what}: {_REMEDY}")

    def drop(self, logs: Iterable[str]) -> None:
        """Forget whole logs."""
        with _mapped(self.directory, "cannot be pruned"), self._db:
            self._db.execute(_BEGIN)
            for log in logs:
                number = self._numbers.pop(log)
                bounds = (number << _SEQ_BITS, (number + 1 << _SEQ_BITS) - 1)
                self._db.execute("DELETE FROM events WHERE place BETWEEN ? AND ?", bounds)
                self._db.execute("DELETE FROM progress WHERE number = ?", (number,))
                self._db.execute("DELETE FROM logs WHERE number = ?", (number,))
                self._db.execute("INSERT OR IGNORE INTO dropped VALUES (?)", (log,))
                self.dropped.add(log)

    # --- what lags behind ---

    def marks(self, sink: str) -> dict[str, Mark]:
        """How far the sink holds each log, by what was saved; what makes no sense was not."""
        logs = {number: log for log, number in self._numbers.items()}
        with _mapped(self.directory, "cannot be read"):
            rows = self._db.execute(
                "SELECT number, durable, position FROM progress WHERE sink = ?", (sink,)
            ).fetchall()
        return {
            logs[number]: Mark(durable, str(position))
            for number, durable, position in rows
            if number in logs and isinstance(durable, int) and durable > 0
        }

    def save_marks(self, marks: Iterable[Marks]) -> None:
        """Save how far sinks got; not synced, for the next commit of a kill does that."""
        rows = [
            (m.sink, self._numbers[m.log], m.mark.durable, m.mark.position)
            for m in marks
            if m.log in self._numbers
        ]
        with _mapped(self.directory, "cannot be written"), self._unsynced(), self._db:
            self._db.execute(_BEGIN)
            self._db.executemany("INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?)", rows)

    def checkpoint(self) -> None:
        """Fold a long WAL into the file, so that no kill has to."""
        wal = self.directory / f"{FILE}-wal"
        with _mapped(self.directory, "cannot be written"):
            if wal.exists() and wal.stat().st_size > CHECKPOINT_PAGES * 4096:
                self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    @property
    def horizon(self) -> int:
        """The newest horizon that may have been signed (unix seconds)."""
        with _mapped(self.directory, "cannot be read"):
            row = self._db.execute("SELECT value FROM meta WHERE name = 'horizon'").fetchone()
        if row and not isinstance(row[0], int):
            raise self._corrupt("its horizon is no number")
        return row[0] if row else 0

    @property
    def measured(self) -> Measured:
        """What was committed with the horizon."""
        with _mapped(self.directory, "cannot be read"):
            row = self._db.execute("SELECT value FROM meta WHERE name = ?", (_MEASURED,)).fetchone()
        try:
            kept = msgspec.json.decode(row[0], type=_Kept) if row else _Kept()
        except (msgspec.MsgspecError, TypeError) as error:
            raise self._corrupt("what it has measured cannot be read") from error
        same = bool(kept.boot_id) and kept.boot_id == _boot_id()
        return Measured(kept.count, kept.boot_s if same else None)

    def save_horizon(self, horizon: int, measured: Measured = NOTHING) -> None:
        """Commit a horizon before it is signed: it must never go back."""
        kept = _Kept(_boot_id(), measured.boot_s, measured.count)
        rows = [("horizon", horizon), (_MEASURED, msgspec.json.encode(kept).decode())]
        with _mapped(self.directory, "cannot be written"), self._db:
            self._db.execute(_BEGIN)
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)

    @contextmanager
    def _unsynced(self) -> Iterator[None]:
        self._db.execute("PRAGMA synchronous=NORMAL")
        try:
            yield
        finally:
            self._db.execute("PRAGMA synchronous=FULL")


def _boot_id() -> str:
    """Return what names this start of the host (random(4)), "" where nothing does."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return ""


def _row(number: int, made: Numbered) -> tuple[int, bytes, bytes]:
    return (number << _SEQ_BITS) + made.event.seq, made.event.digest, made.raw


def _prepare(directory: Path) -> None:
    """Make the directory 0700 and the file 0600 before SQLite opens it; WAL inherits the mode."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.stat()
    if found.st_uid != os.geteuid():
        raise SpoolFailed(f"spool {directory} belongs to another user (uid {found.st_uid})")
    if found.st_mode & _OTHERS:
        raise SpoolFailed(f"spool {directory} is open to others: chmod 700 {directory}")
    file = directory / FILE
    _check_not_emptied(directory)
    # Never open an existing one here: closing it would drop the locks that another publisher of
    # this very process holds on it (POSIX locks belong to the process, fcntl(2)).
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    mode = file.lstat().st_mode
    if not stat.S_ISREG(mode) or mode & _OTHERS:
        raise SpoolFailed(f"{file} must be a regular file that only its owner can read: chmod 600")


def _check_not_emptied(directory: Path) -> None:
    """Refuse a file without a byte that was a spool: as a new one, its kills would be forgotten."""
    sizes = [_size(directory / name) for name in (FILE, f"{FILE}-wal", OWNER_FILE)]
    if sizes[0] == 0 and not sizes[1] and sizes[2]:
        raise SpoolFailed(
            f"spool {directory} is corrupt: {FILE} was emptied: {_REMEDY} (every file of it)"
        )


def _size(file: Path) -> int | None:
    return file.lstat().st_size if file.exists() else None


def _write_owner(directory: Path) -> None:
    """Only for the sentence of whoever comes second; the lock itself is SQLite's."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(directory / OWNER_FILE, flags, 0o600), "w", encoding="ascii") as file:
        file.write(str(os.getpid()))
