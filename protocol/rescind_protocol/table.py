"""The table: target digest → entry, immutable, cheap to change by copying one leaf.

A fixed tree of 64 × 64 plain dicts. A change copies one leaf and two tuples of 64, some
microseconds at a million entries; nothing reachable from a published table is ever mutated, so any
number of readers may hold one without a lock, with or without a GIL. See ADR 0005 for the other
structures that were measured.

Ownership: a `Table` belongs to nobody and is shared freely; a `TableEdit` belongs to the one writer
that made it, and dies with `done()`.
"""

from collections.abc import Iterator

import msgspec

from rescind_protocol import killset
from rescind_protocol.changes import Effect, Revocation
from rescind_protocol.killset import ALIVE, ALL, Kills

__all__ = ["ALIVE", "ALL", "Entry", "Kills", "Table", "TableEdit", "alone", "differences", "entry"]

FAN_OUT = 64
_SHIFT = 2  # the upper 6 of a byte's 8 bits choose one of 64


class Entry(msgspec.Struct, frozen=True, gc=False):
    """All that is known of one target. A badge with `iat` <= `cut` is dead."""

    cut: int
    revocations: Kills
    floor: int = ALIVE
    """Greatest floor of its reinstatements: `iat` up to it stays dead."""
    floors: tuple[tuple[str, int], ...] = ()
    """The greatest floor of each log that set one; the horizon of its own log ends it."""
    suspended: int = ALIVE
    """The cut of the kills whose effect is `issuance` only."""

    def why(self, iat: int, effect: Effect = Effect.USE) -> Revocation | None:
        """The revocation that kills a badge issued at `iat`; None where it is the floor."""
        return killset.covering(self.revocations, iat, effect)


def entry(revocations: Kills, floors: tuple[tuple[str, int], ...]) -> Entry | None:
    """Build the entry of a target, or None where nothing is left to say."""
    if not revocations and not floors:
        return None
    floor = max((iat for _, iat in floors), default=ALIVE) if floors else ALIVE
    use = max(floor, killset.cut(revocations, Effect.USE))
    return Entry(use, revocations, floor, floors, killset.cut(revocations, Effect.ISSUANCE))


def alone(revocation: Revocation) -> Entry:
    """Return the entry of a target of which only this is known."""
    before = revocation.kill.issued_before
    cut = ALL if before is None else before
    if revocation.kill.effect is Effect.USE:
        return Entry(cut, (revocation,))
    return Entry(ALIVE, (revocation,), suspended=cut)


Leaf = dict[bytes, Entry]
Root = tuple[tuple[Leaf, ...], ...]
_EMPTY_LEAF: Leaf = {}  # shared, and never mutated
_EMPTY_BRANCH = (_EMPTY_LEAF,) * FAN_OUT
_EMPTY_ROOT: Root = (_EMPTY_BRANCH,) * FAN_OUT


class Table:
    """An immutable map from 16-byte target digests to entries."""

    __slots__ = ("root", "size")

    def __init__(self, root: Root = _EMPTY_ROOT, size: int = 0) -> None:
        self.root = root
        self.size = size

    def get(self, digest: bytes) -> Entry | None:
        """Return the entry of a target, None where nothing is known."""
        return self.root[digest[0] >> _SHIFT][digest[1] >> _SHIFT].get(digest)

    def killer(self, digests: tuple[bytes, ...], iat: int) -> Entry | None:
        """Return the first of these targets' entries by which a badge issued at `iat` is dead."""
        root = self.root  # the guard's hot path: one loop here instead of five calls of `get`
        for digest in digests:
            found = root[digest[0] >> _SHIFT][digest[1] >> _SHIFT].get(digest)
            if found is not None and iat <= found.cut:
                return found
        return None

    def suspender(self, digests: tuple[bytes, ...], iat: int) -> Entry | None:
        """Return the first of these targets' entries that forbids the next badge after `iat`."""
        for digest in digests:
            found = self.get(digest)
            if found is not None and iat <= found.suspended:
                return found
        return None

    def __len__(self) -> int:
        return self.size

    def items(self) -> Iterator[tuple[bytes, Entry]]:
        """All entries, in no order that means anything."""
        for branch in self.root:
            if branch is not _EMPTY_BRANCH:  # nearly all of a small table
                for leaf in branch:
                    yield from leaf.items()


def differences(old: Table, new: Table) -> Iterator[tuple[bytes, Entry | None, Entry | None]]:
    """Yield each target whose entry is another one, with both; in no order that means anything.

    A change copies one leaf, so what two tables share is passed over: some microseconds after one.
    """
    for before, after in zip(old.root, new.root, strict=True):
        if before is after:
            continue
        for was, now in zip(before, after, strict=True):
            if was is not now:
                yield from _leaf_differences(was, now)


def _leaf_differences(was: Leaf, now: Leaf) -> Iterator[tuple[bytes, Entry | None, Entry | None]]:
    for digest, entry_now in now.items():
        entry_was = was.get(digest)
        if entry_was is not entry_now and entry_was != entry_now:
            yield digest, entry_was, entry_now
    for digest, entry_was in was.items():
        if digest not in now:
            yield digest, entry_was, None


class TableEdit:
    """Changes to come: each leaf is copied at its first change, then changed in place."""

    __slots__ = ("_own", "_root", "_size")

    def __init__(self, table: Table) -> None:
        self._root = table.root
        self._size = table.size
        self._own: dict[int, Leaf] = {}

    def get(self, digest: bytes) -> Entry | None:
        """Return the entry as changed so far."""
        high, low = digest[0] >> _SHIFT, digest[1] >> _SHIFT
        leaf = self._own.get(high * FAN_OUT + low)
        return (self._root[high][low] if leaf is None else leaf).get(digest)

    def leaf(self, digest: bytes) -> Leaf:
        """Return the leaf of a target to be changed in place; tell `grow` what was added."""
        high, low = digest[0] >> _SHIFT, digest[1] >> _SHIFT
        leaf = self._own.get(high * FAN_OUT + low)
        if leaf is None:
            leaf = self._own[high * FAN_OUT + low] = self._root[high][low].copy()
        return leaf

    def grow(self, by: int) -> None:
        """Count entries that were put into leaves."""
        self._size += by

    def put(self, digest: bytes, found: Entry | None) -> None:
        """Set the entry of a target; None removes it."""
        leaf = self.leaf(digest)
        before = len(leaf)
        if found is None:
            leaf.pop(digest, None)
        else:
            leaf[digest] = found
        self._size += len(leaf) - before

    def done(self) -> Table:
        """Return the new table; the edit must not be used afterwards."""
        branches: dict[int, list[Leaf]] = {}
        for place, leaf in self._own.items():
            high, low = divmod(place, FAN_OUT)
            if high not in branches:
                branches[high] = list(self._root[high])
            branches[high][low] = leaf
        root = list(self._root)
        for high, branch in branches.items():
            root[high] = tuple(branch)
        return Table(tuple(root), self._size)
