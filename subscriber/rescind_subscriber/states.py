"""The states of a subscription, as one table. Every state is derived, so none can be forgotten."""

from collections.abc import Callable
from enum import StrEnum

import msgspec


class State(StrEnum):
    """How far the view can be relied upon; see `TABLE`."""

    STALE = "STALE"
    SYNCING = "SYNCING"
    LAGGING = "LAGGING"
    FALLBACK = "FALLBACK"
    LIVE = "LIVE"


class Observed(msgspec.Struct, frozen=True):
    """What the state is derived from."""

    age_s: float
    """Age of the proof of freshness; infinite: never proven."""
    stale_after_s: float
    lagging_after_s: float
    ever_fresh: bool
    away: int
    """Sources that are not connected now, or whose store cannot be read."""


class Row(msgspec.Struct, frozen=True):
    """A state, when it holds, and what it means for the guard."""

    state: State
    when: str
    means: str
    holds: Callable[[Observed], bool]


TABLE = (
    Row(
        State.SYNCING,
        "no required publisher's head has been covered since the start",
        "known kills deny; levels 2 to 4: cannot tell",
        lambda seen: not seen.ever_fresh,
    ),
    Row(
        State.STALE,
        "the proof is as old as the limit, or was withdrawn",
        "known kills deny; levels 2 to 4: cannot tell",
        lambda seen: seen.age_s >= seen.stale_after_s,
    ),
    Row(
        State.LAGGING,
        "three heads were missed",
        "everything as in LIVE; alarm",
        lambda seen: seen.age_s >= seen.lagging_after_s,
    ),
    Row(
        State.FALLBACK,
        "fresh, while a source is not connected or cannot be read",
        "everything as in LIVE; alarm",
        lambda seen: seen.away > 0,
    ),
    Row(
        State.LIVE,
        "fresh, every source connected and readable",
        "everything decides",
        lambda _: True,
    ),
)
"""The first row that holds is the state."""
FRESH = frozenset({State.LIVE, State.FALLBACK, State.LAGGING})
"""In these everything decides."""


def derive(observed: Observed) -> State:
    """Return the state."""
    return next(row.state for row in TABLE if row.holds(observed))
