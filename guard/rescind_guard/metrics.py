"""Names of the guard's metrics, and a counter that threads may share."""

from itertools import count

DECISIONS = "rescind_guard_decisions_total"
"""Decisions by code; label `code`."""


class Counter:
    """Counts by label, exactly, from any number of threads, without a lock."""

    def __init__(self) -> None:
        self._counts: dict[str, count[int]] = {}

    def add(self, label: str) -> None:
        """Count one."""
        try:
            next(self._counts[label])
        except KeyError:
            next(self._counts.setdefault(label, count()))

    def read(self) -> dict[str, int]:
        """Return the counts so far."""
        # A count's state is its next value: what `repr` shows.
        return {label: int(repr(c)[6:-1]) for label, c in list(self._counts.items())}
