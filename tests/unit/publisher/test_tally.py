"""The tally of one request, and the sentence: never more than subscribers have said."""

import threading

import pytest
from msgspec.structs import replace

from rescind_protocol.reports import Applied as Told
from rescind_protocol.reports import Passed
from rescind_publisher.applied import SETTLED_S, Applied, Missing, clock
from rescind_publisher.roster import Roster
from rescind_publisher.tally import Tally, Wanted
from tests.fakes.fabric import NOW
from tests.fakes.reporting import LOG, done, hears, report
from tests.fakes.waiting import wait_until

START = 100.0


def heard(*names: str) -> Roster:
    """Return a roster that has listened for long, with subscribers that have applied nothing."""
    roster = Roster()
    roster.listening(0.0, NOW)
    hears(roster, *(report(name) for name in names), at=START)
    return roster


def tally(roster: Roster, first: int = 1, last: int = 1) -> Tally:
    """Return a tally of events of the log, asked for at `START`."""
    return Tally(roster, (Wanted(LOG, first, last),), START)


def test_all_have_it() -> None:
    """Complete, and after how long the last of them had it, by the publisher's clock."""
    roster = heard("eu-1", "eu-2")
    at = tally(roster)
    hears(roster, done("eu-1", ago_ms=5), at=START + 0.020)
    assert not at.applied(START + 0.020).complete
    hears(roster, done("eu-2", ago_ms=30), at=START + 0.071)
    found = at.applied(START + 0.08)
    assert found.complete
    assert (found.done, found.known) == (2, 2)
    assert found.after_ms == pytest.approx(41)
    assert str(found) == "dead in 2/2 after 41 ms; no call passed before"


def test_who_has_not_is_named() -> None:
    """In the order of names; whoever is out of reach with the time since."""
    roster = heard("eu-2", "eu-10", "eu-1")
    hears(roster, report("gone", next_ms=1000), at=START - 60)
    at = tally(roster)
    hears(roster, done("eu-1", ago_ms=0), at=START + 0.041)
    found = at.applied(START + 2)
    assert [(m.name, m.unreachable) for m in found.missing] == [
        ("eu-2", False),
        ("eu-10", False),
        ("gone", True),
    ]
    assert str(found).startswith(
        "dead in 1/4 after 41 ms; not yet: eu-2, eu-10, gone (unreachable since 20"
    )


def test_a_report_from_before_the_tally_counts() -> None:
    """A small fleet is faster than the return of the commit."""
    roster = heard("eu-1")
    hears(roster, done("eu-1", seq=9, ago_ms=0), at=START + 0.001)
    assert tally(roster, 9, 9).applied(START + 0.002).complete


@pytest.mark.parametrize(
    ("logs", "told", "complete"),
    [
        ({LOG: 4}, (), True),
        ({LOG: 3}, (), False),
        ({LOG: 3}, (4,), False),
        ({LOG: 1}, (4, 3, 2), True),
        ({LOG: 1}, (4, 2), False),
        ({}, (), False),
    ],
)
def test_all_events_of_a_request_count(
    logs: dict[str, int], told: tuple[int, ...], *, complete: bool
) -> None:
    """By the vector, or each of them by itself above a gap."""
    roster = heard()
    hears(roster, report(logs=logs, applied=tuple(Told(LOG, seq, 0) for seq in told)), at=START)
    assert tally(roster, 2, 4).applied(START).complete is complete


def test_exposure_is_counted_in_the_window_of_each_guard() -> None:
    """From the request to its application there; what came before the request is no exposure."""
    roster = heard("eu-1", "eu-2")
    at = tally(roster)
    calls = Passed(((2, 3), (38, 4), (900, 50)))
    hears(roster, done("eu-1", ago_ms=3, passed=calls), at=START + 0.041)
    hears(roster, done("eu-2", ago_ms=0), at=START + 0.010)
    found = at.applied(START + 1)
    assert found.calls == 7
    assert [(e.name, e.calls) for e in found.exposed] == [("eu-1", 7)]
    assert str(found) == "dead in 2/2 after 38 ms; 7 calls passed in the 38 ms before"


def test_what_a_guard_forgot_makes_it_a_least_figure() -> None:
    """A short memory, or an event that no report tells of."""
    roster = heard("eu-1")
    at = tally(roster)
    hears(roster, done("eu-1", passed=Passed(((1, 4),), 20)), at=START + 0.5)
    assert str(at.applied(START + 1)).endswith("at least 4 calls passed in the 500 ms before")
    late = heard("eu-1")
    at = tally(late)
    hears(late, report(count=2, logs={LOG: 7}), at=START + 0.5)
    assert str(at.applied(START + 1)).endswith("calls before: not known")


def test_one_that_stops_meanwhile_is_not_missing() -> None:
    """It guards nothing any more."""
    roster = heard("eu-1", "eu-2")
    at = tally(roster)
    hears(roster, done("eu-1"), report("eu-2", count=9, state="STOPPED"), at=START)
    assert at.applied(START).complete


def test_nobody_is_not_everybody() -> None:
    """With no subscriber known nothing is complete, and the sentence says so."""
    found = tally(heard()).applied(START + 2)
    assert not found.complete
    assert "nobody has said" in str(found)


def test_a_roster_that_is_new_or_deaf_says_so() -> None:
    """There may be others, and reports may be missing."""
    young = Roster()
    young.listening(START - 1, NOW)
    hears(young, done("eu-1"), at=START)
    at = tally(young)
    assert "listened to for 1.5 s only: there may be others" in str(at.applied(START + 0.5))
    young.deaf("reports may be missed: cut off")
    assert "cut off" in str(at.applied(START + 99))
    never = Roster()
    assert "reports are not listened to" in str(tally(never).applied(START))


class Ticking:
    """A clock that runs ahead with each look."""

    def __init__(self, step: float) -> None:
        self.now, self.step = START, step

    def __call__(self) -> float:
        """Look."""
        self.now += self.step
        return self.now


def test_it_waits_no_longer_than_it_may() -> None:
    """Somebody is missing, who could be reached: progress is told until the time is over."""
    roster, told = heard("eu-1"), list[Applied]()
    tally(roster).wait(START + 1, Ticking(0.3), told.append)
    assert [each.done for each in told] == [0, 0, 0]


def test_it_does_not_wait_for_those_out_of_reach() -> None:
    """Nor once everybody has it; but a roster that is new may not know everybody."""
    roster = heard("eu-1")
    hears(roster, report("gone", next_ms=1000), at=0.0)
    at = tally(roster)
    hears(roster, done("eu-1"), at=START)
    told: list[Applied] = []
    at.wait(START + 1e9, Ticking(0.001), told.append)
    assert told == []
    roster.since = START - SETTLED_S + 1
    at.wait(START + 0.5, Ticking(0.2), told.append)
    assert len(told) == 2


def test_the_last_report_wakes_whoever_waits() -> None:
    """Across threads; and a publisher that closes lets him go."""
    roster = heard("eu-1")
    for end in (lambda: hears(roster, done("eu-1"), at=START), lambda: _close(roster)):
        at = tally(roster, 1, 1)
        waiting = threading.Thread(target=at.wait, args=(1e12, lambda: START, None))
        waiting.start()
        end()
        wait_until(lambda: not waiting.is_alive())  # noqa: B023 - called before the next
        at.close()
        hears(roster, report(count=99), at=START)
    assert roster.watchers == set()


def _close(roster: Roster) -> None:
    roster.closed = True


def test_names_are_told_apart() -> None:
    """By the host where two have one name, by the process where they share that too."""
    roster = heard("eu-7")
    hears(roster, report("s", host="a", run="1"), report("s", host="b", run="2"), at=START)
    found = tally(roster).applied(START)
    assert [each.name for each in found.missing] == ["eu-7", "s@a", "s@b"]
    hears(roster, report("s", host="a", run="3", pid=8, up_ms=90_000), at=START)
    found = tally(roster).applied(START)
    assert [each.name for each in found.missing] == ["eu-7", "s@a#7", "s@a#8", "s@b"]


def test_very_many_are_named_by_how_long_they_are_silent() -> None:
    """A hundred of ten thousand: those longest unheard."""
    roster = heard()
    for number in range(1500):
        hears(roster, report(f"eu-{number}"), at=START + number)
    found = tally(roster).applied(START)
    assert [each.name for each in found.missing] == [f"eu-{n}" for n in range(100)]
    assert found.known == 1500


def test_a_long_list_is_cut() -> None:
    """Ten names, and how many more."""
    missing = tuple(Missing(f"eu-{n}", "a", NOW) for n in range(100))
    found = Applied(done=0, known=500, listening_for_s=99, missing=missing)
    assert str(found).endswith("eu-8, eu-9 and 490 more")
    assert str(replace(found, done=400)).endswith(
        "eu-9 and 90 more; whether calls passed before: not known of 100"
    )


def test_a_moment_of_another_day_has_its_day() -> None:
    """In UTC."""
    assert clock(NOW, NOW + 60) == "08:00 UTC"
    assert clock(NOW, NOW + 86_400) == "2027-01-15 08:00 UTC"
