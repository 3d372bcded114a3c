"""The roster: who is there, who is out of reach, and how little a liar can do to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescind_protocol import reports
from rescind_protocol.heads import Position
from rescind_protocol.reports import Applied
from rescind_publisher import roster as module
from rescind_publisher.roster import Roster
from tests.fakes.fabric import NOW
from tests.fakes.reporting import LOG, done, hears, report


def names(roster: Roster, now: float = 0.0) -> list[str]:
    """Return who is on it."""
    return [member.name for member in roster.fleet({}, now).members]


def test_it_tells_how_each_is() -> None:
    """By name as people sort; state, lag, version, when it was last heard."""
    roster = Roster()
    roster.listening(0.0, NOW)
    hears(
        roster, report("eu-10", logs={LOG: 3}), report("eu-9", state="LAGGING", age_ms=4500), at=5
    )
    fleet = roster.fleet({LOG: Position(5, b"d" * 32)}, 6.0)
    assert fleet.listening_since == NOW
    ninth, tenth = fleet.members
    assert (ninth.name, ninth.state, ninth.age_s, ninth.lag) == ("eu-9", "LAGGING", 4.5, 5)
    assert (tenth.name, tenth.version, tenth.lag, tenth.last_seen) == ("eu-10", "0.1.0", 2, NOW + 5)
    assert not tenth.unreachable


@pytest.mark.parametrize(
    ("changes", "lag"),
    [
        ({"logs": {LOG: 5}}, 0),
        ({"logs": {LOG: 9}}, 0),
        ({"logs": {LOG: 2}, "applied": (Applied(LOG, 4, 0), Applied(LOG, 2, 0))}, 2),
        ({"logs": {}}, 5),
        ({"logs": {}, "more_logs": 3}, None),
    ],
)
def test_lag_is_what_is_missing(changes: dict[str, object], lag: int | None) -> None:
    """Events above a gap are there; a log that a report has no room for is not known."""
    roster = Roster()
    hears(roster, report(**changes))  # type: ignore[arg-type]
    (member,) = roster.fleet({LOG: Position(5, b"d" * 32)}, 0.0).members
    assert member.lag == lag


def test_silence_is_out_of_reach_by_its_own_interval() -> None:
    """Two and a half of the intervals that it told of; a report brings it back."""
    roster = Roster()
    hears(roster, report("slow", next_ms=60_000), report("fast", next_ms=1_000))
    away = {m.name: m.unreachable for m in roster.fleet({}, 10.0).members}
    assert away == {"slow": False, "fast": True}
    assert all(m.unreachable for m in roster.fleet({}, 153.0).members)
    hears(roster, report("slow", count=2), at=153.0)
    assert not roster.fleet({}, 153.0).members[1].unreachable


def test_a_subscriber_cannot_promise_silence_for_ever() -> None:
    """However far away it says its next report is."""
    roster = Roster()
    hears(roster, report(next_ms=2**49))
    (member,) = roster.fleet({}, 2.5 * module.MAX_INTERVAL_S + module.GRACE_S + 1).members
    assert member.unreachable


def test_one_that_stops_is_nobody_to_wait_for() -> None:
    """Its last word counts, and a late report of before does not bring it back."""
    roster = Roster()
    hears(roster, report(), report(count=3, state=reports.STOPPED))
    assert names(roster) == []
    assert hears(roster, report(count=2)) == [False]
    assert names(roster) == []


def test_a_restart_replaces_the_run_before() -> None:
    """A process that was killed is not out of reach when it is back: it knows whose lock it has."""
    roster = Roster()
    hears(roster, report(run="before", up_ms=100_000))
    hears(roster, report(run="after", up_ms=10, ended=("before",)), at=5.0)
    assert [entry.report.run for entry in roster.entries()] == ["after"]
    assert hears(roster, report(run="before", count=9)) == [False]


def test_a_third_start_takes_no_frozen_guard_out() -> None:
    """Another one of its name does not say that it is dead: it may pass calls when it goes on."""
    roster = Roster()
    hears(roster, report(run="frozen", up_ms=100_000), report(run="second", up_ms=10_000))
    hears(roster, report(run="third", up_ms=10), at=500.0)
    assert {entry.report.run for entry in roster.entries()} == {"frozen", "second", "third"}
    (row,) = roster.fleet({}, 500.0).members
    assert (row.workers, row.away, row.unreachable) == (3, 2, True)


def test_nobody_speaks_for_another_host() -> None:
    """Who has ended is known on its own host alone."""
    roster = Roster()
    hears(roster, report(run="there", host="b.example"), report(run="liar", ended=("there",)))
    assert {entry.report.run for entry in roster.entries()} == {"there", "liar"}


def test_workers_of_a_service_are_one_row() -> None:
    """With how many there are, and what is worst of each."""
    roster = Roster()
    hears(
        roster,
        report(run="a", pid=7, logs={LOG: 5}),
        report(run="b", pid=8, logs={LOG: 3}, state="STALE"),
    )
    (row,) = roster.fleet({LOG: Position(5, b"d" * 32)}, 1.0).members
    assert (row.workers, row.away, row.pids, row.state, row.lag) == (2, 0, (7, 8), "STALE", 2)


def test_a_late_report_changes_nothing() -> None:
    """The same report through a slower transport, or one before it."""
    roster = Roster()
    assert hears(roster, report(count=5), report(count=5), report(count=4)) == [True, False, False]


def test_a_full_roster_takes_in_nobody_for_the_living() -> None:
    """A flood of invented names cannot push a real subscriber out."""
    roster = Roster(limit=3)
    hears(roster, *(report(f"eu-{n}") for n in range(3)))
    assert hears(roster, *(report(f"liar-{n}") for n in range(50)), at=1.0) == [False] * 50
    assert names(roster) == ["eu-0", "eu-1", "eu-2"]
    assert roster.refused == 50


def test_a_full_roster_drops_who_is_out_of_reach_longest() -> None:
    """There is room for the living."""
    roster = Roster(limit=2)
    hears(roster, report("first"), at=0.0)
    hears(roster, report("second"), at=50.0)
    assert hears(roster, report("third"), at=100.0) == [True]
    assert names(roster, 100.0) == ["second", "third"]


def test_after_a_day_it_is_forgotten() -> None:
    """A host that was taken down is not missed for ever."""
    roster = Roster()
    hears(roster, report())
    assert names(roster, module.FORGET_AFTER_S - 1) == ["eu-1"]
    assert names(roster, module.FORGET_AFTER_S) == []


SAID = st.tuples(st.integers(0, 30), st.integers(0, 2), st.integers(1, 5), st.booleans())


@given(st.lists(SAID, max_size=80))
def test_it_is_bounded_and_consistent(said: list[tuple[int, int, int, bool]]) -> None:
    """Whatever is reported, in whatever order: within the limit, and each in its place."""
    roster = Roster(limit=5)
    for at, (number, name, count, stops) in enumerate(said):
        state = reports.STOPPED if stops else "LIVE"
        one = report(f"n{name}", run=f"r{number}", count=count, state=state, up_ms=number)
        hears(roster, one, at=at * 20.0)
        assert len(roster) <= 5
        assert len(roster._stopped) <= 5
        placed = {run for runs in roster._places.values() for run in runs}
        assert placed == {entry.report.run for entry in roster.entries()}


def test_a_run_keeps_its_name() -> None:
    """Whoever speaks under another's run with a name of his own is not heard."""
    roster = Roster()
    assert hears(roster, report("eu-1"), report("eu-2", run="run-eu-1", count=2)) == [True, False]
    assert names(roster) == ["eu-1"]


def test_what_cannot_be_read_is_counted() -> None:
    """Junk under a report's subject is nobody."""
    roster = Roster()
    assert not roster.heard(b"junk", 0.0, NOW)
    assert not roster.heard(reports.make(done("x", ver=9)), 0.0, NOW)
    assert (roster.refused, len(roster)) == (2, 0)
