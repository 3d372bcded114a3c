"""The publisher's clocks, and what it refuses to believe of them.

The horizon that a publisher signs lets every view drop what expired (I8), and the time in its
heads keeps every view fresh (I4). A wall clock that jumps ahead would so end kills in the whole
fleet, and let a broker hide them for as long: both are held to the course that the boot clock
(which goes on while a host is suspended) says the wall clock was on.
"""

import time
from math import inf

import msgspec

from rescind_protocol.clock import Clock
from rescind_protocol.heads import COUNTS_PER_S, FIRST_COUNT
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
COURSE_HELD_S = 86_400.0
"""A wall clock that has kept one course for so long is right: by then, nobody overlooks it."""
TICK_S = 0.001
UNCOMMITTED_S = 1.5 * HORIZON_STEP_S
"""A count is committed with each step of the horizon; where that stands still, so often."""


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


class Measured(msgspec.Struct, frozen=True):
    """What was committed with a horizon: by it the next run goes on measuring."""

    count: int = 0
    """That of the newest head."""
    boot_s: float | None = None
    """What the boot clock said; None if the host was started since, or nothing was committed."""


NOTHING = Measured()


class Count:
    """The count of a head: greater each time, by the milliseconds that the boot clock measures."""

    def __init__(self, clock: Clock, committed: Measured) -> None:
        """Go on behind what the runs before have counted.

        What was signed after the last commit is not known where the host was started since.
        """
        self._clock, self._boot = clock, clock.boot()
        least = max(committed.count, FIRST_COUNT)
        if committed.count and committed.boot_s is not None and committed.boot_s <= self._boot:
            self._first = least + round((self._boot - committed.boot_s) * COUNTS_PER_S)
        else:
            unknown = 2 * HORIZON_STEP_S * COUNTS_PER_S if committed.count else 0
            self._first = max(least + unknown, int(clock.wall() * COUNTS_PER_S))
        self._last = self._first
        self._committed = -inf

    @property
    def due(self) -> bool:
        """Whether it is time to commit what is counted."""
        return self.now - self._committed >= UNCOMMITTED_S * COUNTS_PER_S

    def committed(self) -> None:
        """Know it as committed."""
        self._committed = self.now

    @property
    def now(self) -> int:
        """What the next head may say."""
        return self._first + round((self._clock.boot() - self._boot) * COUNTS_PER_S)

    def next(self) -> int:
        """Count a head."""
        self._last = max(self._last + 1, self.now)
        return self._last


class Horizon:
    """The time up to which expired revocations may be dropped: a skew ago, and never back.

    It moves by what the boot clock has measured since the last one that was committed, and by no
    more, however far ahead the wall clock says it is: a host that boots with a wrong clock knows
    only how long its kills have lived, and a kill that is dropped too early is lost. One that is
    dropped too late costs memory. So the time while a host was off is missing from it, until the
    wall clock has kept one course for `COURSE_HELD_S`.
    """

    def __init__(self, clock: Clock, persisted: int, committed: Measured = NOTHING) -> None:
        """Take up the horizon of the runs before, 0 if there was none, and what was measured."""
        self._clock = clock
        self.heads = HeadTime(clock)
        self.at = persisted
        now = clock.boot()
        self._base = float(persisted) if persisted else clock.wall() - SKEW_S
        known = committed.boot_s if persisted else None
        self._base_boot = now if known is None else min(known, now)
        self._course, self._since = clock.wall() - now, now

    def due(self) -> int | None:
        """The next step, if it is time for one; the caller commits it, then calls `advance`."""
        boot, wall = self._clock.boot(), self._clock.wall()
        self._follow(wall, boot)
        measured = self._base + boot - self._base_boot
        now = min(self.heads.peek() - SKEW_S, wall - SKEW_S, measured)
        step = int(now) // HORIZON_STEP_S * HORIZON_STEP_S
        return step if step > self.at else None

    def _follow(self, wall: float, boot: float) -> None:
        """Make up for time that nobody measured, by a course that has held for long enough."""
        if abs(wall - boot - self._course) > SKEW_S:
            self._course, self._since = wall - boot, boot
        elif boot - self._since >= COURSE_HELD_S:
            self._base = max(self._base, wall - SKEW_S - (boot - self._base_boot))

    def advance(self, step: int) -> None:
        """Take a committed step."""
        self.at = max(self.at, step)
