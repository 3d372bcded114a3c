"""The publisher's clocks, and what it refuses to believe of them.

The horizon that a publisher signs lets every view drop what expired (I8), and the time in its
heads keeps every view fresh (I4). A wall clock that jumps ahead would so end kills in the whole
fleet, and let a broker hide them for as long: both are held to the course that the boot clock
(which goes on while a host is suspended) says the wall clock was on.
"""

import time
from math import inf

from rescind_protocol.clock import Clock
from rescind_protocol.limits import MAX_STALENESS_S, SKEW_S
from rescind_publisher.errors import ClockWrong

EARLIEST = 1_704_067_200
"""2024-01-01T00:00:00Z; this program is younger, so a clock before it was never set."""
HORIZON_STEP_S = 10
"""The horizon moves in steps, each committed before it is signed: a commit in ten heads."""

ADOPT_AFTER_S = MAX_STALENESS_S
"""A paused virtual machine's heads are old for that long; longer, and each pause is an outage."""
STEADY_S = 1.0
"""Two readings of one course differ by far less."""
TICK_S = 0.001


def checked(clock: Clock) -> float:
    """Return unix seconds, or raise `ClockWrong` where the clock was evidently never set."""
    now = clock.wall()
    if now < EARLIEST:
        raise ClockWrong(
            f"this host's clock says {time.strftime('%Y-%m-%d', time.gmtime(max(now, 0)))}: "
            "set it before killing anything"
        )
    return now


class HeadTime:
    """What time a head says: the wall clock's, but not all of a jump ahead at once.

    A head that says a later time than it is can be kept by a broker until then, and freshens a view
    that lacks every kill since. Only steps of the wall clock can be told: slewing (NTP) moves the
    boot clock alike, and a host that was suspended has a boot clock that went on. So:

    - up to a skew ahead of its course a wall clock is believed; that much may be wrong anywhere
    - further ahead, heads go on by the old course, the slower one
    - once the new course has held for `ADOPT_AFTER_S` it is believed: a virtual machine that was
      paused recovers by itself, and an operator had as long to see the alarm
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = self._candidate = clock.wall() - clock.boot()
        self._since = clock.boot()
        self._last = -inf

    @property
    def jumped(self) -> bool:
        """Whether the wall clock has left its course by more than a skew, either way."""
        return abs(self._clock.wall() - self._clock.boot() - self._offset) > SKEW_S

    def peek(self) -> float:
        """Return the time that a head may say now, unix seconds."""
        wall, course = self._clock.wall(), self._clock.boot() + self._offset
        return wall if wall - course <= SKEW_S else course

    def next(self) -> float:
        """Return the time for the next head; while the wall clock is ahead, it never goes back."""
        self._follow()
        said = self.peek()
        if self.jumped and said < self._clock.wall():
            said = max(said, self._last + TICK_S)  # a head no later than the one before is void
        self._last = said
        return said

    def _follow(self) -> None:
        """Believe a course that has held for long enough."""
        boot = self._clock.boot()
        offset = self._clock.wall() - boot
        if abs(offset - self._candidate) > STEADY_S:
            self._candidate, self._since = offset, boot
        elif boot - self._since >= ADOPT_AFTER_S:
            self._offset = self._candidate


class Horizon:
    """The time up to which expired revocations may be dropped: a skew ago, and never back.

    It follows the slower of the heads' time and the course that the clock had at the start, for
    ever: a kill that is dropped too early is lost, one dropped too late costs memory.
    """

    def __init__(self, clock: Clock, persisted: int) -> None:
        self._clock = clock
        self._offset = clock.wall() - clock.boot()
        self.heads = HeadTime(clock)
        self.at = persisted

    def due(self) -> int | None:
        """The next step, if it is time for one; the caller commits it, then calls `advance`."""
        now = min(self.heads.peek(), self._clock.wall(), self._clock.boot() + self._offset)
        step = int(now - SKEW_S) // HORIZON_STEP_S * HORIZON_STEP_S
        return step if step > self.at else None

    def advance(self, step: int) -> None:
        """Take a committed step."""
        self.at = max(self.at, step)
