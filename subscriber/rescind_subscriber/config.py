"""How a subscriber behaves; one frozen object per process, units in the names."""

import msgspec

from rescind_protocol.errors import Malformed
from rescind_protocol.limits import HEAD_INTERVAL_S, MAX_STALENESS_S

MISSED_HEADS = 3
"""Heads that may be missed before the subscription is lagging (I4)."""


class SubscriberConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Timings. The constructor refuses relations that cannot work."""

    name: str = "subscriber"
    """Names the local snapshot, and this subscriber in receipts; one name, one process."""
    heartbeat_s: float = HEAD_INTERVAL_S
    stale_after_s: float = MAX_STALENESS_S
    reread_every_s: float = 180.0
    """Between two readings of what is stored, jittered by half, when nothing asks for one."""
    retry_s: float = 0.2
    """First wait after a failed or useless reading; doubles up to `retry_most_s`."""
    retry_most_s: float = 5.0
    snapshot_every_s: float = 5.0
    """At most so often is the local snapshot written."""
    reports: bool = True
    """Whether it tells publishers what it has applied: what guards nothing does not."""
    report_every_s: float = 30.0
    """Between two signs of life, jittered by a quarter."""

    reasons: bool = False
    """Whether `reason_admin` and `actor` of kills are kept, for whoever shows them to people."""
    reads_all: bool = False
    """Whether every stored event is read, those too that a broker's snapshot has: for whoever asks
    for the digest of an old one, which no snapshot names."""

    def __post_init__(self) -> None:
        if not 0 < self.lagging_after_s < self.stale_after_s:
            raise Malformed(
                f"heartbeat_s {self.heartbeat_s:g}: {MISSED_HEADS} heads must be less than "
                f"stale_after_s {self.stale_after_s:g}"
            )
        if self.stale_after_s > MAX_STALENESS_S:
            raise Malformed(f"stale_after_s may be {MAX_STALENESS_S} at most (RFC-001 §4.3)")
        if not self.report_every_s > 0:
            raise Malformed("report_every_s must be more than 0 s")
        if not self.name or "/" in self.name or self.name.startswith("."):
            raise Malformed(f"subscriber name {self.name!r} must be usable as a file name")

    @property
    def lagging_after_s(self) -> float:
        """Age of the proof at which the subscription lags, in seconds."""
        return MISSED_HEADS * self.heartbeat_s + 0.5
