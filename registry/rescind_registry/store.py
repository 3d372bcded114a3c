"""What a node remembers, in SQLite: agents, badges it issued, API tokens, answered requests.

Never who is suspended or killed: that is the log's to say. Several processes of one machine may
share the file.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rescind_registry.errors import StoreFailed

VERSION = 1
BUSY_S = 5.0
_SCHEMA = (Path(__file__).with_name("schema.sql")).read_text("utf-8")


class Store:
    """One connection, one caller at a time; raises `StoreFailed`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            self._db = sqlite3.connect(
                path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise StoreFailed(
                f"the registry's database {path} cannot be opened: {error}"
            ) from error
        with self._said(), self._lock:
            self._prepare()

    def __repr__(self) -> str:
        return f"<Store {self.path}>"

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA foreign_keys=ON")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise StoreFailed(f"{self.path} was written by a newer version of this program")
        if version < VERSION:
            self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version={VERSION};")
            self._db.execute("COMMIT")

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a question."""
        with self._said(), self._lock:
            return self._db.execute(query, values).fetchall()

    def change(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Commit one statement; return how many rows it touched."""
        with self._said(), self._lock:
            return self._db.execute(statement, values).rowcount

    def change_all(self, *statements: tuple[str, Sequence[Any]]) -> None:
        """Commit several statements: all of them, or none."""
        with self._said(), self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for statement, values in statements:
                    self._db.execute(statement, values)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Let no exception of SQLite's out."""
        try:
            yield
        except sqlite3.Error as error:
            raise StoreFailed(f"the registry's database {self.path}: {error}") from error
