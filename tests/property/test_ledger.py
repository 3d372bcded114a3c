"""Whatever a publisher says, in whatever order it restarts: a subscriber ends up with the same."""

from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from rescind_protocol.changes import Change, Kill, Reinstate, Retract
from rescind_protocol.limits import SKEW_S
from rescind_publisher import ledger
from tests.fakes.fabric import NOW
from tests.fakes.publishing import target
from tests.unit.publisher.test_ledger import Bench

TARGETS = st.integers(0, 3)
STEPS = st.one_of(
    st.tuples(st.just("kill"), TARGETS, st.none() | st.integers(1, 300)),
    st.tuples(st.just("reinstate"), TARGETS, st.integers(0, 100)),
    st.tuples(st.just("retract"), TARGETS, st.none()),
    st.tuples(st.just("pass"), st.integers(1, 5000), st.none()),
    st.tuples(st.just("restart"), st.none(), st.none()),
    st.tuples(st.just("review"), st.none(), st.none()),
)


def change(bench: Bench, verb: str, number: int, value: int | None) -> Change | None:
    """Return the change that the step says, if it is one that can be said now."""
    now, one = int(bench.clock.wall()), target(number)
    if verb == "kill":
        return Kill(target=one, expires_at=None if value is None else now + value)
    names = tuple(r.id for r in bench.ledger.live(one))
    if not names:
        return None
    if verb == "retract":
        return Retract(target=one, names=names)
    return Reinstate(target=one, names=names, floor=now - (value or 0))


def step(bench: Bench, verb: str, what: int | None, value: int | None) -> None:
    """Do one step."""
    if verb == "pass":
        bench.clock.pass_s(what or 0)
    elif verb == "restart":
        bench.reopen()
    elif verb == "review":
        bench.head()  # subscribers hear of the horizon before a log leaves the heads
        bench.ledger.review(bench.ledger.positions)
    elif (said := change(bench, verb, what or 0, value)) is not None:
        bench.say(said)


@given(st.lists(STEPS, max_size=25))
def test_a_subscriber_always_agrees(steps: list[tuple[str, int | None, int | None]]) -> None:
    """After any kills, ends, expiries, restarts and reviews, the head is covered and agreed on."""
    closing = patch.object(ledger, "SPENT_LOGS_HEADED", 1)
    with TemporaryDirectory() as directory, closing:
        bench = Bench(Path(directory))
        for one in steps:
            step(bench, *one)
        assert bench.agrees() or not bench.head().logs
        for number in range(4):
            theirs = bench.other.table.get(target(number).digest)
            assert bench.ledger.live(target(number)) == (theirs.revocations if theirs else ())
        bench.spool.close()


def test_the_steps_do_something() -> None:
    """The property is not empty: kills live, end and expire under these very steps."""
    with TemporaryDirectory() as directory:
        bench, held = Bench(Path(directory)), []
        step(bench, "kill", 0, None)
        for verb, what, value in (
            ("kill", 1, 30),
            ("retract", 0, None),
            ("restart", None, None),
            ("pass", 90 + SKEW_S, None),
        ):
            step(bench, verb, what, value)
            bench.head()
            held.append(bench.ledger.live_count)
        assert held == [2, 1, 1, 0]
        assert bench.clock.wall() > NOW
        bench.spool.close()
