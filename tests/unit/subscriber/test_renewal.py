"""When a badge is renewed, dropped, and asked for again."""

import pytest

from rescind_subscriber.renewal import Issued, Refused, Renewal, Unavailable

BOOT = 5000.0


def issued(life_s: float = 300) -> Issued:
    """Return a new badge."""
    return Issued("badge", "jti", (b"d" * 16,), 0, life_s)


def half() -> float:
    """Return what puts the jitter in the middle."""
    return 0.5


def holding(life_s: float = 300) -> Renewal:
    """Return a keeper with a badge that came at `BOOT`."""
    return Renewal().answered(issued(life_s), BOOT, half)


@pytest.mark.parametrize(("life_s", "due_s"), [(300, 240), (3600, 3540), (120, 60), (60, 30)])
def test_a_badge_is_renewed_60_s_before_its_end(life_s: float, due_s: float) -> None:
    """A short one at half of its life: 60 s before would be at once, and for ever."""
    assert holding(life_s).due == BOOT + due_s


def test_a_refusal_stops_and_drops_the_badge() -> None:
    """Though it would live on; and nothing follows any more."""
    at = holding().answered(Refused("suspended"), BOOT + 240, half)
    assert at.stopped
    assert at.token(BOOT + 241) is None
    assert at.problem == "suspended"
    assert at.killed(BOOT + 242) == at


def test_an_outage_keeps_the_badge_until_its_end() -> None:
    """And not a second longer."""
    at = holding().answered(Unavailable("503"), BOOT + 240, half)
    assert at.token(BOOT + 299) == "badge"
    assert at.token(BOOT + 300) is None
    assert not at.stopped


def test_it_backs_off_twofold_up_to_300_s() -> None:
    """1, 2, 4 … 300 (interop.md §2), and from 1 again after a badge."""
    at, waits = Renewal(), []
    for _ in range(12):
        at = at.answered(Unavailable("503"), BOOT, half)
        waits.append((at.due or 0) - BOOT)
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    at = at.answered(issued(), BOOT, half).answered(Unavailable("503"), BOOT, half)
    assert at.due == BOOT + 1


@pytest.mark.parametrize(("random", "wait_s"), [(0.0, 0.75), (1.0, 1.25)])
def test_the_wait_is_a_quarter_more_or_less(random: float, wait_s: float) -> None:
    """So that a fleet does not ask in step."""
    at = Renewal().answered(Unavailable("503"), BOOT, lambda: random)
    assert at.due == BOOT + wait_s


def test_what_the_registry_says_is_waited_for() -> None:
    """Retry-After, if it is longer; a day of it is not believed."""
    assert Renewal().answered(Unavailable("429", 30), BOOT, half).due == BOOT + 30
    assert Renewal().answered(Unavailable("429", 86400), BOOT, half).due == BOOT + 375


def test_a_killed_badge_is_dropped_and_replaced_at_once() -> None:
    """Its agent is not killed, as far as anybody knows."""
    at = holding().killed(BOOT + 100)
    assert at.token(BOOT + 100) is None
    assert at.due == BOOT + 100


def test_a_badge_that_is_dead_when_it_is_new_is_no_storm() -> None:
    """It is a second old before the next is asked for; and after failures the wait stays."""
    assert holding().killed(BOOT).due == BOOT + 1
    failing = holding().answered(Unavailable("503"), BOOT + 240, half)
    assert failing.killed(BOOT + 240).due == failing.due
