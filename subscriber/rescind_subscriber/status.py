"""Where a subscription stands, put together for people and for health checks."""

from math import inf

import msgspec

from rescind_guard.view import View
from rescind_protocol.clock import Clock
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.follow import Follower
from rescind_subscriber.states import Observed, State, derive


class Status(msgspec.Struct, frozen=True):
    """Where a subscription stands, for people and for health checks."""

    state: State
    age_s: float | None
    """Age of the proof of freshness; None: never proven."""
    seconds_until_stale: float
    generation: int
    targets: int
    sources: dict[str, str]
    """Why each source is not linked; "" when it is."""
    trouble: dict[str, str]
    events: dict[str, int]
    heads: dict[str, int]
    reads: dict[str, int]
    snapshots: dict[str, int] = {}
    """What became of the snapshots that sources have shown."""
    faults: dict[str, int] = {}
    """How often each kind of fault was seen; see `faults.TABLE`."""
    head_ages_s: dict[str, float | None] = {}
    """Age of each publisher's newest head; None: a required one that was never heard."""


def status_of(
    view: View,
    follower: Follower | None,
    *,
    clock: Clock,
    config: SubscriberConfig,
    ever_fresh: bool,
    crash: str,
    faults: dict[str, int],
) -> Status:
    """Return where a subscription stands now; from any thread."""
    at = view.published
    age = at.age_s(clock.wall(), clock.boot())
    links = dict(follower.links) if follower else {}
    trouble = follower.trouble if follower else {"thread": "not running"}
    if crash:
        trouble["thread"] = crash
    observed = Observed(
        age_s=age,
        stale_after_s=config.stale_after_s,
        lagging_after_s=config.lagging_after_s,
        ever_fresh=ever_fresh or (follower is not None and follower.reconciler.ever_fresh),
        away=follower.away if follower else 0,
    )
    return Status(
        state=derive(observed),
        age_s=None if age == inf else age,
        seconds_until_stale=max(0.0, config.stale_after_s - age),
        generation=at.generation,
        targets=len(at.table),
        sources=links,
        trouble=trouble,
        events=follower.reconciler.events.read() if follower else {},
        heads=follower.reconciler.heads.read() if follower else {},
        reads=follower.reads.read() if follower else {},
        snapshots=follower.cold.counts.read() if follower else {},
        faults=faults,
        head_ages_s=follower.reconciler.head_ages() if follower else {},
    )
