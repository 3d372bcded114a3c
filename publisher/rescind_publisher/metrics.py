"""Names of the publisher's metrics, and the plain counters behind them."""

import threading

ACCEPTED = "rescind_publisher_events_accepted_total"
"""Events committed to the spool."""
REFUSED = "rescind_publisher_requests_refused_total"
"""Requests refused before anything was accepted."""
ACKED = "rescind_publisher_events_acked_total"
"""Events that a sink acknowledged; counted once for each sink."""
DURABLE = "rescind_publisher_events_durable_total"
"""Events read back byte for byte; counted once for each sink."""
SEND_FAILURES = "rescind_publisher_send_failures_total"
"""Attempts to store or to read back that failed, and are tried again."""
REPAIRS = "rescind_publisher_repairs_total"
"""Events that a sink acknowledged and did not hold as sent. Anything but 0 is an alarm."""
REWINDS = "rescind_publisher_rewinds_total"
"""Logs sent again from their start, for a sink no longer held what it had. An alarm too."""
FOREIGN = "rescind_publisher_foreign_bytes_total"
"""Places of our events in a sink at which bytes lay that our key has not signed. An alarm."""
HEADS = "rescind_publisher_heads_total"
"""Heads announced; counted once for each sink."""
HEAD_FAILURES = "rescind_publisher_head_failures_total"
"""Heads that a sink did not take in time."""
CLOCK_JUMPS = "rescind_publisher_clock_jumps_total"
"""Heads signed while the wall clock was off its course; the horizon stands still meanwhile."""
MOVED = "rescind_publisher_moves_total"
"""Events that say kills of old logs again in the current one."""
SNAPSHOTS = "rescind_publisher_snapshots_total"
"""Snapshots written and read back; counted once for each sink."""
SNAPSHOT_FAILURES = "rescind_publisher_snapshot_failures_total"
"""Attempts to write, list or read back snapshots that failed; tried again later."""
REPORTS = "rescind_publisher_reports_total"
"""Subscribers' reports that were taken."""
REPORTS_REFUSED = "rescind_publisher_reports_refused_total"
"""Reports that could not be read, were late, or came when the roster was full."""
REPORT_FLOODS = "rescind_publisher_report_floods_total"
"""Times that listening was paused, for reports came faster than any fleet sends them."""

NAMES = (
    ACCEPTED,
    REFUSED,
    ACKED,
    DURABLE,
    SEND_FAILURES,
    REPAIRS,
    REWINDS,
    FOREIGN,
    HEADS,
    HEAD_FAILURES,
    CLOCK_JUMPS,
    MOVED,
    SNAPSHOTS,
    SNAPSHOT_FAILURES,
    REPORTS,
    REPORTS_REFUSED,
    REPORT_FLOODS,
)


class Counters:
    """Counts by metric name, exactly, from any number of threads."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(NAMES, 0)
        self._lock = threading.Lock()

    def add(self, name: str, by: int = 1) -> None:
        """Count `by` more."""
        with self._lock:
            self._counts[name] += by

    def read(self) -> dict[str, int]:
        """Return the counts so far."""
        return dict(self._counts)
