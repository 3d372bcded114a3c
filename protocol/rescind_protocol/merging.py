"""Two states into one (I2): keep a kill if the other has not seen its id, or has it live.

In a forked log an id does not say which branch's kill it is, so that "seen, and not live" proves
nothing: there the kills of both sides stay, unless named. The ids of a kill that was moved are one
class (`renames`), which is judged as a whole: over on one side is over.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Protocol

from rescind_protocol.changes import Revocation, RevocationId
from rescind_protocol.image import Image, Name
from rescind_protocol.renames import Aliases


class Side(Protocol):
    """One of the two states."""

    def seen(self, name: RevocationId, /) -> bool:
        """Whether the event that holds this id is part of it."""

    def has_named(self, name: Name, /) -> bool:
        """Whether a kill was named before it came."""

    def find(self, target: bytes, name: RevocationId, /) -> Collection[Revocation]:
        """Return the kills of this very id that are in force."""

    def goes_on(self, target: bytes, name: RevocationId, /) -> Collection[RevocationId]:
        """Return the ids in force that an old id stands for."""


class There:
    """The state that comes as data."""

    def __init__(self, image: Image) -> None:
        self.seen = image.seen
        self._named = set(image.named)
        self._live: dict[Name, tuple[Revocation, ...]] = {}
        self._aliases = Aliases()
        for each in image.revocations:
            target = each.kill.target.digest
            name = Name(each.id, target)
            self._live[name] = (*self._live.get(name, ()), each)
            if each.was:
                self._aliases.add(target, each.was, each.id)

    def has_named(self, name: Name, /) -> bool:
        """Whether a kill was named before it came."""
        return name in self._named

    def find(self, target: bytes, name: RevocationId, /) -> Collection[Revocation]:
        """Return the kills of this very id that are in force."""
        return self._live.get(Name(name, target), ())

    def goes_on(self, target: bytes, name: RevocationId, /) -> Collection[RevocationId]:
        """Return the ids in force that an old id stands for."""
        return self._aliases.of(target, name)

    def __iter__(self) -> Iterator[Revocation]:
        for some in self._live.values():
            yield from some


def is_over(side: Side, name: Name, forked: Collection[str]) -> bool:
    """Whether a kill is known on a side to be in force no more, by this id and by any other."""
    if side.find(name.target, name.id) or side.goes_on(name.target, name.id):
        return False
    return side.has_named(name) or (name.id.log not in forked and side.seen(name.id))


class Merge:
    """What goes and what comes on this side by the merging of another."""

    def __init__(
        self, mine: Side, kills: Iterable[Revocation], there: There, forked: Collection[str]
    ) -> None:
        self.gone: list[Revocation] = []
        self.come: list[Revocation] = []
        self._mine, self._there, self._forked = mine, there, forked
        moved: list[Revocation] = []
        for each in kills:
            if self._was_moved(each):
                moved.append(each)
            elif self._is_over(there, _name(each)):
                self.gone.append(each)
        for each in there:
            if self._was_moved(each):
                moved.append(each)
            elif not self._is_over(mine, _name(each)):
                self.come.append(each)
        for names, some in _classes(moved):
            self._judge(names, some)

    def _was_moved(self, revocation: Revocation) -> bool:
        target, name = revocation.kill.target.digest, revocation.id
        return bool(
            revocation.was or self._mine.goes_on(target, name) or self._there.goes_on(target, name)
        )

    def _is_over(self, side: Side, name: Name) -> bool:
        return is_over(side, name, self._forked)

    def _judge(self, names: set[Name], some: list[Revocation]) -> None:
        """Decide on the kills in force, on either side, that go or went by ids of one class."""
        sides = (self._mine, self._there)
        over = len({each.kill.expires_at for each in some}) > 1 or any(
            self._is_over(side, name) for side in sides for name in names
        )
        for name in names:
            self.gone += self._mine.find(name.target, name.id)
        ids = {name.id for name in names}
        for each in some if not over else ():
            if not any(_goes_on_only(side, _name(each)) for side in sides):
                was = tuple(sorted(ids - {each.id}))
                self.come.append(Revocation(each.id, each.kill, each.at, was))


def _goes_on_only(side: Side, name: Name) -> bool:
    """Whether a kill is in force there by a newer id, and not by this one."""
    newer = side.goes_on(name.target, name.id)
    return bool(newer) and not side.find(name.target, name.id)


def _name(revocation: Revocation) -> Name:
    return Name(revocation.id, revocation.kill.target.digest)


def _classes(moved: Iterable[Revocation]) -> Iterator[tuple[set[Name], list[Revocation]]]:
    """Yield the kills that share an id, with all ids by which they go or went."""
    of: dict[Name, int] = {}
    classes: dict[int, tuple[set[Name], list[Revocation]]] = {}
    for number, each in enumerate(moved):
        target = each.kill.target.digest
        names, some = {Name(name, target) for name in (each.id, *each.was)}, [each]
        for old in {of[name] for name in names if name in of}:
            known = classes.pop(old)
            names |= known[0]
            some += known[1]
        classes[number] = names, some
        of.update(dict.fromkeys(names, number))
    yield from classes.values()
