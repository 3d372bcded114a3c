"""The guard's metrics, and a counter that threads may share."""

from collections.abc import Mapping
from itertools import count

from rescind_guard.exposition import Family, Metric, one

DECISIONS = Metric("rescind_guard_decisions_total", "Decisions.", "code")
REVOCATION_CHECKED = Metric(
    "rescind_guard_revocation_checked", "1; 0 if this guard was told not to look for kills."
)

METRICS = (DECISIONS, REVOCATION_CHECKED)


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


def families(decisions: Mapping[str, int], *, checked: bool) -> list[Family]:
    """Return a guard's metrics as they are now."""
    return [Family(DECISIONS, decisions), one(REVOCATION_CHECKED, checked)]
