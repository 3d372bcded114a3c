"""The file of past events: what readers who were away longer than memory reaches are served from.

A copy of what the log says, in the signed bytes, and no truth of its own: it may be deleted at any
time. What it does not hold is told to a reader as gone, never skipped. One file in the node's
folder (SQLite, WAL), bounded: the oldest rows go first. All calls block; the hub makes them in
threads.
"""

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from rescind_registry.feeds.errors import StoreDamaged

log = logging.getLogger("rescind.registry")

MAX_EVENTS = 1_000_000
"""Events kept; about 1 GiB of those that carry one kill."""
MAX_BYTES = 1024 * 1024 * 1024
"""Signed bytes kept."""
SHARE = 100
"""One part in so many goes at a time when there is no more room."""
VARIABLES = 500
"""Values in one statement; SQLite allows 999 everywhere."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (fabric TEXT NOT NULL, version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS events (
  place INTEGER PRIMARY KEY, tag TEXT NOT NULL, seq INTEGER NOT NULL,
  digest BLOB NOT NULL, raw BLOB NOT NULL, UNIQUE (tag, seq, digest));
"""
_VERSION = 1
_RUN = """
SELECT max(a.seq) FROM events a WHERE a.tag = ?
AND NOT EXISTS (SELECT 1 FROM events b WHERE b.tag = a.tag AND b.seq = a.seq - 1)
"""

_SOME = """
SELECT seq, digest, CAST(raw AS BLOB) FROM events WHERE tag = ? AND seq IN ({}) ORDER BY seq, place
"""


class Row(msgspec.Struct, frozen=True, gc=False):
    """One event."""

    tag: str
    seq: int
    raw: bytes


class Held(msgspec.Struct, frozen=True, gc=False):
    """What is there of one log without a hole: `after` < seq <= `upto`."""

    after: int
    upto: int


class EventStore:
    """The file; made anew where it is damaged or another fabric's."""

    def __init__(
        self,
        path: Path,
        fabric: str,
        *,
        max_events: int = MAX_EVENTS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.path = path
        self._fabric = fabric
        self._max_events, self._max_bytes = max_events, max_bytes
        self._lock = threading.Lock()
        self._count = self._bytes = 0
        self._db: sqlite3.Connection | None = None

    def open(self) -> dict[str, Held]:
        """Return what is held, by tag; raises `StoreDamaged` if no file can be made."""
        with self._lock:
            try:
                return self._open()
            except (StoreDamaged, sqlite3.DatabaseError) as error:
                log.warning("%s is made anew: %s", self.path, error)
                self._remove()
            try:
                return self._open()
            except sqlite3.Error as error:
                raise StoreDamaged(f"{self.path} cannot be made: {error}") from error

    def _open(self) -> dict[str, Held]:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        os.close(os.open(self.path, flags, 0o600))
        self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        # Not FULL: what a power cut takes from a copy, readers are told of as gone.
        for setting in ("journal_mode=WAL", "synchronous=NORMAL"):
            self._db.execute(f"PRAGMA {setting}")
        self._db.executescript(_SCHEMA)
        about = self._db.execute("SELECT fabric, version FROM about").fetchone()
        if about is None:
            self._db.execute("INSERT INTO about VALUES (?, ?)", (self._fabric, _VERSION))
        elif about != (self._fabric, _VERSION):
            raise StoreDamaged(f"it is of fabric {about[0]!r}, version {about[1]}")
        self._count, self._bytes = self._db.execute(
            "SELECT count(*), coalesce(sum(length(raw)), 0) FROM events"
        ).fetchone()
        return self._held(tag for (tag,) in self._db.execute("SELECT DISTINCT tag FROM events"))

    def _held(self, tags: Iterable[str]) -> dict[str, Held]:
        found = {}
        for tag in list(tags):
            last = self._all("SELECT max(seq) FROM events WHERE tag = ?", tag)[0][0]
            if last is not None:
                found[tag] = Held(self._all(_RUN, tag)[0][0] - 1, last)
        return found

    def _remove(self) -> None:
        self._close()
        for end in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + end).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()

    def add(self, rows: Sequence[Row]) -> dict[str, Held | None]:
        """Write rows; return what is held now of each log that rows had to go of, for room.

        Raises `StoreDamaged`.
        """
        with self._lock, self._mapped():
            db = self._need()
            db.execute("BEGIN")
            try:
                for row in rows:
                    values = (row.tag, row.seq, sha256(row.raw).digest(), row.raw)
                    made = db.execute(
                        "INSERT OR IGNORE INTO events (tag, seq, digest, raw) VALUES (?, ?, ?, ?)",
                        values,
                    )
                    self._count += made.rowcount
                    self._bytes += made.rowcount * len(row.raw)
            finally:
                db.execute("COMMIT")
            return self._trim(db)

    def _trim(self, db: sqlite3.Connection) -> dict[str, Held | None]:
        touched: set[str] = set()
        while self._count > self._max_events or self._bytes > self._max_bytes:
            oldest = db.execute(
                "SELECT place, tag, length(raw) FROM events ORDER BY place LIMIT ?",
                (max(1, self._count // SHARE),),
            ).fetchall()
            db.execute("DELETE FROM events WHERE place <= ?", (oldest[-1][0],))
            self._count -= len(oldest)
            self._bytes -= sum(size for _, _, size in oldest)
            touched.update(tag for _, tag, _ in oldest)
        held = self._held(touched)
        return {tag: held.get(tag) for tag in touched}

    def read(self, tag: str, numbers: Sequence[int]) -> list[Row]:
        """Return the events of these numbers that are there, in order; both of a fork.

        A row that is not what was written is not there. Raises `StoreDamaged`.
        """
        found: list[Row] = []
        with self._lock, self._mapped():
            for some in _slices(numbers):
                query = _SOME.format(",".join("?" * len(some)))
                for seq, digest, raw in self._all(query, tag, *some):
                    if sha256(raw).digest() == digest:
                        found.append(Row(tag, seq, raw))
                    else:
                        log.error("%s: event %s of %s is damaged", self.path, seq, tag)
        return found

    def _all(self, query: str, *values: object) -> list[Any]:
        return self._need().execute(query, values).fetchall()

    def _need(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreDamaged(f"{self.path} is closed")
        return self._db

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreDamaged(f"{self.path}: {error}") from error


def _slices(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), VARIABLES):
        yield numbers[start : start + VARIABLES]
