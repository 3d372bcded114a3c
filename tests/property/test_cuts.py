"""Cuts (I2, I10): retirements and revoked keys, in any order, with gaps and merges, make one state.

A state cannot forget, so what must converge is the state with its rebuilding: as a subscriber does,
a replica that holds what has become void is built anew from everything that is stored.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

import msgspec
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from rescind_protocol import cuts
from rescind_protocol.changes import Kill, Retire, Retract, RevocationId
from rescind_protocol.cuts import Cuts, Retired
from rescind_protocol.events import Event
from rescind_protocol.heads import Position
from rescind_protocol.join import Outcome, Replica
from rescind_protocol.positions import START, to_text
from rescind_protocol.rights import LOG_PREFIX_CHARS
from tests.fakes.fabric import PUBLISHER, SECOND, key_of
from tests.fakes.histories import (
    LOGS,
    MAX_EVENTS,
    TARGETS,
    Model,
    digest,
    event_of,
    histories,
    state,
    view,
)

REPLICAS = 3
_replicas = st.integers(0, REPLICAS - 1)
_steps = st.lists(
    st.tuples(st.just("deliver"), _replicas, st.integers(0, 99))
    | st.tuples(st.just("deliver"), _replicas, st.integers(0, 99))
    | st.tuples(st.just("merge"), _replicas, _replicas),
    max_size=30,
)
KEYS = {
    key.kid: [log for log in LOGS if log.startswith(key.kid[:LOG_PREFIX_CHARS])]
    for key in (PUBLISHER, SECOND)
}
RETIRERS = {PUBLISHER.kid: LOGS[2], SECOND.kid: LOGS[0]}
"""Key to a log of the other publisher, which retires it: both may, so that they cross."""


@st.composite
def retiring(draw: st.DrawFn, *, moves: bool = True) -> list[Event]:
    """A history in which some events retire the other publisher, at various depths."""
    events = {(e.log, e.seq): e for e in draw(histories(moves=moves))}
    for key in draw(st.lists(st.sampled_from(sorted(RETIRERS)), max_size=3)):
        log = RETIRERS[key]
        seq = 1 + sum(1 for place in events if place[0] == log)
        if seq > MAX_EVENTS:
            continue
        ends = draw(st.dictionaries(st.sampled_from(KEYS[key]), st.integers(1, MAX_EVENTS)))
        at = {log: Position(seq, digest(log, seq)) for log, seq in ends.items()}
        said = Retire(publisher="x", key=key, logs=to_text(at))
        events[log, seq] = msgspec.structs.replace(event_of(log, seq), retires=(said,))
    return list(events.values())


def ends_of(history: list[Event]) -> dict[str, int]:
    """Return where logs end: of several retirements the deepest."""
    found: dict[str, int] = {}
    for event in history:
        for said in event.retires:
            for log, (seq, _) in said.logs.items():
                found[log] = max(seq, found.get(log, 0))
    return found


def model_of(history: list[Event]) -> Model:
    """Return what must hold when everything was heard."""
    ends = ends_of(history)
    return Model([e for e in history if e.seq <= ends.get(e.log, MAX_EVENTS)])


@dataclass
class Subscriber:
    """A replica, and what a subscriber does when it is spoiled."""

    replica: Replica = field(default_factory=Replica)

    def merge(self, other: "Subscriber") -> None:
        """Merge a snapshot, if it holds nothing void."""
        image = other.replica.image()
        if not other.replica.spoiled and self.replica.accepts(image):
            self.replica.merge(image)

    def heal(self, stored: list[Event]) -> None:
        """Hear everything, and build anew as often as that takes."""
        for event in stored:
            self.replica.apply(event)
        while self.replica.spoiled:
            self.replica = Replica(retired=self.replica.cuts.retired)
            for event in stored:
                self.replica.apply(event)


@given(retiring(), _steps, st.randoms(use_true_random=False))
def test_retirements_in_any_order_with_gaps_and_merges_make_one_state(
    history: list[Event], steps: list[tuple[str, int, int]], random: Random
) -> None:
    """Byte for byte, and what the model says: nothing beyond the deepest cut, all up to it."""
    fleet = [Subscriber() for _ in range(REPLICAS)]
    for what, who, which in steps:
        if what == "deliver" and history:
            fleet[who].replica.apply(history[which % len(history)])
        elif what == "merge":
            fleet[who].merge(fleet[which])
    for each in fleet:
        each.heal(random.sample(history, len(history)))
        each.heal(random.sample(history, len(history)))
    wanted = model_of(history)
    for each in fleet:
        assert view(each.replica) == wanted.view()
        for log in LOGS:
            assert each.replica.live_sum([log]) == wanted.live_sum(log)
    states = [(state(e.replica.image()), e.replica.cuts.retired) for e in fleet]
    assert states[0] == states[1] == states[2]
    assert not any(each.replica.above or each.replica.forked for each in fleet)


@given(retiring(moves=False), _steps)
def test_no_kill_of_a_log_that_goes_on_is_lost_by_a_retirement(
    history: list[Event], steps: list[tuple[str, int, int]]
) -> None:
    """Whatever is retired, at every moment: a known kill that nothing names is in force."""
    ends = ends_of(history)
    named = {
        (n, c.target)
        for e in history
        for _, c in e.changes
        if not isinstance(c, Kill)
        for n in c.names
    }
    one = Subscriber()
    known: list[tuple[RevocationId, Kill]] = []
    for _, _, which in steps:
        if not history:
            return
        event = history[which % len(history)]
        one.replica.apply(event)
        if event.log not in ends:
            known += [
                (RevocationId(event.log, event.seq, i), c)
                for i, c in event.changes
                if isinstance(c, Kill)
            ]
        live = {name for ids, *_ in view(one.replica).values() for name in ids}
        assert all(name in live for name, kill in known if (name, kill.target) not in named)


# --- a log with two histories, cut by the root ---

LOG = LOGS[0]


def _branches() -> tuple[list[Event], list[Event]]:
    """The publisher's events 1 to 4, and a thief's 3 to 5 that follow its second."""
    kill = [Kill(target=target) for target in TARGETS]
    true = [
        event_of(LOG, 1, kill[0]),
        event_of(LOG, 2, kill[1]),
        event_of(LOG, 3, kill[2]),
        event_of(LOG, 4, kill[0]),
    ]
    undo = Retract(target=TARGETS[0], names=(RevocationId(LOG, 1, 0),))
    thief = [event_of(LOG, n, undo, branch="thief") for n in (3, 4, 5)]
    thief[0] = msgspec.structs.replace(thief[0], prev=true[1].digest)
    return true, thief


@given(st.randoms(use_true_random=False))
def test_the_digest_of_a_cut_chooses_between_two_histories(random: Random) -> None:
    """A thief forks a log; the root's cut names the true one: its kills live, in any order."""
    true, thief = _branches()
    cut = Position(4, true[3].digest)

    def by_root(log: str) -> Position | None:
        return cut if log == LOG else None

    told = random.sample(true + thief, len(true + thief))
    replica = Replica(by_root)
    for event in told:
        replica.apply(event)
    if replica.spoiled:
        replica = Replica(by_root, forked=(LOG,))
        outcomes = [replica.apply(event) for event in told]
        assert Outcome.FORK not in outcomes
    assert view(replica) == Model(true).view()
    assert replica.completes(LOG, cut)
    assert not replica.forked


def test_without_the_choice_a_thief_heard_first_leaves_another_state() -> None:
    """The negative control: the same events, and no cut that says which history is the true one."""
    true, thief = _branches()
    one, other = Replica(), Replica()
    for event in [*true, *thief]:
        one.apply(event)
    for event in [*true[:2], *thief, *true[2:]]:
        other.apply(event)
    assert view(one) != view(other)


# --- negative controls ---


class ShallowCuts(Replica):
    """A join in which the retirement that was heard last decides."""

    def apply(self, event: Event) -> Outcome:
        """Forget what was retired before."""
        for said in event.retires:
            self.cuts = type(self.cuts)(self.cuts.by_root)
            del said
        return super().apply(event)


def _differs(history: list[Event], make: type[Replica]) -> bool:
    states = []
    for told in (history, history[::-1]):
        replica = make()
        for event in told:
            replica.apply(event)
        states.append((view(replica), replica.cuts.retired))
    return states[0] != states[1]


def test_without_the_deepest_cut_or_without_rebuilding_the_histories_find_a_difference() -> None:
    """The histories above tell: a last retirement that wins, and a state that is never rebuilt."""
    quick = settings(max_examples=2000, database=None, phases=[Phase.generate])
    assert _differs(
        find(retiring(), lambda h: _differs(h, ShallowCuts), settings=quick), ShallowCuts
    )
    assert _differs(find(retiring(), lambda h: _differs(h, Replica), settings=quick), Replica)


def test_who_retires_each_other_are_both_retired() -> None:
    """Else the one that is heard first would win, here this one and there that one."""

    def by(log: str, key: str, cut: str) -> Event:
        said = Retire(publisher="x", key=key, logs=to_text({cut: Position(1, digest(cut, 1))}))
        return msgspec.structs.replace(event_of(log, 2), retires=(said,))

    a, b = LOGS[0], LOGS[2]
    first = [event_of(log, 1, Kill(target=TARGETS[0])) for log in (a, b)]
    crossing = [by(a, SECOND.kid, b), by(b, PUBLISHER.kid, a)]
    for told in (first + crossing, first + crossing[::-1], crossing + first):
        one = Subscriber()
        one.heal(told)
        assert set(one.replica.cuts.retired) == {PUBLISHER.kid, SECOND.kid}
        assert {log: at.seq for log, at in one.replica.vector.items()} == {a: 1, b: 1}


# --- more cuts than a state remembers ---

FEW = 3
_INVENTED = [f"{key[:LOG_PREFIX_CHARS]}-{n:022}" for key in KEYS for n in range(3)]
_said = st.lists(
    st.tuples(st.sampled_from(_INVENTED), st.integers(1, 4), st.sampled_from(["", "other"])),
    max_size=20,
)


def _retired_by(said: list[tuple[str, int, str]]) -> list[Retired]:
    keys = {key[:LOG_PREFIX_CHARS]: key for key in KEYS}
    return [
        {keys[log[:LOG_PREFIX_CHARS]]: {log: Position(seq, digest(log, seq, branch))}}
        for log, seq, branch in said
    ]


@contextmanager
def few_cuts(most: int = FEW) -> Iterator[None]:
    """Have a state remember only so many cuts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuts, "MAX_CUTS", most)
        yield


@given(_said, st.randoms(use_true_random=False), st.integers(0, 20))
def test_more_cuts_than_are_remembered_leave_the_same_ones_in_any_order(
    said: list[tuple[str, int, str]], random: Random, split: int
) -> None:
    """In any order, twice, and joined from two states: a few, the deepest, and always the same."""
    told = _retired_by(said)
    with few_cuts():
        one, other, left, right = Cuts(), Cuts(), Cuts(), Cuts()
        for each in told:
            one.join(each)
        for each in random.sample(told + told, 2 * len(told)):
            other.join(each)
        for number, each in enumerate(told):
            (left if number < split else right).join(each)
        left.join(right.retired)
        assert sum(map(len, one.retired.values())) <= FEW
        assert one.retired == other.retired == left.retired
        assert set(one.retirements()) == set(other.retirements()) == set(left.retirements())


def test_cuts_that_decide_nothing_push_no_other_out() -> None:
    """Of keys that nobody has, at any depth: no view waits for them, so nobody would notice."""
    stranger = key_of("stranger").kid
    genuine = _retired_by([(_INVENTED[0], 4, "")])[0]
    logs = {f"{stranger[:LOG_PREFIX_CHARS]}-{n:022}": Position(2**52, bytes(32)) for n in range(9)}

    def by_root(log: str) -> Position | None:
        return START if log in logs else None

    with few_cuts():
        for told in ([genuine, {stranger: logs}], [{stranger: logs}, genuine]):
            known = Cuts(by_root)
            for each in told:
                known.join(each)
            assert known.of(_INVENTED[0]) == Position(4, digest(_INVENTED[0], 4))
            assert list(known.retirements()) == [(_INVENTED[0], known.of(_INVENTED[0]))]
            assert sum(map(len, known.retired.values())) == FEW
        control = Cuts()
        for each in told:
            control.join(each)
        assert control.of(_INVENTED[0]) is None


class FirstCuts(Cuts):
    """A bound that lets those in that are heard first."""

    def join(self, retired: Retired) -> list[str]:
        """Take what there is room for."""
        room = FEW - sum(map(len, self.retired.values()))
        new = {k: logs for k, logs in retired.items() if len(logs) <= room}
        return super().join(new)


def test_with_a_bound_that_goes_by_the_order_the_same_cuts_find_a_difference() -> None:
    """The negative control: the first ones heard are kept, here these and there those."""

    def differs(said: list[tuple[str, int, str]]) -> bool:
        one, other = FirstCuts(), FirstCuts()
        for each in _retired_by(said):
            one.join(each)
        for each in reversed(_retired_by(said)):
            other.join(each)
        return one.retired != other.retired

    assert differs(find(_said, differs, settings=settings(max_examples=2000, database=None)))


def test_what_pushes_a_cut_out_is_deeper_than_it() -> None:
    """Cuts of logs that nobody has, at low numbers, do not undo a retirement."""
    genuine = _retired_by([(_INVENTED[0], 4, "")])[0]
    flood = _retired_by([(log, 1, "") for log in _INVENTED[1:]])
    with few_cuts():
        known = Cuts()
        for each in [genuine, *flood]:
            known.join(each)
        assert known.of(_INVENTED[0]) == Position(4, digest(_INVENTED[0], 4))


def test_a_retirement_that_is_known_takes_no_room_and_one_more_is_refused() -> None:
    """Said again it is applied, also where as many keys are retired as a state remembers."""

    def by(seq: int, *names: str) -> Event:
        said = [Retire(publisher="x", key=key_of(name).kid, logs={}) for name in names]
        return msgspec.structs.replace(event_of(LOGS[0], seq), retires=tuple(said))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuts, "MAX_RETIRED_KEYS", 2)
        replica = Replica()
        assert replica.apply(by(1, "a", "b")) is Outcome.APPLIED
        assert replica.apply(by(2, "b", "a")) is Outcome.APPLIED
        assert replica.apply(by(3, "a", "c")) is Outcome.OVER_QUOTA
        assert not replica.cuts.has_retired(key_of("c").kid)


def test_a_log_that_no_retirement_names_goes_on() -> None:
    """A publisher that comes back says its own again in a new log, by the same key."""
    said = Retire(publisher="x", key=SECOND.kid, logs={})
    replica = Replica()
    replica.apply(msgspec.structs.replace(event_of(LOGS[0], 1), retires=(said,)))
    assert replica.apply(event_of(LOGS[2], 1, Kill(target=TARGETS[0]))) is Outcome.APPLIED
    assert replica.cuts.has_retired(SECOND.kid)
    assert not replica.cuts.has_retired(key_of("another").kid)
