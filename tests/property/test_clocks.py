"""Clocks that are set wrong and right again, anywhere, at any moment: nothing is young that is old.

And nothing stays stale once the clocks agree. Real ledger, reconciler and guard.
"""

from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rescind_protocol.limits import MAX_STALENESS_S, SKEW_S
from rescind_publisher.clock import ADOPT_AFTER_S
from rescind_subscriber.lateness import Lateness
from tests.fakes.hosts import Hosts

DAY_S = 86_400.0
OFFSETS = st.floats(-DAY_S, DAY_S) | st.sampled_from(
    [-7200.0, -90.0, -50.0, -1.0, 0.0, 50.0, 7200.0]
)
SPELLS = st.floats(0.0, 2 * 3600.0) | st.sampled_from([1.0, 30.0, 150.0, 300.0])
COURSES = st.lists(
    st.one_of(
        st.tuples(st.just("publisher"), OFFSETS),
        st.tuples(st.just("guard"), OFFSETS),
        st.tuples(st.just("both"), OFFSETS),
        st.tuples(st.just("reboot publisher"), OFFSETS),
        st.tuples(st.just("reboot guard"), OFFSETS),
        st.tuples(st.just("start publisher"), st.none()),
        st.tuples(st.just("start guard"), st.none()),
        st.tuples(st.just("heads"), st.integers(1, 40)),
        st.tuples(st.just("silence"), SPELLS),
    ),
    max_size=12,
)
HEAL_S = int(ADOPT_AFTER_S) + 60
"""A publisher believes a clock that jumped ahead after 300 s."""


def take(hosts: Hosts, what: str, value: float | None) -> None:
    """Let one thing happen, with some heads after it."""
    amount = value or 0.0
    if what in ("publisher", "both"):
        hosts.publisher.offset_s = amount
    if what in ("guard", "both"):
        hosts.host.offset_s = amount
    if what == "reboot publisher":
        hosts.reboot_publisher(amount)
    if what == "reboot guard":
        hosts.reboot_guard(amount)
    if what == "start publisher":
        hosts.start_publisher()
    if what == "start guard":
        hosts.start_guard(remember=True)
    if what == "silence":
        hosts.pass_s(amount)
    else:
        hosts.beat(int(amount) if what == "heads" else 3)


@settings(max_examples=25)
@given(COURSES)
@example([("both", 7200.0), ("both", 0.0)])
@example([("both", 7200.0), ("silence", 3 * 3600.0), ("both", 0.0)])
@example([("guard", 7200.0), ("publisher", 7200.0), ("publisher", 0.0), ("guard", 0.0)])
@example([("both", 7200.0), ("start guard", None), ("both", 0.0)])
@example([("both", 7200.0), ("both", 0.0), ("start publisher", None)])
@example([("publisher", 50.0), ("publisher", 0.0)])
@example([("reboot publisher", -50.0), ("guard", 50.0)])
@example([("reboot publisher", 7200.0), ("both", 7200.0), ("reboot publisher", 0.0)])
def test_no_view_stays_stale_once_the_clocks_agree(course: list[tuple[str, float | None]]) -> None:
    """Whatever they said before; and what was killed is denied at every moment."""
    hosts = Hosts()
    hosts.beat(5)
    badge = hosts.badge()
    hosts.kill(badge)
    for what, value in course:
        take(hosts, what, value)
        assert not hosts.ask(badge)
    hosts.publisher.offset_s = hosts.host.offset_s = 0.0
    hosts.beat(HEAL_S // 5, every_s=5.0)
    assert hosts.age_s < 2
    assert not hosts.ask(badge)


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.floats(-400.0, 400.0),  # our wall clock is set by so much
            st.floats(0.0, 400.0),  # heads come later by so much more, or less
            st.booleans(),
            st.booleans(),  # the publisher is started again
        ),
        min_size=1,
        max_size=8,
    )
)
@example([(-350.0, 350.0, False, False)])
@example([(-50.0, 0.0, False, False), (-300.0, 350.0, False, True)])
@example([(-59.0, 59.0, False, False)] * 5)
def test_a_broker_that_holds_heads_up_gains_no_more_than_a_skew(
    moves: list[tuple[float, float, bool, bool]],
) -> None:
    """However our wall clock is set meanwhile: a proof is as old as it is, up to a skew (I6)."""
    assert gained(moves) <= SKEW_S + len(moves)


def gained(moves: list[tuple[float, float, bool, bool]]) -> float:
    """Return by how much a view was younger than the heads that prove it, at most; seconds.

    The publisher's clock is right. Heads are signed each ten seconds and come in order, late.
    """
    hosts, delay_s, most = Hosts(), 0.0, 0.0
    hosts.beat(3)
    hosts.hides = True
    way: list[tuple[float, bytes]] = []
    for step_s, more_s, sooner, again in moves:
        hosts.host.offset_s += step_s
        delay_s = max(0.0, delay_s + (-more_s if sooner else more_s))
        if again:
            hosts.start_publisher()
        for _ in range(50):
            hosts.beat(1, every_s=10.0)
            way += [(hosts.time.now, raw) for raw in hosts.late]
            hosts.late.clear()
            while way and way[0][0] <= hosts.time.now - delay_s:
                signed, raw = way.pop(0)
                before = hosts.view.published
                hosts.at.head(raw)
                if hosts.view.published is not before:
                    most = max(most, hosts.time.now - signed - hosts.age_s)
    return most


def test_by_the_wall_clock_alone_it_would_gain_all() -> None:
    """Negative control: set back by as much as the heads come late."""
    assert gained([(-350.0, 350.0, False, False)]) < SKEW_S
    with patch.object(Lateness, "_way_of", lambda *_: (0.0, 0.0)):
        assert gained([(-350.0, 350.0, False, False)]) > MAX_STALENESS_S


@pytest.mark.parametrize("gap_s", [0.0, 3 * 3600.0])
def test_without_the_count_a_view_stays_stale(gap_s: float) -> None:
    """Negative control: heads of before, whose counts are no clock's, are held up for days."""

    def heals() -> bool:
        hosts = Hosts(7200.0, 7200.0)
        hosts.beat(5)
        hosts.pass_s(gap_s)
        take(hosts, "both", 0.0)
        hosts.beat(HEAL_S)
        return hosts.age_s < 2

    assert heals()
    with patch("rescind_publisher.ledger.Count", _Plain):
        assert not heals()


class _Plain:
    """Heads of a run are numbered."""

    due = False

    def __init__(self, *_: object) -> None:
        self._at = self.now = 0

    def committed(self) -> None:
        """Commit nothing."""

    def next(self) -> int:
        """Count a head."""
        self._at += 1
        return self._at
