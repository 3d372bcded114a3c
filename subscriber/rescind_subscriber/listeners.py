"""Who is told of what was joined: an event, or what came into the view without its events.

A kill denies as soon as it is in the view. Whoever reports what was applied must therefore count
one that came inside a snapshot, which names no event: `on_applied` is told `Event | Merged`, so
that no listener can forget the second.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

import msgspec

from rescind_protocol.events import Event
from rescind_protocol.heads import Head
from rescind_protocol.join import Replica


class Merged(msgspec.Struct, frozen=True):
    """Events that came into the view together, inside a snapshot or with a rebuilt state."""

    numbers: dict[str, tuple[range, ...]]
    """By log. An event that had come alone, above a gap that is closed now, is among them again."""

    def has(self, log: str, seq: int) -> bool:
        """Whether this event is one of them."""
        return any(seq in each for each in self.numbers.get(log, ()))


Applied = Event | Merged
OnApplied = list[Callable[[Applied], None]]


class Held(msgspec.Struct, frozen=True):
    """Which events a state has, by their numbers."""

    upto: dict[str, int]
    above: dict[str, frozenset[int]]
    """Single ones above a gap."""


NOTHING = Held({}, {})


def held_by(state: Replica) -> Held:
    """Return what a state has at this moment."""
    return Held(
        {log: at.seq for log, at in state.vector.items()},
        {log: frozenset(links) for log, links in state.above.items()},
    )


def brought(before: Held, after: Held) -> Merged | None:
    """Return what is in one and was not in the other; None: nothing."""
    numbers: dict[str, tuple[range, ...]] = {}
    for log in {*after.upto, *after.above}:
        start, end = before.upto.get(log, 0), after.upto.get(log, 0)
        single = after.above.get(log, frozenset()) - before.above.get(log, frozenset())
        spans = [range(start + 1, end + 1)] if end > start else []
        spans += [range(seq, seq + 1) for seq in sorted(single) if seq > start]
        if spans:
            numbers[log] = tuple(spans)
    return Merged(numbers) if numbers else None


class Witness(Protocol):
    """What is told of each change and each head; plain functions that must not block or raise."""

    def applied(self, applied: Applied, /) -> None:
        """Know of events whose kills are in the view."""

    def headed(self, head: Head, /) -> None:
        """Know of a valid head."""


class Relay(Protocol):
    """What hands on what was verified and joined here, to readers of its own, as it was signed.

    Plain functions, called on the writer's thread after the swap, that must not block or raise.
    """

    def event(self, event: Event, raw: bytes, /, *, fork: bool) -> None:
        """Know of an event that was joined; `fork`: another one of its number was, before."""

    def head(self, head: Head, raw: bytes, /) -> None:
        """Know of a valid head that is newer than the publisher's last."""

    def version(self, number: int, raw: bytes, /) -> None:
        """Know of a version of the trust file that is gone by; the first one no reader lacks."""

    def merged(self, vector: Mapping[str, int], above: Mapping[str, Collection[int]], /) -> None:
        """Know of every event that the state has, by number: a merge's are not handed on.

        By log: all up to a number, and single ones above a gap.
        """
