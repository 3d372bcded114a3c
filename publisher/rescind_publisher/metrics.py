"""The publisher's metrics: names, the plain counters behind them, and what they are now."""

import threading
from collections.abc import Sequence

from rescind_guard.exposition import Family, Metric, one
from rescind_publisher.fleet import Fleet
from rescind_publisher.status import SinkStatus, Status

ACCEPTED = "rescind_publisher_events_accepted_total"
REFUSED = "rescind_publisher_requests_refused_total"
ACKED = "rescind_publisher_events_acked_total"
DURABLE = "rescind_publisher_events_durable_total"
SEND_FAILURES = "rescind_publisher_send_failures_total"
REPAIRS = "rescind_publisher_repairs_total"
REWINDS = "rescind_publisher_rewinds_total"
FOREIGN = "rescind_publisher_foreign_bytes_total"
SCRUBS = "rescind_publisher_scrubs_total"
LOST = "rescind_publisher_lost_events_total"
MENDED = "rescind_publisher_mended_events_total"
FORKS = "rescind_publisher_forks_total"
HEADS = "rescind_publisher_heads_total"
HEAD_FAILURES = "rescind_publisher_head_failures_total"
CLOCK_JUMPS = "rescind_publisher_clock_jumps_total"
MOVED = "rescind_publisher_moves_total"
TAKEN_BACK = "rescind_publisher_taken_back_events_total"
SNAPSHOTS = "rescind_publisher_snapshots_total"
SNAPSHOT_FAILURES = "rescind_publisher_snapshot_failures_total"
REPORTS = "rescind_publisher_reports_total"
REPORTS_REFUSED = "rescind_publisher_reports_refused_total"
REPORT_FLOODS = "rescind_publisher_report_floods_total"

COUNTERS = (
    Metric(ACCEPTED, "Events committed to the spool."),
    Metric(REFUSED, "Requests refused before anything was accepted."),
    Metric(ACKED, "Events that a sink acknowledged; counted once for each sink."),
    Metric(DURABLE, "Events read back byte for byte; counted once for each sink."),
    Metric(SEND_FAILURES, "Attempts to store or to read back that failed, and are tried again."),
    Metric(
        REPAIRS,
        "Events that a sink acknowledged and did not hold as sent. Anything but 0 is an alarm.",
    ),
    Metric(
        REWINDS,
        "Logs sent again from their start, for a sink no longer held what it had. An alarm too.",
    ),
    Metric(
        FOREIGN,
        "Places of our events in a sink at which bytes lay that our key has not signed. An alarm.",
    ),
    Metric(
        SCRUBS, "Comparisons of all that a sink holds with the spool; counted once for each sink."
    ),
    Metric(
        LOST,
        "Events that a scrub found missing from a sink that had them. Anything but 0 is an alarm.",
    ),
    Metric(MENDED, "Those of them that the sink holds again."),
    Metric(
        FORKS,
        "Second events of a number of ours, signed by our key, that a scrub found. An alarm.",
    ),
    Metric(HEADS, "Heads announced; counted once for each sink."),
    Metric(HEAD_FAILURES, "Heads that a sink did not take in time."),
    Metric(
        CLOCK_JUMPS,
        "Heads signed while the wall clock was off its course; ahead of it, they say the old one.",
    ),
    Metric(MOVED, "Events that say kills of old logs again in the current one."),
    Metric(
        TAKEN_BACK,
        "Own events that the brokers held and the spool, an older copy, did not. An alarm.",
    ),
    Metric(SNAPSHOTS, "Snapshots written and read back; counted once for each sink."),
    Metric(
        SNAPSHOT_FAILURES,
        "Attempts to write, list or read back snapshots that failed; tried again later.",
    ),
    Metric(REPORTS, "Subscribers' reports that were taken."),
    Metric(
        REPORTS_REFUSED,
        "Reports that could not be read, were late, or came when the roster was full.",
    ),
    Metric(
        REPORT_FLOODS,
        "Times that listening was paused, for reports came faster than any fleet sends them.",
    ),
)
NAMES = tuple(each.name for each in COUNTERS)

LIVE = Metric("rescind_publisher_live_revocations", "Kills of this key that are in force.")
LOGS = Metric("rescind_publisher_logs", "Logs that its heads name.")
CLOCK_JUMPED = Metric(
    "rescind_publisher_clock_jumped", "1 while the wall clock is off its course: set it."
)
SINK_READY = Metric(
    "rescind_publisher_sink_ready", "1 while the broker takes events and has no problem.", "sink"
)
PENDING = Metric(
    "rescind_publisher_pending_events",
    "Events that the broker does not hold for certain; they wait in the spool.",
    "sink",
)
SNAPSHOTS_KEPT = Metric(
    "rescind_publisher_snapshots_kept", "Snapshots of ours read back from the broker.", "sink"
)
SUBSCRIBERS = Metric(
    "rescind_publisher_subscribers", "Subscribers that report, by whether they still do.", "reach"
)

METRICS = (
    *COUNTERS,
    LIVE,
    LOGS,
    CLOCK_JUMPED,
    SINK_READY,
    PENDING,
    SNAPSHOTS_KEPT,
    SUBSCRIBERS,
)


def families(now: Status, fleet: Fleet) -> list[Family]:
    """Return a publisher's metrics as they are now."""
    away = sum(each.away for each in fleet.members)
    known = sum(each.workers for each in fleet.members)
    return [
        *(one(each, now.counters.get(each.name, 0)) for each in COUNTERS),
        one(LIVE, now.live),
        one(LOGS, now.logs),
        one(CLOCK_JUMPED, now.clock_jumped),
        *_of_sinks(now.sinks),
        Family(SUBSCRIBERS, {"reachable": known - away, "unreachable": away}),
    ]


def _of_sinks(sinks: Sequence[SinkStatus]) -> list[Family]:
    return [
        Family(SINK_READY, {each.name: each.ready and not each.problem for each in sinks}),
        Family(PENDING, {each.name: each.pending for each in sinks}),
        Family(SNAPSHOTS_KEPT, {each.name: each.snapshots for each in sinks}),
    ]


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
