"""How old a head is, by clocks of which any may have been set wrong, or right. Pure: no clock.

A head's age is our wall clock's time less the head's own. A wall clock that was set back would make
heads young that a broker holds up for as long, so what they take to come is watched too, by two
courses that no broker can bend:

- our boot clock less the head's time: grows when heads come later, and when the publisher's wall
  clock is set back
- our boot clock less the head's count, which goes by the publisher's boot clock: grows when heads
  come later, and when the publisher's host was off

Only what both have changed by can be lateness: their median with no change. And it is held against
a head only as far as our own wall clock was set back since: where it was not, its word is as good
as before. So a clock that is set right, here or there or everywhere, costs no age, and heads that
are held up always do. What two oscillators drift apart by is granted, or every view would be stale
in the end; and so is what any two clocks may differ by.
"""

from statistics import median

import msgspec

from rescind_protocol.heads import COUNTS_PER_S, FIRST_COUNT, Head
from rescind_protocol.limits import SKEW_S

DRIFT = 200e-6
"""Two ordinary oscillators, each off by 100 ppm at most: 17 s a day, where nobody corrects them."""
PROMPT_S = 1.0
"""A head that came by no more later than the quickest was not held up."""


class _Way(msgspec.Struct):
    """How long a publisher's heads are under way: by its time and by its count, and since when."""

    by_time: float
    by_count: float
    at: float
    late_s: float = 0.0
    """By how much more than the quickest."""


class Aged(msgspec.Struct, frozen=True):
    """How old a head is, in seconds, and how much of that our wall clock does not show."""

    age_s: float
    late_s: float
    """By how much later than the quickest it came."""
    hidden_s: float = 0.0
    """What our wall clock does not show of that, if it is too much: it was set back."""


class _Own(msgspec.Struct):
    """The course of our wall clock: how far it is ahead of our boot clock."""

    right: float
    """On the course that it was set back from, if it was."""
    seen: float
    """On the one that this was told by."""
    at: float


class Lateness:
    """What is known of the ways that heads take; used by one thread. Times in seconds."""

    def __init__(self) -> None:
        self._ways: dict[str, _Way] = {}
        self._own: _Own | None = None

    def aged(self, head: Head, *, wall: float, boot: float) -> Aged:
        """Take a head that has just come in, and return how old it is."""
        late_s, set_back_s = self._way_of(head, boot)
        own = self._look(wall - boot, boot)
        own.right -= set_back_s
        if late_s < PROMPT_S:  # it is not older than it says, whatever our clock was before
            own.right = head.time_s - boot
        age_s = max(0.0, wall - head.time_s)
        hidden_s = min(late_s, own.right + boot - head.time_s) - age_s
        if hidden_s <= SKEW_S:  # any two clocks may differ by as much
            return Aged(age_s, late_s)
        return Aged(age_s + hidden_s, late_s, hidden_s)

    def _look(self, ahead: float, boot: float) -> _Own:
        """Follow our wall clock: what it says is believed, what it said before it was set back too.

        One that stays where it was found wrong is not believed again; one that is set ahead is.
        """
        own = self._own = self._own or _Own(ahead, ahead, boot)
        own.right -= DRIFT * (boot - own.at)
        if ahead > own.seen + PROMPT_S:
            own.right = max(own.right, ahead)
            own.seen = ahead
        own.seen, own.at = min(own.seen, ahead), boot
        return own

    def _way_of(self, head: Head, boot: float) -> tuple[float, float]:
        """Return how much later than the quickest it came, and how far its clock was set back.

        The latter only where its count proves it, and for more than clocks may differ: a publisher
        that so takes back the time it went by takes back ours, which had agreed with it.
        """
        by_time, by_count = boot - head.time_s, boot - head.count / COUNTS_PER_S
        way = self._ways.get(head.publisher) or _Way(by_time, by_count, boot)
        grown, set_back_s = by_time - way.by_time, 0.0
        if head.count >= FIRST_COUNT:
            counted = by_count - way.by_count
            set_back_s = grown if grown - counted > SKEW_S else 0.0
            grown = median((grown, counted, 0.0))
        late_s = max(0.0, way.late_s + grown - DRIFT * (boot - way.at))
        self._ways[head.publisher] = _Way(by_time, by_count, boot, late_s)
        return late_s, set_back_s

    def forget(self, publisher: str) -> None:
        """Begin again with a publisher: another key speaks for it."""
        self._ways.pop(publisher, None)
