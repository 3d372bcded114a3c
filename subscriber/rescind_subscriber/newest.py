"""Which heads are newer than all that were heard: what a broker repeats is no news."""

from collections.abc import Mapping
from math import inf

import msgspec

from rescind_protocol.heads import Head


class Proof(msgspec.Struct, frozen=True):
    """When a publisher was last proven covered, on both clocks."""

    wall: float
    boot: float


class Heard(msgspec.Struct, frozen=True):
    """A publisher's newest valid head, and when it came in."""

    head: Head
    boot: float
    age_s: float


class Newest:
    """The greatest time and count of each publisher's heads; kept over restarts."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    def has(self, head: Head) -> bool:
        """Whether one as new as this was heard.

        A clock that was ahead is set right, and its heads' times begin again: their counts go on.
        """
        counted = self.counts.get(head.publisher)
        later = counted is not None and head.count > counted
        return head.time_s <= self.times.get(head.publisher, -inf) and not later

    def note(self, head: Head) -> None:
        """Remember a head."""
        self.remember({head.publisher: head.time_s}, {head.publisher: head.count})

    def remember(self, times: Mapping[str, float], counts: Mapping[str, int]) -> None:
        """Remember what was heard before a restart."""
        for publisher, time_s in times.items():
            self.times[publisher] = max(time_s, self.times.get(publisher, -inf))
        for publisher, count in counts.items():
            self.counts[publisher] = max(count, self.counts.get(publisher, 0))

    def forget(self, publisher: str) -> None:
        """Begin again with a publisher: another key speaks for it."""
        self.times.pop(publisher, None)
        self.counts.pop(publisher, None)
