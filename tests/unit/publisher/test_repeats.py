"""A kill that is in force already: the answer names the living one, and nothing new is signed."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescind.testing.clock import HostClock, Time
from rescind.testing.keys import FABRIC, key_of, trust_of
from rescind.testing.spool import MemorySpool
from rescind_protocol import killset
from rescind_protocol.changes import Change, Effect, Kill, Retract, Revocation, RevocationId
from rescind_protocol.killset import Kills
from rescind_protocol.limits import DEFAULT_QUOTA
from rescind_publisher import repeats
from rescind_publisher.asks import Ask
from rescind_publisher.chain import Numbered, Voice
from rescind_publisher.config import PublisherConfig
from rescind_publisher.engine import Publisher
from rescind_publisher.ledger import Ledger
from rescind_publisher.receipts import State
from rescind_publisher.switch import KillSwitch
from tests.fakes.publishing import target
from tests.fakes.sink import FakeSink
from tests.fakes.waiting import wait_until

X = target()
LOG = "D7rqiKyOOKE-uUXYywJuNcYIM3hCEQ6l6A"


class Bench:
    """A ledger of a fabric with these publishers, and what it signed."""

    def __init__(self, *publishers: str) -> None:
        self.signed: list[Numbered] = []
        voice = Voice(key_of("p1"), "p1", FABRIC, DEFAULT_QUOTA, key_of("approver"))
        self.ledger = Ledger(MemorySpool(), voice, trust_of(publishers), HostClock(Time()))

    def say(self, *changes: Change) -> tuple[RevocationId, ...]:
        """Accept changes; the id under which each stands."""
        made = self.ledger.accept(changes, self.signed.extend)
        return repeats.ids_of(changes, made)


@pytest.fixture
def bench() -> Bench:
    """A fabric with one publisher."""
    return Bench("p1")


@pytest.mark.parametrize(
    ("old", "new", "covered"),
    [
        ({}, {}, True),
        ({}, {"reason": "alert", "reason_admin": "INC-2", "actor": "rule"}, True),
        ({}, {"expires_at": 2_000_000_000}, True),
        ({"expires_at": 2_000_000_000}, {"expires_at": 2_000_000_000}, True),
        ({"expires_at": 2_000_000_000}, {"expires_at": 2_000_000_001}, False),
        ({"expires_at": 2_000_000_000}, {}, False),
        ({}, {"issued_before": 10}, True),
        ({"issued_before": 10}, {"issued_before": 9}, True),
        ({"issued_before": 10}, {"issued_before": 11}, False),
        ({"issued_before": 10}, {}, False),
        ({}, {"effect": Effect.ISSUANCE}, False),
        ({"effect": Effect.ISSUANCE}, {}, False),
        ({"effect": Effect.ISSUANCE}, {"effect": Effect.ISSUANCE}, True),
        ({}, {"target": target(8)}, False),
    ],
)
def test_only_an_equal_or_longer_kill_covers_another(
    bench: Bench, old: dict[str, Any], new: dict[str, Any], *, covered: bool
) -> None:
    """Of the same target and effect, for as many badges, for as long; whatever the reasons."""
    (first,) = bench.say(Kill(**({"target": X} | old)))
    (second,) = bench.say(Kill(**({"target": X} | new)))
    assert (first == second) is covered
    assert len(bench.signed) == (1 if covered else 2)


def test_a_storm_on_one_target_is_one_kill(bench: Bench) -> None:
    """10,000 times in one request, and again in another: one id, one place in the quota."""
    storm = [Kill(target=X, reason_admin=f"alert {n}") for n in range(10_000)]
    ids = set(bench.say(*storm)) | set(bench.say(*storm))
    assert (len(ids), bench.ledger.live_count) == (1, 1)
    assert sum(len(each.event.changes) for each in bench.signed) == 1


def test_repeats_in_a_request_are_one_wherever_they_stand(bench: Bench) -> None:
    """Others between them keep their own; each change gets the id under which it stands."""
    ids = bench.say(Kill(target=X), Kill(target=target(8)), Kill(target=X), Kill(target=target(9)))
    assert ids[0] == ids[2]
    assert len(set(ids)) == 3


def test_a_kill_that_was_ended_covers_nothing(bench: Bench) -> None:
    """Killed, taken back, killed again: the second kill is a new one, and it lives."""
    (first,) = bench.say(Kill(target=X))
    bench.say(Retract(target=X, names=(first,)))
    (second,) = bench.say(Kill(target=X))
    assert second != first
    assert [r.id for r in bench.ledger.live(X)] == [second]


def test_where_somebody_else_may_have_ended_it_a_repeat_is_a_kill_of_its_own() -> None:
    """A reinstatement that is under way names the first id alone: the second kill wins (I2)."""
    bench = Bench("p1", "p2")
    (first,) = bench.say(Kill(target=X))
    (second,) = bench.say(Kill(target=X))
    assert first != second
    assert bench.say(Kill(target=X), Kill(target=X))[0] not in (first, second)
    assert len(bench.ledger.live(X)) == 3


_kills = st.builds(
    Kill,
    target=st.just(X),
    effect=st.sampled_from(Effect),
    issued_before=st.none() | st.integers(0, 3),
    expires_at=st.none() | st.integers(1, 4),
)


@given(st.lists(_kills, max_size=60), _kills)
def test_what_is_found_covers_and_what_covers_is_found(some: list[Kill], kill: Kill) -> None:
    """Among few kills or many of one target."""
    kills: Kills = ()
    for n, each in enumerate(some):
        kills = killset.add(kills, Revocation(RevocationId(LOG, n + 1, 0), each, 0))
    found = repeats.cover(kills, kill, lambda _: True)
    assert (found is not None) == any(repeats.covers(each, kill) for each in some)
    assert found is None or repeats.covers(found.kill, kill)


@given(_kills, _kills, st.integers(0, 5), st.integers(0, 5))
def test_a_kill_that_is_covered_stops_nothing_more(
    old: Kill, new: Kill, iat: int, now: int
) -> None:
    """No badge at no time is dead by it alone."""

    def dead(kill: Kill) -> bool:
        lives = kill.expires_at is None or now < kill.expires_at
        return lives and (kill.issued_before is None or iat <= kill.issued_before)

    if repeats.covers(old, new) and dead(new):
        assert dead(old)


def switch_of(tmp_path: Path, sink: FakeSink) -> KillSwitch:
    """Return a switch of a fabric with one publisher."""
    config = PublisherConfig(fabric=FABRIC, publisher="p1", spool=tmp_path / "spool")
    return KillSwitch(Publisher(config, key=key_of("p1"), trust=trust_of(("p1",)), sinks=[sink]))


def test_the_receipt_points_at_the_living_kill_and_says_where_it_is(tmp_path: Path) -> None:
    """As durable as that one is, beside one that is new; the sink is sent nothing twice."""
    sink = FakeSink()
    with switch_of(tmp_path, sink) as switch:
        first = switch.kill(X)
        again = switch.kill_many([X, target(8), Ask(target=X, reason_admin="INC-2")])
        alone = switch.kill(X)
    assert again.ids[0] == again.ids[2] == first.ids[0] == alone.ids[0]
    assert again.in_force == alone.in_force == first.ids
    assert again.ids[1] not in first.ids
    assert again.durable == alone.durable == ("fake",)
    assert f"already in force as {first.ids[0]}" in str(alone)
    assert alone.to_dict()["in_force"] == [str(first.ids[0])]
    assert first.in_force == ()
    assert len(sink.store) == 2


async def test_callers_that_wait_for_one_event_are_all_told(tmp_path: Path) -> None:
    """The first one's event is not in the sink yet when the second one is answered with it."""
    sink = FakeSink()
    with switch_of(tmp_path, sink) as switch:
        sink.down = True
        pending = switch.kill(X, timeout_s=0.0)
        assert pending.sinks["fake"].state is State.ACCEPTED
        waiting = [
            asyncio.create_task(asyncio.to_thread(switch.kill, X, timeout_s=10.0)) for _ in range(3)
        ]
        wait_until(lambda: sink.store == [])
        sink.down = False
        receipts = await asyncio.gather(*waiting)
    assert {receipt.ids for receipt in receipts} == {pending.ids}
    assert [receipt.durable for receipt in receipts] == [("fake",)] * 3
