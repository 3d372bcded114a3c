"""The join (I2): any order, duplicates, gaps, horizons and snapshot merges give one state."""

from random import Random

from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from rescind_protocol.changes import Kill
from rescind_protocol.events import Event
from rescind_protocol.image import Image
from rescind_protocol.join import Outcome, Replica
from tests.fakes.histories import (
    HORIZONS,
    LOGS,
    TARGETS,
    Model,
    event_of,
    histories,
    horizon_of,
    state,
    view,
)

REPLICAS = 3
_replicas = st.integers(0, REPLICAS - 1)
_steps = st.lists(
    st.tuples(st.just("deliver"), _replicas, st.integers(0, 99))
    | st.tuples(st.just("deliver"), _replicas, st.integers(0, 99))
    | st.tuples(st.just("merge"), _replicas, _replicas)
    | st.tuples(st.just("horizon"), _replicas, st.integers(0, len(LOGS) * len(HORIZONS) - 1)),
    max_size=30,
)


class Fleet:
    """Some replicas, and beside each the model of what it knows."""

    def __init__(self, history: list[Event]) -> None:
        self.history = history
        self.replicas = [Replica() for _ in range(REPLICAS)]
        self.models = [Model() for _ in range(REPLICAS)]

    def step(self, what: str, who: int, which: int) -> None:
        """Do one thing to replica `who`, and the same to its model."""
        if what == "deliver" and self.history:
            self.deliver(who, self.history[which % len(self.history)])
        elif what == "merge":
            self.replicas[who].merge(self.replicas[which].image())
            self.models[who].add(self.models[which])
        elif what == "horizon":
            log, until = LOGS[which % len(LOGS)], HORIZONS[which // len(LOGS)]
            self.replicas[who].advance_horizon(horizon_of(log, until))
            self.models[who].add(Model([], {log: until}))

    def deliver(self, who: int, event: Event) -> None:
        """Apply one event, for the first time or again."""
        again = event in self.models[who].events
        found = self.replicas[who].apply(event)
        assert found is (Outcome.SEEN if again else Outcome.APPLIED)
        self.models[who].add(Model([event]))

    def check(self, who: int) -> None:
        """The replica says what the model says, whatever the way it took."""
        replica, model = self.replicas[who], self.models[who]
        assert view(replica) == model.view()
        assert replica.table.size == len(model.view())
        for log in LOGS:
            assert replica.live_sum([log]) == model.live_sum(log)
        assert sum(replica.live.count.values()) == len(model.live())


@given(histories(), _steps, st.randoms(use_true_random=False))
def test_every_replica_equals_the_model_at_every_moment_and_all_agree_at_the_end(
    history: list[Event],
    steps: list[tuple[str, int, int]],
    random: Random,
) -> None:
    """With gaps open, snapshots merged and horizons apart; then everyone hears everything."""
    fleet = Fleet(history)
    for what, who, which in steps:
        fleet.step(what, who, which)
        fleet.check(who)
    horizons = Model()
    for model in fleet.models:
        horizons.add(Model([], model.horizons))
    for who, replica in enumerate(fleet.replicas):
        for event in random.sample(history, len(history)) + random.sample(history, len(history)):
            fleet.deliver(who, event)
        for log, until in horizons.horizons.items():
            replica.advance_horizon(horizon_of(log, until))
        fleet.models[who].add(horizons)
        fleet.check(who)
    states = [state(replica.image()) for replica in fleet.replicas]
    assert states[0] == states[1] == states[2]
    assert not any(replica.above or replica.forked for replica in fleet.replicas)


def _load(*images: Image) -> Image:
    replica = Replica()
    for image in images:
        replica.merge(image)
    return replica.image()


@given(histories(), _steps)
def test_merging_is_idempotent_commutative_and_associative(
    history: list[Event], steps: list[tuple[str, int, int]]
) -> None:
    """Over any three states that one history can lead to, gaps and names to come included."""
    fleet = Fleet(history)
    for what, who, which in steps:
        fleet.step(what, who, which)
    a, b, c = (replica.image() for replica in fleet.replicas)
    assert state(_load(a)) == state(_load(a, a)) == state(a)
    assert state(_load(a, b)) == state(_load(b, a))
    assert state(_load(_load(a, b), c)) == state(_load(a, _load(b, c)))


@given(histories(), _steps)
def test_a_merge_never_loses_a_kill(
    history: list[Event], steps: list[tuple[str, int, int]]
) -> None:
    """What either side has live and the other has not ended is live after it."""
    fleet = Fleet(history)
    for what, who, which in steps:
        fleet.step(what, who, which)
    ours, theirs = fleet.models[0], fleet.models[1]
    fleet.replicas[0].merge(fleet.replicas[1].image())
    ours.add(theirs)
    live = {name for ids, *_ in view(fleet.replicas[0]).values() for name in ids}
    assert live == {name for name, _ in ours.live()}


@given(histories(), st.randoms(use_true_random=False))
def test_no_reinstatement_ends_a_kill_that_it_does_not_name(
    history: list[Event],
    random: Random,
) -> None:
    """A kill by nobody named outlives everything said of its target, in any order."""
    extra = event_of(LOGS[0], 1, Kill(target=TARGETS[0]), branch="")
    others = [e for e in history if e.log != extra.log]
    named = {n for e in others for _, c in e.changes if not isinstance(c, Kill) for n in c.names}
    replica = Replica()
    for event in random.sample([extra, *others], len(others) + 1):
        replica.apply(event)
    found = replica.table.get(TARGETS[0].digest)
    kept = found is not None and any(r.id.log == extra.log for r in found.revocations)
    assert kept or any((n.log, n.seq, n.index) == (extra.log, 1, 0) for n in named)


# --- the negative control ---


class LastWriterWins:
    """The join of the first draft: per target the change with the greatest time (attack A1)."""

    def __init__(self) -> None:
        self.rows: dict[bytes, tuple[int, bool]] = {}

    def apply(self, event: Event) -> None:
        """Keep the newest change of each target; a tie goes to the first that came."""
        for _, change in event.changes:
            target, row = change.target.digest, (event.at, isinstance(change, Kill))
            if row[0] > self.rows.get(target, (-1, False))[0]:
                self.rows[target] = row

    def killed(self) -> set[bytes]:
        """Targets denied."""
        return {target for target, (_, kill) in self.rows.items() if kill}


def _diverges(history: list[Event]) -> bool:
    one, other = LastWriterWins(), LastWriterWins()
    for event in history:
        one.apply(event)
    for event in reversed(history):
        other.apply(event)
    return one.killed() != other.killed()


def _loses(history: list[Event]) -> bool:
    draft = LastWriterWins()
    for event in history:
        draft.apply(event)
    live = {kill.target.digest for _, kill in Model(history).live()}
    return not live <= draft.killed()


def test_a_last_writer_wins_join_fails_the_same_properties() -> None:
    """The histories above tell a join from a register: they find its divergence and its loss."""
    quick = settings(max_examples=2000, database=None, phases=[Phase.generate])
    assert _diverges(find(histories(), _diverges, settings=quick))
    assert _loses(find(histories(), _loses, settings=quick))
