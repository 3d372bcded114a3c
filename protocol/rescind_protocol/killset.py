"""The kills of one target, as a value: a tuple of a few, a tree of many; never mutated.

An alert rule that fires for each alert kills one target a thousand times, and each kill lives until
its own end (I2), so that all of them are kept. One kill more, or less, costs the same however many
there are: it copies the way to one leaf. Each node carries the sum of what lies beneath it, so that
nobody looks at all kills to know who is dead.

The leaf is chosen by a hash of the kill's id that nobody can aim, and that is the same in every
process: a simulated run replays byte for byte.
"""

from collections.abc import Iterable, Iterator

import msgspec

from rescind_protocol.changes import Effect, Revocation, RevocationId
from rescind_protocol.image import id_number

ALIVE = -1
"""A cut that no `iat` lies under."""
ALL = 2**62
"""A cut that every `iat` lies under."""
FEW = 16
"""Kills in a leaf: up to so many are compared one by one."""
_BITS = 4
_WIDTH = 2**_BITS
_DEEPEST = 128 // _BITS
"""Where the hash ends; two ids do not share so much of it."""


class Sum(msgspec.Struct, frozen=True, gc=False):
    """What some kills of one effect come to, in whatever order they came."""

    cut: int
    """Up to this `iat` (unix seconds) badges are dead, or get no successor."""
    first: Revocation
    """The one with the lowest id."""
    since: int
    """When the first of them was given (unix seconds)."""
    until: int | None
    """When the last of them expires; None: one of them never does."""

    def plus(self, other: "Sum") -> "Sum":
        """Return the sum of both; this very one where the other adds nothing."""
        cut, since = max(self.cut, other.cut), min(self.since, other.since)
        first = self.first if self.first.id <= other.first.id else other.first
        until = self.until
        if until is not None:
            until = None if other.until is None else max(until, other.until)
        if (cut, since, until) == (self.cut, self.since, self.until) and first is self.first:
            return self
        return Sum(cut, first, since, until)


class Sums(msgspec.Struct, frozen=True, gc=False):
    """By what the kills stop."""

    use: Sum | None = None
    whole: Sum | None = None
    """Those of `use` that spare no badge by its `iat`."""
    issuance: Sum | None = None

    def plus(self, other: "Sums") -> "Sums":
        """Return the sums of both; these very ones where the others add nothing."""
        use, issuance = _plus(self.use, other.use), _plus(self.issuance, other.issuance)
        whole = _plus(self.whole, other.whole)
        if use is self.use and whole is self.whole and issuance is self.issuance:
            return self
        return Sums(use, whole, issuance)

    def cut(self, effect: Effect) -> int:
        """Return how far kills of this effect reach, `ALIVE` where there are none."""
        found = self.use if effect is Effect.USE else self.issuance
        return ALIVE if found is None else found.cut


def _plus(one: Sum | None, other: Sum | None) -> Sum | None:
    if one is None or other is None:
        return one or other
    return one.plus(other)


_NOTHING = Sums()


class Many(msgspec.Struct, frozen=True, gc=False):
    """More than `FEW` kills of one target."""

    size: int
    sums: Sums
    parts: tuple["Kills", ...]
    """By the next bits of the id's hash."""

    def __iter__(self) -> Iterator[Revocation]:
        for part in self.parts:
            yield from part

    def __len__(self) -> int:
        return self.size


Kills = tuple[Revocation, ...] | Many


def sums(kills: Kills) -> Sums:
    """Return what they come to."""
    if isinstance(kills, Many):
        return kills.sums
    return _added(map(_alone, kills))


def cut(kills: Kills, effect: Effect) -> int:
    """Return the `iat` up to which kills of this effect reach; `ALIVE` where there are none."""
    if isinstance(kills, Many):
        return kills.sums.cut(effect)
    return max((reach(r) for r in kills if r.kill.effect is effect), default=ALIVE)


def reach(revocation: Revocation) -> int:
    """Return up to which `iat` one kill reaches."""
    before = revocation.kill.issued_before
    return ALL if before is None else before


def covering(kills: Kills, iat: int, effect: Effect) -> Revocation | None:
    """Return a kill of this effect that reaches `iat`, None where there is none."""
    while isinstance(kills, Many):
        kills = next((part for part in kills.parts if cut(part, effect) >= iat), ())
    return next((r for r in kills if r.kill.effect is effect and r.covers(iat)), None)


def find(kills: Kills, name: RevocationId) -> tuple[Revocation, ...]:
    """Return the kills of this id: one at most, but in a forked log, where each branch has one."""
    if isinstance(kills, Many):
        number = id_number(name)
        while isinstance(kills, Many):
            kills, number = kills.parts[number % _WIDTH], number >> _BITS
    return tuple(r for r in kills if r.id == name)


def add(kills: Kills, revocation: Revocation) -> Kills:
    """Return them with one more; the same ones where it is among them."""
    if not isinstance(kills, Many):
        return _add_to_few(kills, revocation, 0)
    return _add(kills, revocation, id_number(revocation.id), 0)


def _add(kills: Kills, revocation: Revocation, number: int, depth: int) -> Kills:
    if not isinstance(kills, Many):
        return _add_to_few(kills, revocation, depth)
    place = number % _WIDTH
    old = kills.parts[place]
    new = _add(old, revocation, number >> _BITS, depth + 1)
    if new is old:
        return kills
    parts = (*kills.parts[:place], new, *kills.parts[place + 1 :])
    return Many(kills.size + 1, kills.sums.plus(_alone(revocation)), parts)


def _add_to_few(few: tuple[Revocation, ...], revocation: Revocation, depth: int) -> Kills:
    if revocation in few:
        return few
    some = (*few, revocation)
    return _split(some, depth) if len(some) > FEW and depth < _DEEPEST else some


def _split(some: tuple[Revocation, ...], depth: int) -> Many:
    parts: list[list[Revocation]] = [[] for _ in range(_WIDTH)]
    for each in some:
        parts[(id_number(each.id) >> depth * _BITS) % _WIDTH].append(each)
    deeper = depth + 1
    found = (tuple(part) for part in parts)
    return _many(
        tuple(_split(p, deeper) if len(p) > FEW and deeper < _DEEPEST else p for p in found)
    )


def _many(parts: tuple[Kills, ...]) -> Many:
    return Many(sum(map(len, parts)), _added(map(sums, parts)), parts)


def without(kills: Kills, revocation: Revocation) -> Kills:
    """Return them without one; the same ones where it is not among them."""
    if not isinstance(kills, Many):
        return _drop_of_few(kills, revocation)
    return _drop(kills, revocation, id_number(revocation.id))


def _drop(kills: Kills, revocation: Revocation, number: int) -> Kills:
    if not isinstance(kills, Many):
        return _drop_of_few(kills, revocation)
    place = number % _WIDTH
    old = kills.parts[place]
    new = _drop(old, revocation, number >> _BITS)
    if new is old:
        return kills
    left = _many((*kills.parts[:place], new, *kills.parts[place + 1 :]))
    return tuple(left) if left.size <= FEW else left


def differing(one: Kills, other: Kills) -> Iterator[Revocation]:
    """Yield what is in one of them and not in the other; parts that they share are passed over."""
    if one is other:
        return
    if isinstance(one, Many) and isinstance(other, Many):
        for mine, theirs in zip(one.parts, other.parts, strict=True):
            yield from differing(mine, theirs)
    else:
        yield from set(one) ^ set(other)


def _drop_of_few(few: tuple[Revocation, ...], revocation: Revocation) -> tuple[Revocation, ...]:
    return tuple(r for r in few if r != revocation) if revocation in few else few


def _added(each: Iterable[Sums]) -> Sums:
    found = _NOTHING
    for one in each:
        found = found.plus(one)
    return found


def _alone(revocation: Revocation) -> Sums:
    kill = revocation.kill
    mine = Sum(reach(revocation), revocation, revocation.at, kill.expires_at)
    if kill.effect is Effect.ISSUANCE:
        return Sums(issuance=mine)
    return Sums(use=mine, whole=mine if kill.issued_before is None else None)
