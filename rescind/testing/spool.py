"""A publisher's spool in memory: what is appended is committed, and survives its publisher."""

from collections.abc import Callable, Iterable
from pathlib import Path

from rescind_protocol.heads import Position
from rescind_publisher.chain import Numbered
from rescind_publisher.clock import NOTHING, Measured
from rescind_publisher.errors import SpoolFailed
from rescind_publisher.sinks.base import Record
from rescind_publisher.spool import Mark, Marks


class MemorySpool:
    """Stands where the SQLite spool stands.

    `on_commit` hears what has been accepted, `on_doubt` what was not, and lies there nevertheless.
    """

    def __init__(
        self,
        on_commit: Callable[[list[Numbered]], None] | None = None,
        on_doubt: Callable[[list[Numbered]], None] | None = None,
    ) -> None:
        self.directory = Path("memory")
        self.horizon = 0
        self.measured = NOTHING
        """As the last `save_horizon` said."""
        self.marks: dict[tuple[str, str], Mark] = {}
        """By sink and log; as old as the last `save_marks`."""
        self.fails: str = ""
        """Why the next append fails."""
        self.fails_late = False
        """Whether what failed lies there nevertheless: a disk may say so, and be wrong."""
        self.dropped: set[str] = set()
        self._logs: dict[str, list[Numbered]] = {}
        self._on_commit, self._on_doubt = on_commit, on_doubt

    def append(self, made: list[Numbered]) -> None:
        """Commit events of one log, or fail as the test says."""
        why, self.fails = self.fails, ""
        if not why or self.fails_late:
            self._logs.setdefault(made[0].event.log, []).extend(made)
        if why and self.fails_late and self._on_doubt is not None:
            self._on_doubt(made)
        if why:
            raise SpoolFailed(f"spool in memory: {why}")
        if self._on_commit is not None:
            self._on_commit(made)

    def positions(self) -> dict[str, Position]:
        """Newest number and digest of each log."""
        return {
            log: Position(made[-1].event.seq, made[-1].event.digest)
            for log, made in self._logs.items()
        }

    def read(self, log: str, after: int, limit: int) -> list[Record]:
        """Up to `limit` events of a log beyond number `after`, in order."""
        made = self._logs.get(log, [])[after : after + limit]
        return [Record(log, each.event.seq, each.raw) for each in made]

    def drop(self, logs: Iterable[str]) -> None:
        """Forget whole logs."""
        for log in logs:
            del self._logs[log]
            self.dropped.add(log)

    def save_horizon(self, horizon: int, measured: Measured = NOTHING) -> None:
        """Keep the horizon."""
        self.horizon, self.measured = horizon, measured

    def reboot(self) -> None:
        """Know that the host was started again: what its boot clock said means nothing now."""
        self.measured = Measured(self.measured.count)

    def save_marks(self, marks: Iterable[Marks]) -> None:
        """Keep how far the sinks got."""
        for each in marks:
            self.marks[each.sink, each.log] = each.mark

    def copy(self) -> Callable[[], None]:
        """Copy what lies there, as a backup does; return what restores it."""
        logs = {log: list(made) for log, made in self._logs.items()}
        horizon, measured, marks = self.horizon, self.measured, dict(self.marks)
        dropped = set(self.dropped)

        def restore() -> None:
            self._logs, self.marks, self.dropped = logs, marks, dropped
            self.horizon, self.measured = horizon, measured

        return restore

    def checkpoint(self) -> None:
        """Nothing to tidy."""
