"""How far a publisher's signed horizon is believed: what expired up to it is dropped (I8).

A publisher moves it by what its boot clock measures. One that moves it further, because its clock
was set wrong when its spool was made, or because it is of an older version, would end kills early.
So each subscriber measures too, by its own boot clock, from the first head on:

- a horizon that moves as fast as time, or slower, is believed at once
- one that is ahead of that by more than a skew is believed as far as time was measured here, until
  it has been signed for `JUMP_HELD_S`; one that is taken back meanwhile has dropped nothing
"""

import msgspec

from rescind_protocol.heads import Head
from rescind_protocol.limits import SKEW_S
from rescind_subscriber.lateness import DRIFT

JUMP_HELD_S = 3600.0
"""Longer than a host's clock stays wrong after it was started, and than most kills live."""


class _Course(msgspec.Struct):
    """A horizon and our boot clock go side by side: the difference, when it was looked at last."""

    offset: float
    at: float
    jump: float | None = None
    """The smallest difference since it jumped ahead."""
    since: float = 0.0


class Horizons:
    """What is believed of each publisher's horizon; used by one thread."""

    def __init__(self) -> None:
        self._courses: dict[str, _Course] = {}

    def believed(self, head: Head, boot: float) -> int:
        """Return up to when what has expired may be dropped, unix seconds.

        `boot`: what our boot clock said when the head was signed, in seconds.
        """
        if not head.horizon:  # a publisher that has not begun to count
            return 0
        course = self._courses.setdefault(head.publisher, _Course(head.horizon - boot, boot))
        offset = head.horizon - boot
        drifted = course.offset + DRIFT * (boot - course.at)
        course.offset, course.at = max(course.offset, min(offset, drifted)), boot
        if offset <= course.offset + SKEW_S:
            course.jump = None
            return head.horizon
        if course.jump is None:
            course.jump, course.since = offset, boot
        course.jump = min(course.jump, offset)
        if boot - course.since >= JUMP_HELD_S:
            course.offset, course.jump = course.jump, None
        return min(head.horizon, int(course.offset + boot))

    def forget(self, publisher: str) -> None:
        """Begin again with a publisher: another key speaks for it."""
        self._courses.pop(publisher, None)
