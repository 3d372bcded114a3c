"""The report: what a subscriber says it has applied. For progress, never for a decision.

Reports are not signed, not stored and not numbered in a log: whoever may publish on the fabric's
report subjects can claim anything. Times in it are relative ("so many ms ago"), so that the reader
needs no second clock to compare with its own.
"""

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from rescind_protocol.changes import LogId, Seq
from rescind_protocol.errors import Malformed, TooLarge, Unreadable
from rescind_protocol.limits import (
    MAX_ENDED,
    MAX_NAME_CHARS,
    MAX_PASSED_STEPS,
    MAX_REPORT_BYTES,
    MAX_REPORT_EVENTS,
    MAX_REPORT_LOGS,
)

VERSION = 1
STOPPED = "STOPPED"
"""State of the last report of a subscriber that was stopped: it guards nothing any more."""

Millis = Annotated[int, Meta(ge=0, lt=2**50)]
"""Milliseconds, of unix time too."""
Count = Annotated[int, Meta(ge=0, lt=2**31)]
LastSeq = Annotated[int, Meta(ge=0, lt=2**53)]
Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_TWO_DIGITS = 100


class Passed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Calls of a killed target that a guard allowed before it knew of the kill.

    `steps` are (ms before the kill was applied, rounded up; calls in that step), newest first.
    `reach_ms` is how far back the guard remembers, None: over everything it ever allowed.
    """

    steps: Annotated[tuple[tuple[Millis, Count], ...], Meta(max_length=MAX_PASSED_STEPS)] = ()
    reach_ms: Millis | None = None

    def within(self, window_ms: float) -> int:
        """Return how many calls were allowed in the last `window_ms` before the application.

        Rounded up: a call on the edge counts.
        """
        return sum(count for age_ms, count in self.steps if age_ms <= round_up(window_ms))

    def reaches(self, window_ms: float) -> bool:
        """Whether the guard remembers so far back; if not, `within` is a least figure."""
        return self.reach_ms is None or self.reach_ms >= window_ms


def round_up(age_ms: float) -> int:
    """Return whole milliseconds, rounded up to two significant digits: a bounded set of steps."""
    whole, scale = max(1, -int(-age_ms // 1)), 1
    while whole >= _TWO_DIGITS * scale:
        scale *= 10
    return -(-whole // scale) * scale


class Applied(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One event that was applied, and what passed before."""

    log: LogId
    seq: Seq
    ago_ms: Millis
    """Since its application, at the time of the report."""
    passed: Passed = Passed()


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one subscriber says of itself."""

    ver: Annotated[int, Meta(ge=1)]
    name: Name
    host: Name
    run: Name
    """Random, of this start of the subscriber: two of one name are told apart by it."""
    pid: Count
    version: Name
    state: Name
    count: Annotated[int, Meta(ge=1, lt=2**53)]
    """Of this run's reports: an older one that comes late is dropped."""
    time_ms: Millis
    """The subscriber's wall clock, unix milliseconds; for people only."""
    up_ms: Millis
    """Since its start."""
    next_ms: Millis
    """Until its next report at the latest: silent for much longer, it is out of reach."""
    age_ms: Millis | None = None
    """Age of its proof of freshness; None: never proven."""
    logs: Annotated[dict[LogId, LastSeq], Meta(max_length=MAX_REPORT_LOGS)] = {}
    """Up to which number each log was applied without a gap; those that moved last."""
    more_logs: Count = 0
    """Logs left out."""
    applied: Annotated[tuple[Applied, ...], Meta(max_length=MAX_REPORT_EVENTS)] = ()
    """Events of the last minute, newest first; also such that lie above a gap."""
    ended: Annotated[tuple[Name, ...], Meta(max_length=MAX_ENDED)] = ()
    """Runs on this host that ended without a goodbye: their locks are free on its disk."""

    def has(self, log: str, seq: int) -> bool:
        """Whether this event was applied."""
        return self.logs.get(log, 0) >= seq or self.telling(log, seq) is not None

    def telling(self, log: str, seq: int) -> Applied | None:
        """Return what the report tells of this event's application."""
        for each in self.applied:
            if each.seq == seq and each.log == log:
                return each
        return None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Report).decode


def printable(text: str) -> str:
    """Return a name in printable ASCII, cut to its limit: it is shown on terminals."""
    return _UNPRINTABLE.sub("?", text)[:MAX_NAME_CHARS] or "?"


def make(report: Report) -> bytes:
    """Return the report's bytes, or raise `TooLarge`; what it says beyond its limits is a defect.

    What is least needed goes first: `Report.applied` from its oldest, then logs.
    """
    while True:
        raw = _encode(report)
        if len(raw) <= MAX_REPORT_BYTES:
            return raw
        if not report.applied and not report.logs:
            raise TooLarge(f"report of {len(raw)} bytes, limit {MAX_REPORT_BYTES}")
        report = _shorter(report)


def _shorter(report: Report) -> Report:
    if report.applied:
        return msgspec.structs.replace(report, applied=report.applied[:-1])
    kept = dict(list(report.logs.items())[: len(report.logs) // 2])
    left_out = report.more_logs + len(report.logs) - len(kept)
    return msgspec.structs.replace(report, logs=kept, more_logs=left_out)


def read(raw: bytes) -> Report:
    """Read a report; raises `Malformed`, or `Unreadable` for a newer version."""
    if len(raw) > MAX_REPORT_BYTES:
        raise Malformed(f"report of {len(raw)} bytes, limit {MAX_REPORT_BYTES}")
    try:
        report = _decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"report: {error}") from error
    if report.ver != VERSION:
        raise Unreadable(f"report has version {report.ver}")
    if any(_UNPRINTABLE.search(text) for text in _texts(report)):
        raise Malformed("report: a name that is not printable ASCII")
    return report


def _texts(report: Report) -> tuple[str, ...]:
    return report.name, report.host, report.run, report.version, report.state, *report.ended


def newest(logs: dict[str, int]) -> tuple[dict[str, int], int]:
    """Return as many logs as a report holds, the first ones, and how many are left out."""
    kept = dict(list(logs.items())[:MAX_REPORT_LOGS])
    return kept, len(logs) - len(kept)
