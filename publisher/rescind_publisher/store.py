"""What the ledger needs of a spool."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Protocol

from rescind_protocol.positions import Position
from rescind_publisher.chain import Numbered
from rescind_publisher.clock import NOTHING, Measured
from rescind_publisher.sinks.base import Record
from rescind_publisher.spool import Marks


class Store(Protocol):
    """What a ledger needs of a spool: `append` commits, and what it committed stays."""

    directory: Path
    """Where it lies, for sentences."""

    @property
    def horizon(self) -> int:
        """The newest horizon that may have been signed (unix seconds)."""
        ...

    @property
    def measured(self) -> Measured:
        """What was committed with it."""
        ...

    @property
    def dropped(self) -> Collection[str]:
        """Logs that were dropped."""
        ...

    def append(self, made: list[Numbered]) -> None:
        """Commit events of one log; raises `SpoolFailed`, the events may then lie there or not."""

    def positions(self) -> dict[str, Position]:
        """Newest number and digest of each log."""
        ...

    def read(self, log: str, after: int, limit: int) -> list[Record]:
        """Up to `limit` events of a log beyond number `after`, in order."""
        ...

    def drop(self, logs: Iterable[str]) -> None:
        """Forget whole logs."""

    def save_horizon(self, horizon: int, measured: Measured = NOTHING) -> None:
        """Commit a horizon before it is signed, with what was measured until then."""

    def save_marks(self, marks: Iterable[Marks]) -> None:
        """Save how far the sinks got."""

    def checkpoint(self) -> None:
        """Tidy up, off the path of a kill."""
