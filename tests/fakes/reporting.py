"""Reports to test with, and a roster that hears them."""

from typing import Any

from rescind_protocol import reports
from rescind_protocol.reports import Applied, Passed, Report
from rescind_publisher.roster import Roster
from tests.fakes.fabric import NOW, PUBLISHER, log_id

LOG = log_id(PUBLISHER)


def report(name: str = "eu-1", **changes: Any) -> Report:
    """Return a good report; a run is named after its subscriber unless it is said."""
    good: dict[str, Any] = {
        "ver": 1,
        "name": name,
        "host": "a.example",
        "run": f"run-{name}",
        "pid": 7,
        "version": "0.1.0",
        "state": "LIVE",
        "count": 1,
        "time_ms": NOW * 1000,
        "up_ms": 60_000,
        "next_ms": 30_000,
        "logs": {LOG: 0},
    }
    return Report(**(good | changes))


def done(
    name: str, seq: int = 1, ago_ms: int = 0, passed: Passed | None = None, **more: Any
) -> Report:
    """Return the report of a subscriber that has applied event `seq`."""
    told = (Applied(LOG, seq, ago_ms, passed or Passed()),)
    return report(name, **({"logs": {LOG: seq}, "applied": told, "count": 2} | more))


def hears(roster: Roster, *said: Report, at: float = 0.0) -> list[bool]:
    """Let a roster hear reports at a monotonic time; return which counted."""
    return [roster.heard(reports.make(each), at, NOW + at) for each in said]
