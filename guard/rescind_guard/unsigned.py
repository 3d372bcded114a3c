"""Unsigned lists: revocations that nobody of this fabric has signed. They only ever deny.

A weaker class, and kept apart from the signed log by its type: a list has no place in a `Table`, so
none can come into a snapshot, a report or what is handed on. It proves nothing fresh, ends no kill,
and is looked at after the signed ones. Each binds the badges of its one issuer and no others:
whoever may write the list can stop that issuer's badges, and nothing else.

Ownership: a list and what is published are immutable; the view's attribute is its keeper's.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from rescind_protocol import targets
from rescind_protocol.table import ALIVE

Cuts = Mapping[bytes, int]
"""Target digest → greatest `iat` that is dead; never mutated once published."""


class UnsignedList(msgspec.Struct, frozen=True):
    """What one list says of one issuer's badges, whole: each answer replaces the one before it."""

    issuer: str
    """In canonical form."""
    killed: Cuts
    suspended: Cuts = {}

    def __len__(self) -> int:
        return len(self.killed) + len(self.suspended)


class Published(NamedTuple):
    """What a reader gets: the lists by their issuers' digests; each change is a generation."""

    generation: int = 0
    lists: Mapping[bytes, UnsignedList] = {}

    def killer(self, digests: tuple[bytes, ...], iat: int) -> UnsignedList | None:
        """Return a list by which a badge with these targets, issued at `iat`, is dead."""
        return self._find(digests, iat, suspended=False) if self.lists else None

    def suspender(self, digests: tuple[bytes, ...], iat: int) -> UnsignedList | None:
        """Return a list that says that the badge's agent gets no more of them."""
        return self._find(digests, iat, suspended=True) if self.lists else None

    def _find(
        self, digests: tuple[bytes, ...], iat: int, *, suspended: bool
    ) -> UnsignedList | None:
        for issuer, found in self.lists.items():
            cuts = found.suspended if suspended else found.killed
            # Disjoint is what nearly every badge is, and one step says so.
            if cuts.keys().isdisjoint(digests) or issuer not in digests:
                continue
            if any(iat <= cuts.get(digest, ALIVE) for digest in digests):
                return found
        return None

    def __len__(self) -> int:
        return sum(map(len, self.lists.values()))


def publish(before: Published, lists: Iterable[UnsignedList]) -> Published:
    """Return what follows `before`: these lists, one an issuer, and no others."""
    by_issuer = {targets.issuer(each.issuer).digest: each for each in lists}
    return Published(before.generation + 1, by_issuer)
