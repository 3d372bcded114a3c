"""What a publisher is told: one frozen struct, units in the names, relations checked."""

from pathlib import Path

import msgspec

from rescind_protocol import subjects
from rescind_protocol.errors import Malformed
from rescind_protocol.limits import (
    HEAD_INTERVAL_S,
    MAX_STALENESS_S,
    SCRUB_EVERY_S,
    SNAPSHOT_EVENTS,
    SNAPSHOT_EVERY_S,
)

MISSED_HEADS = 3
"""A view that missed this many heads is lagging (I4)."""


class PublisherConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How one publisher runs; raises `Malformed` where two settings contradict each other."""

    fabric: str
    publisher: str
    """Its id in the trust file; each host that publishes has its own."""
    spool: Path
    """Directory of the spool, 0700; on a disk that survives a restart."""
    trail: Path | None = None
    """The audit trail of this host; None: acts are not written down."""
    roll: Path | None = None
    """File that keeps the roster over a restart; None: it is not kept."""
    control: Path | None = None
    """Unix socket for other programs on this host; None: no socket."""
    heartbeat_s: float = HEAD_INTERVAL_S
    """Time between heads."""
    stale_after_s: float = MAX_STALENESS_S
    """The subscribers' limit, so that a heartbeat too slow for it is refused here."""
    connect_timeout_s: float = 2.0
    """How long a start waits for the sinks; one that comes later is drained then."""
    start_timeout_s: float = 15.0
    """Deadline of one attempt to start a sink."""
    send_timeout_s: float = 5.0
    """Deadline of one attempt to store or to read back, over the sink's own."""
    retry_min_s: float = 0.1
    retry_max_s: float = 2.0
    """First and greatest wait between attempts; jittered down by up to a half."""
    close_timeout_s: float = 2.0
    """How long a close waits for what is still under way."""
    snapshot_every_s: float = SNAPSHOT_EVERY_S
    """Between two snapshots, where there is anything new."""
    snapshot_events: int = SNAPSHOT_EVENTS
    """So many new events are reason for one at once."""
    scrub_every_s: float = SCRUB_EVERY_S
    """Between two comparisons of all that the sinks hold with the spool, more or less."""

    def __post_init__(self) -> None:
        subjects.check_fabric(self.fabric)
        if not subjects.FABRIC.fullmatch(self.publisher):
            raise Malformed(
                f"publisher id {self.publisher!r}: use 1 to 32 letters, digits, '_' or '-'"
            )
        positive = {name: getattr(self, name) for name in _TIMES}
        if wrong := [name for name, value in positive.items() if not value > 0]:
            raise Malformed(f"{wrong[0]} must be more than 0")
        if self.heartbeat_s * MISSED_HEADS >= self.stale_after_s:
            raise Malformed(
                f"heartbeat_s {self.heartbeat_s:g} is too slow for stale_after_s "
                f"{self.stale_after_s:g}: views would be stale after {MISSED_HEADS} missed heads"
            )
        if self.retry_min_s > self.retry_max_s:
            raise Malformed("retry_min_s must not be more than retry_max_s")


_TIMES = (
    "heartbeat_s",
    "stale_after_s",
    "connect_timeout_s",
    "start_timeout_s",
    "send_timeout_s",
    "retry_min_s",
    "retry_max_s",
    "close_timeout_s",
    "snapshot_every_s",
    "snapshot_events",
    "scrub_every_s",
)
