"""The floor of a reinstatement: under it lies every badge that was issued here (attack B4)."""

from rescind_protocol import killset
from rescind_protocol.table import Entry
from rescind_protocol.targets import Kind, Target
from rescind_registry.badges import Badges

CLOCKS_S = 2
"""How far the clocks of nodes that issue for one origin may lie apart."""


def floor_of(badges: Badges, target: Target, entry: Entry | None, now: float) -> int | None:
    """Return the floor to say, for an origin that no other issuer stands beside.

    None leaves it to the publisher: where only the issuing was stopped no badge was dead, and none
    may die by the end of it.
    """
    used = entry and killset.sums(entry.revocations).use
    if not used or target.kind is Kind.BADGE:
        return None
    newest = badges.newest(target.id if target.kind is Kind.AGENT else None)
    return max(int(now), newest) + CLOCKS_S
