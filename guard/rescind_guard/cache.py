"""Tokens seen before: bounded, without a lock, two generations of plain dicts.

A full young dict becomes the old one, and the old one is dropped whole; a hit in the old moves to
the young. So memory is bounded by twice the size, and nothing is ever searched for a victim.
"""

import msgspec

from rescind_guard.badges import Claims
from rescind_guard.decision import Decision
from rescind_guard.issuers import Issuers


class Kept(msgspec.Struct, frozen=True):
    """What is known of one token. Never a reference to a view: that would pin old ones."""

    claims: Claims
    issuers: Issuers
    """The keys under which the signature verified."""
    generation: int
    """Of the view whose lookup `decision` rests on."""
    good_until_wall: float
    good_until_boot: float
    decision: Decision | None
    """An allow without conditions, good as long as all else here holds."""
    lists: int = 0
    """The generation of the unsigned lists that were looked into."""


class TokenCache:
    """Token → what is known of it; at most `2 * size` entries."""

    __slots__ = ("_old", "_size", "_young")

    def __init__(self, size: int) -> None:
        self._size = size
        self._young: dict[str, Kept] = {}
        self._old: dict[str, Kept] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, token: str) -> Kept | None:
        """Return what is known of a token."""
        kept = self._young.get(token)
        if kept is None:
            kept = self._old.get(token)
            if kept is not None:
                self.put(token, kept)
        return kept

    def put(self, token: str, kept: Kept) -> None:
        """Remember a token; racing threads may at worst forget one."""
        young = self._young
        if len(young) >= self._size:
            self._old = young
            young = self._young = {}
        young[token] = kept
