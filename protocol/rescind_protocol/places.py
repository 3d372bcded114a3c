"""What one key may make every view hold (attack D): places, for kills and for their bytes.

A kill takes one place for each `PLACE_BYTES` of what a view keeps of it, at least one. A quota is a
number of places, so that neither many kills nor long ones fill the memory of a fleet.

Beyond the quota lies a reserve that smaller targets cannot take: whoever fills a quota with badges
that nobody has, by a token of scope `kill`, must not have taken the switch from those who stop an
agent, an issuer or everyone.
"""

from collections.abc import Iterable

from rescind_protocol.changes import Kill
from rescind_protocol.targets import Kind

PLACE_BYTES = 512
"""Twice what a kill of an agent takes with a sentence for its callers."""
_RESERVES = {Kind.AGENT: 20, Kind.ISSUER: 10, Kind.EVERYONE: 10}
"""Kind to the share of the quota, one in so many, that it may go beyond."""


def of(kill: Kill) -> int:
    """Return how many places a kill takes."""
    target = kill.target
    chars = len(target.iss) + len(target.id) + len(kill.reason) + len(kill.reason_user or "")
    return max(1, -(-chars // PLACE_BYTES))


def limit(quota: int, kind: Kind) -> int:
    """Return how many places may be taken when a kill of this kind is the last of them."""
    share = _RESERVES.get(kind)
    return quota if share is None else quota + quota // share


def fit(quota: int, held: int, kills: Iterable[Kill]) -> bool:
    """Whether these find room beside the places that are held; those with the least room first."""
    wanted: dict[int, int] = {}
    for kill in kills:
        most = limit(quota, kill.target.kind)
        wanted[most] = wanted.get(most, 0) + of(kill)
    for most in sorted(wanted):
        held += wanted[most]
        if held > most:
            return False
    return True
