"""Kills that a reinstatement has named before they came: by event, so that a seen one is done."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from rescind_protocol.changes import RevocationId
from rescind_protocol.image import Name


class Seen(Protocol):
    """A state that knows what it has seen: a replica or an image."""

    def seen(self, name: RevocationId) -> bool:
        """Whether the event that holds this id is part of the state."""
        ...


class Names:
    """A set of names to come. What an event could have answered is forgotten once it is seen."""

    __slots__ = ("_by_event", "_size")

    def __init__(self, names: Iterable[Name] = ()) -> None:
        self._by_event: dict[tuple[str, int], set[Name]] = {}
        self._size = 0
        for name in names:
            self.add(name)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Name]:
        for names in self._by_event.values():
            yield from names

    def __contains__(self, name: Name) -> bool:
        return name in self._by_event.get((name.id.log, name.id.seq), ())

    def add(self, name: Name) -> None:
        """Remember that the kill `name` has been ended, whenever it comes."""
        names = self._by_event.setdefault((name.id.log, name.id.seq), set())
        self._size += name not in names
        names.add(name)

    def of(self, log: str, seq: int) -> tuple[Name, ...]:
        """Return what was named in an event that has not come."""
        return tuple(self._by_event.get((log, seq), ()))

    def drop(self, log: str, seq: int) -> None:
        """Forget what was named in this event: it has been seen, with such kills or without."""
        self._size -= len(self._by_event.pop((log, seq), ()))

    def keep_unseen(self, *sides: Seen) -> None:
        """Forget what any of the sides has seen."""
        for log, seq in list(self._by_event):
            if any(side.seen(RevocationId(log, seq, 0)) for side in sides):
                self.drop(log, seq)
