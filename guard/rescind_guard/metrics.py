"""The guard's metrics, and a counter that threads may share."""

import threading
import time
from bisect import bisect_left
from collections.abc import Mapping
from itertools import count

from rescind_guard.exposition import Family, Metric, histogram, one

DECISIONS = Metric("rescind_guard_decisions_total", "Decisions.", "code")
REVOCATION_CHECKED = Metric(
    "rescind_guard_revocation_checked", "1; 0 if this guard was told not to look for kills."
)
SAMPLED = 61
"""One check in so many is timed: to read a clock twice costs a tenth of a cached check. A prime, so
that calls that come in turns are not always timed at the same one."""
CHECK_SECONDS = Metric(
    "rescind_guard_check_seconds",
    f"How long a check takes; one in {SAMPLED} is timed.",
    buckets=(2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 2e-2),
)
POLICY_READY = Metric(
    "rescind_guard_policy_ready",
    "1; 0 if the policy cannot be evaluated, and every call is denied.",
)
POLICY_CURRENT = Metric(
    "rescind_guard_policy_current",
    "1; 0 if a newer policy cannot be had or not be used: the one before goes on deciding.",
)
LOG_RECORDS = Metric(
    "rescind_guard_log_records_total",
    "Records of the decision log, by what became of them.",
    "outcome",
)
LOG_WAITING = Metric("rescind_guard_log_waiting", "Records that are not written yet.")

METRICS = (
    DECISIONS,
    CHECK_SECONDS,
    REVOCATION_CHECKED,
    POLICY_READY,
    POLICY_CURRENT,
    LOG_RECORDS,
    LOG_WAITING,
)


steady_s = time.perf_counter


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
        # A copy is made in one step; a list of items makes tuples, between which others may add.
        # A count's state is its next value: what `repr` shows.
        return {label: int(repr(c)[6:-1]) for label, c in self._counts.copy().items()}


class Times:
    """A histogram of samples. Nobody waits: what comes while another is noted is left out."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._counts = [0] * (len(metric.buckets) + 1)
        self._total = 0.0
        self._alone = threading.Lock()

    def add(self, seconds: float) -> None:
        """Note one."""
        if self._alone.acquire(blocking=False):
            self._counts[bisect_left(self._metric.buckets, seconds)] += 1
            self._total += seconds
            self._alone.release()

    def read(self) -> Family:
        """Return what was noted so far; a sample that comes meanwhile may be in its sum alone."""
        return histogram(self._metric, list(self._counts), self._total)


def families(
    decisions: Mapping[str, int], times: Times, *, checked: bool, ready: bool, current: bool
) -> list[Family]:
    """Return a guard's metrics as they are now."""
    return [
        Family(DECISIONS, decisions),
        times.read(),
        one(REVOCATION_CHECKED, checked),
        one(POLICY_READY, ready),
        one(POLICY_CURRENT, current),
    ]
