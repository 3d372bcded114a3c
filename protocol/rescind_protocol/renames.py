"""Moves: a kill that its publisher has said again in a newer log is the same kill by another id.

One event carries both, side by side: the kill again, and a retraction with the reason `moved` that
names the old ids. To the join that is a *rename*: whoever ends the old id ends the new one too, for
he may not have heard of the move; and what was ended before does not come back by it. So the ids of
one kill are a class, and all of it lives or none:

- it is ended by whatever names any of them, before or after the move, in whatever order that comes
- an old id that was seen and is neither in force nor renamed was ended, or has expired: so the new
  one is over from the start. No tombstone is needed, for what is over is what is not there
- it has expired as soon as the horizon of any of its logs says so; all of them are one key's
- a rename that changes the expiry is no rename of that kill, and ends both
"""

from collections.abc import Iterable, Iterator

import msgspec

from rescind_protocol.changes import Kill, Retract, RevocationId
from rescind_protocol.events import Event
from rescind_protocol.image import Name
from rescind_protocol.rights import LOG_PREFIX_CHARS

MOVED = "moved"
"""Reason of the retraction in a move."""


class Rename(msgspec.Struct, frozen=True):
    """One move of an event."""

    index: int
    """Of the kill; the retraction is the next change."""
    id: RevocationId
    kill: Kill
    names: tuple[RevocationId, ...]


def of_event(event: Event) -> dict[int, Rename]:
    """Return the moves of an event, by the index of the kill."""
    found: dict[int, Rename] = {}
    for (index, kill), (next_one, end) in zip(event.changes, event.changes[1:], strict=False):
        if (
            isinstance(kill, Kill)
            and isinstance(end, Retract)
            and next_one == index + 1
            and end.reason == MOVED
            and end.target == kill.target
            and all(_is_older(name, event) for name in end.names)
        ):
            name = RevocationId(event.log, event.seq, index)
            found[index] = Rename(index, name, kill, end.names)
    return found


def _is_older(name: RevocationId, event: Event) -> bool:
    """Whether it is a kill of the same key, said in another event."""
    mine = name.log[:LOG_PREFIX_CHARS] == event.log[:LOG_PREFIX_CHARS]
    return mine and (name.log, name.seq) != (event.log, event.seq)


class Aliases:
    """Old ids of kills in force, each with the ids by which it goes on; belongs to one writer."""

    __slots__ = ("_of",)

    def __init__(self) -> None:
        self._of: dict[Name, tuple[RevocationId, ...]] = {}

    def of(self, target: bytes, name: RevocationId) -> tuple[RevocationId, ...]:
        """Return the kills in force that an old id stands for."""
        return self._of.get(Name(name, target), ()) if self._of else ()

    def add(self, target: bytes, was: Iterable[RevocationId], name: RevocationId) -> None:
        """Know by which old ids a kill goes."""
        for old in was:
            known = self._of.get(key := Name(old, target), ())
            if name not in known:
                self._of[key] = (*known, name)

    def drop(self, target: bytes, was: Iterable[RevocationId], name: RevocationId) -> None:
        """Forget them: it is not in force any more."""
        for old in was:
            key = Name(old, target)
            left = tuple(each for each in self._of.pop(key, ()) if each != name)
            if left:
                self._of[key] = left

    def __iter__(self) -> Iterator[Name]:
        return iter(self._of)
