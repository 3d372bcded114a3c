"""When a cursor is given up, and when a fleet connects again."""

import heapq
from math import inf
from random import Random

from rescind_guard.passed import PassedCalls
from rescind_protocol.limits import MAX_FLEET
from rescind_subscriber.nats_connect import CONNECT_TIMEOUT_S
from rescind_subscriber.pace import RECONNECT_FIRST_S, RECONNECT_MOST_S, Redial, Rescan
from rescind_subscriber.reporting import REPORTS_PER_S, UNCOUNTED_FLEET, Reporting, Self

FLEET = 10_000
SLOW_PER_S = REPORTS_PER_S / 2
"""A server, or what is in front of it, that is slower than the fleet takes it for."""
SERVED = {"serves_per_s": float(REPORTS_PER_S), "until_s": 25.0}
BACKLOG = 4096


def widest(_low: float, high: float) -> float:
    """Draw the end of the window."""
    return high


def test_what_is_missing_for_long_asks_for_a_rescan_and_then_not_at_once_again() -> None:
    """Once for each such time: a kill that no broker has yet must not be a storm of readings."""
    rescan = Rescan(180)
    asked = [rescan.due(now, missing=True) for now in (0, 5, 179, 180, 181, 359, 360)]
    assert asked == [False, False, False, True, False, False, True]


def test_what_came_in_time_asks_for_none() -> None:
    """The time begins anew with the next thing that is missing."""
    rescan = Rescan(180)
    assert not rescan.due(0, missing=True)
    assert not rescan.due(170, missing=False)
    assert not rescan.due(200, missing=True)
    assert not rescan.due(379, missing=True)
    assert rescan.due(380, missing=True)


def test_a_link_is_tried_within_a_window_that_doubles_up_to_a_limit() -> None:
    """With half a second for an attempt that hangs, a fault that is over is noticed in a second."""
    redial = Redial(uniform=widest)
    assert [redial.wait_s(0.0) for _ in range(4)] == [0.1, 0.2, 0.3, 0.3]
    assert CONNECT_TIMEOUT_S + RECONNECT_MOST_S < 1.0


def test_the_window_is_as_wide_as_the_fleet_is_large() -> None:
    """The whole fleet comes at the rate at which it reports, and more slowly if that fails."""
    redial = Redial(lambda: 4.0, uniform=widest)
    assert [round(redial.wait_s(0.0), 6) for _ in range(4)] == [4.0, 8.0, 12.0, 12.0]


def test_a_connection_that_served_begins_anew_and_one_that_was_lost_at_once_does_not() -> None:
    """A server that accepts and then drops everybody is in need, not well."""
    redial = Redial(uniform=widest)
    assert [redial.wait_s(0.0) for _ in range(3)] == [0.1, 0.2, 0.3]
    assert redial.wait_s(RECONNECT_MOST_S) == RECONNECT_MOST_S
    assert redial.wait_s(RECONNECT_MOST_S + 0.1) == RECONNECT_FIRST_S
    large = Redial(lambda: 4.0, uniform=widest)
    assert [round(large.wait_s(up_s), 6) for up_s in (0.0, 11.0, 13.0)] == [4.0, 8.0, 4.0]


def test_each_draws_a_moment_of_its_own() -> None:
    """None is sent where all the others are: half of them come in half of the window."""
    uniform = Random(5).uniform  # noqa: S311 - must replay
    draws = [Redial(uniform=uniform).wait_s(inf) for _ in range(1000)]
    assert 0 < min(draws) <= max(draws) < RECONNECT_FIRST_S
    assert 400 < sum(each < RECONNECT_FIRST_S / 2 for each in draws) < 600


def back_after_s(fleet: int, spread_s: float, *, serves_per_s: float, until_s: float) -> float:
    """Return when the last of a fleet is back that has lost a server at once; inf: some are not.

    The server takes one after the other. Who is not served in time gives up, and is served for
    nothing; who finds its queue full is not even heard.
    """
    uniform = Random(5).uniform  # noqa: S311 - must replay
    links = [Redial(lambda: spread_s, uniform=uniform) for _ in range(fleet)]
    dials = [(link.wait_s(inf), number) for number, link in enumerate(links)]
    heapq.heapify(dials)
    free_at = last = 0.0
    while dials:
        at, number = heapq.heappop(dials)
        if at > until_s:
            return inf
        served_at = max(free_at, at) + 1 / serves_per_s
        if (served_at - at) * serves_per_s <= BACKLOG:
            free_at = served_at
            if served_at - at <= CONNECT_TIMEOUT_S:
                last = served_at
                continue
        heapq.heappush(dials, (at + CONNECT_TIMEOUT_S + links[number].wait_s(0.0), number))
    return last


def test_a_large_fleet_that_has_lost_its_server_comes_back() -> None:
    """It does not ask faster than it is served, though the server is half as fast as assumed."""
    spread_s, at_best_s = FLEET / REPORTS_PER_S, FLEET / SLOW_PER_S
    back_s = back_after_s(FLEET, spread_s, serves_per_s=SLOW_PER_S, until_s=60.0)
    assert at_best_s <= back_s < 5 * at_best_s


def test_one_that_takes_itself_for_small_does_not() -> None:
    """Control: everybody gives up before it is served, and the server serves nobody but those."""
    assert back_after_s(FLEET, 0.0, serves_per_s=SLOW_PER_S, until_s=30.0) == inf


def test_a_fleet_too_large_to_be_counted_comes_back() -> None:
    """It is taken for 100,000; control: for as many as were counted, it would ask too fast."""
    assert back_after_s(UNCOUNTED_FLEET, returns_s(MAX_FLEET), **SERVED) < inf
    assert back_after_s(UNCOUNTED_FLEET, MAX_FLEET / REPORTS_PER_S, **SERVED) == inf


def returns_s(fleet: int) -> float:
    """Return over how long a subscriber spreads its return that has heard of so many."""
    step = Reporting(Self("s", "h", "r", 1, "v"), PassedCalls(), now=0.0, every_s=30.0)
    step.fleet = fleet
    return step.return_s


def test_a_fleet_returns_as_fast_as_it_reports() -> None:
    """Up to what can be counted."""
    assert [returns_s(each) for each in (0, 500, 19_999)] == [0.0, 0.1, 3.9998]
