"""The publisher's clocks, and what it refuses to believe of them.

The horizon that a publisher signs lets every view drop what expired (I8). A wall clock that jumps
ahead would so end kills in the whole fleet, hence: the horizon follows the wall clock only while
that keeps pace with the boot clock, and never goes back.
"""

import time

from rescind_protocol.clock import Clock
from rescind_protocol.limits import SKEW_S
from rescind_publisher.errors import ClockWrong

EARLIEST = 1_704_067_200
"""2024-01-01T00:00:00Z; this program is younger, so a clock before it was never set."""
HORIZON_STEP_S = 10
"""The horizon moves in steps, each committed before it is signed: a commit in ten heads."""


def checked(clock: Clock) -> float:
    """Return unix seconds, or raise `ClockWrong` where the clock was evidently never set."""
    now = clock.wall()
    if now < EARLIEST:
        raise ClockWrong(
            f"this host's clock says {time.strftime('%Y-%m-%d', time.gmtime(max(now, 0)))}: "
            "set it before killing anything"
        )
    return now


class Horizon:
    """The time up to which expired revocations may be dropped: a skew ago, and never back."""

    def __init__(self, clock: Clock, persisted: int) -> None:
        self._clock = clock
        self._offset = clock.wall() - clock.boot()
        self.at = persisted

    @property
    def jumped(self) -> bool:
        """Whether the wall clock left the boot clock's course by more than a skew."""
        return abs(self._clock.wall() - self._clock.boot() - self._offset) > SKEW_S

    def due(self) -> int | None:
        """The next step, if it is time for one; the caller commits it, then calls `advance`."""
        step = int(self._clock.wall() - SKEW_S) // HORIZON_STEP_S * HORIZON_STEP_S
        return step if step > self.at and not self.jumped else None

    def advance(self, step: int) -> None:
        """Take a committed step."""
        self.at = max(self.at, step)
