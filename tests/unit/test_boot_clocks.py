"""Hosts that boot with a wrong clock: no kill ends early, and nothing is stale for longer.

Each case as found: killed badges, a power cut, clocks that are wrong for a while, then right.
"""

from unittest.mock import patch

import pytest

from rescind_guard import Code
from rescind_protocol.changes import Kill
from rescind_protocol.limits import SKEW_S
from rescind_publisher.clock import COURSE_HELD_S, HORIZON_STEP_S, Horizon, Measured
from rescind_publisher.plans import kill as plan_kill
from rescind_publisher.requests import KillRequest, KillSpec
from rescind_subscriber.horizons import JUMP_HELD_S, Horizons
from tests.fakes.clock import FakeClock
from tests.fakes.fabric import NOW
from tests.fakes.hosts import TTL_S, Hosts
from tests.fakes.publishing import target

OFFSETS_S = (-86_400.0, -7200.0, -90.0, -1.0, 1.0, 90.0, 7200.0, 86_400.0)
ALL, PUBLISHER, GUARD = (1, 1), (1, 0), (0, 1)
"""Whose clock is wrong."""


@pytest.mark.parametrize("whose", [ALL, PUBLISHER, GUARD])
@pytest.mark.parametrize("wrong_s", OFFSETS_S)
def test_a_wrong_clock_at_boot_ends_no_kill(whose: tuple[int, int], wrong_s: float) -> None:
    """While it is wrong and afterwards, a killed badge never passes, at any level."""
    hosts = Hosts()
    hosts.beat(5)
    badges = [hosts.badge(level, serial=level) for level in (1, 3)]
    for badge in badges:
        hosts.kill(badge)
    hosts.beat(5)
    hosts.reboot_publisher(whose[0] * wrong_s)
    hosts.reboot_guard(whose[1] * wrong_s)
    for beats in (30, 30, 400):
        hosts.beat(beats)
        assert not any(map(hosts.ask, badges))
        assert len(hosts.view.published.table) == len(badges)
        hosts.publisher.offset_s = hosts.host.offset_s = 0.0
    assert hosts.ask(badges[0]).code is Code.BADGE_REVOKED
    hosts.start_guard()  # a newcomer reads the same of what is stored
    hosts.beat(1)
    assert hosts.ask(badges[1]).code is Code.BADGE_REVOKED


def test_a_clock_that_is_behind_does_not_keep_the_publisher_silent() -> None:
    """Its heads name a lower horizon until it is set right, and count at once from then on."""
    hosts = Hosts()
    hosts.beat(5)
    hosts.reboot_publisher(-7200.0)
    hosts.beat(30)
    assert hosts.age_s > SKEW_S
    hosts.publisher.offset_s = 0.0
    hosts.beat(310)  # a jump ahead of a publisher's clock is believed after 300 s
    assert hosts.age_s < 1


@pytest.mark.parametrize("wrong_s", OFFSETS_S)
def test_a_kill_by_a_wrong_clock_lives_as_long_as_it_was_given(wrong_s: float) -> None:
    """Expiry is by the horizon, which a clock that is behind it does not shorten."""
    hosts = Hosts()
    hosts.beat(5)
    hosts.reboot_publisher(wrong_s)
    spec = KillSpec(target=target(1), expires_in_s=600)
    now = hosts.publisher.wall()
    made = plan_kill(KillRequest((spec,)), now=now, horizon=hosts.ledger.horizon)
    hosts.accept(made.changes)
    hosts.publisher.offset_s = 0.0
    hosts.beat(59, every_s=10.0)
    assert hosts.view.published.table.get(target(1).digest)


def test_a_spool_that_was_made_by_a_clock_ahead_refuses_no_kill() -> None:
    """Its horizon is ahead for good: the life of a kill is counted from there."""
    hosts = Hosts(publisher_s=86_400.0)
    hosts.beat(30)
    hosts.publisher.offset_s = 0.0
    badge = hosts.badge()
    hosts.kill(badge)
    hosts.beat(TTL_S // 10, every_s=10.0)
    assert not hosts.ask(badge)


def test_the_horizon_moves_by_measured_time_alone() -> None:
    """However far ahead the wall clock is when the host starts; a restart on the way included."""
    clock = FakeClock()
    clock.wall_s += 7200
    horizon = Horizon(clock, NOW - SKEW_S)
    for _ in range(100):
        clock.pass_s(10)
        horizon.advance(horizon.due() or 0)
    assert horizon.at <= NOW - SKEW_S + 1000
    again = Horizon(clock, horizon.at, Measured(0, clock.boot() - 40))
    assert again.due() == horizon.at + 40
    assert Horizon(clock, horizon.at).due() is None


def test_the_horizon_makes_up_for_the_time_while_the_host_was_off() -> None:
    """Once the wall clock has kept its course for a day; not where it was set in between."""
    clock = FakeClock()
    clock.wall_s += 7200  # off for two hours
    horizon = Horizon(clock, NOW - SKEW_S)
    clock.pass_s(COURSE_HELD_S - 10)
    horizon.advance(horizon.due() or 0)
    assert clock.wall() - SKEW_S - horizon.at >= 7200
    clock.pass_s(10)
    horizon.advance(horizon.due() or 0)
    assert clock.wall() - SKEW_S - horizon.at < HORIZON_STEP_S
    clock.wall_s += 7200
    clock.pass_s(COURSE_HELD_S - 10)
    horizon.advance(horizon.due() or 0)
    assert clock.wall() - SKEW_S - horizon.at >= 7200


# --- at the subscriber ---


def jumped(hosts: Hosts) -> None:
    """Let the publisher sign a horizon two hours ahead, as one of an older version would."""
    hosts.ledger._horizon.at += 7200
    hosts.publisher.offset_s = hosts.host.offset_s = 7200.0
    hosts.ledger._horizon.heads = type(hosts.ledger._horizon.heads)(hosts.publisher)


def test_a_jump_of_the_horizon_is_held_back() -> None:
    """It drops nothing until it has been signed for an hour; one taken back drops nothing."""
    hosts = Hosts()
    hosts.beat(5)
    hosts.accept((Kill(target=target(1), expires_at=int(hosts.time.now) + 7000),))
    jumped(hosts)
    hosts.beat(int(JUMP_HELD_S) // 10 - 10, every_s=10.0)
    assert hosts.view.published.table.get(target(1).digest)
    assert hosts.at.faults.counts.read()["horizon_ahead"] > 0
    hosts.beat(20, every_s=10.0)
    assert not hosts.view.published.table.get(target(1).digest)


def test_believed_at_once_it_would_end_kills() -> None:
    """Negative control."""
    with patch.object(Horizons, "believed", lambda _self, head, _boot: head.horizon):
        hosts = Hosts()
        hosts.beat(5)
        hosts.accept((Kill(target=target(1), expires_at=int(hosts.time.now) + 7000),))
        jumped(hosts)
        hosts.beat(1)
        assert not hosts.view.published.table.get(target(1).digest)


def test_a_horizon_that_comes_after_a_silence_is_no_jump() -> None:
    """The subscriber has measured the silence too."""
    hosts = Hosts()
    hosts.beat(5)
    hosts.accept((Kill(target=target(1), expires_at=int(hosts.time.now) + 600),))
    hosts.pass_s(7200)
    hosts.beat(1)
    assert not hosts.view.published.table.get(target(1).digest)
    assert "horizon_ahead" not in hosts.at.faults.counts.read()
