"""Hosts whose clocks differ: up to 60 s between any two changes no outcome; a jump hides no age."""

import time
from collections.abc import Callable
from itertools import product

import pytest

from rescind.testing.clock import HostClock, Time
from rescind_guard import Code, Guard, Outcome, View
from rescind_guard.freshness import SystemClock
from rescind_protocol import targets
from rescind_protocol.changes import Kill
from rescind_protocol.limits import BADGE_KILL_MARGIN_S, MAX_STALENESS_S, SKEW_S
from rescind_publisher.clock import Horizon
from rescind_subscriber import lateness
from rescind_subscriber.reconcile import Reconciler
from tests.fakes.badges import ISSUER, Scene, read_jti
from tests.fakes.clock import FakeClock
from tests.fakes.fabric import NOW, Log, head_of, make_trust, sign_head

TTL_S = 300
OFFSETS = [
    offsets
    for offsets in product((-30.0, 0.0, 30.0, 60.0), repeat=3)
    if max(offsets) - min(offsets) <= SKEW_S
]
"""Of publisher, guard and issuer, in seconds."""


class Fleet:
    """A publisher, a guarded host and an issuer, each with a clock of its own; one true time."""

    def __init__(self, publisher_s: float = 0, guard_s: float = 0, issuer_s: float = 0) -> None:
        self.time = Time(NOW)
        self.publisher = HostClock(self.time, publisher_s)
        self.host = HostClock(self.time, guard_s)
        self.issuer = HostClock(self.time, issuer_s)
        self.scene, self.log, view = Scene(), Log(), View()
        view.claim()
        self.horizon = Horizon(self.publisher, 0)
        self.at = Reconciler(make_trust(), view, self.host)
        self.guard = Guard(view, self.scene.issuers, clock=self.host)

    def badge(self) -> str:
        """Issue a badge, by the issuer's clock."""
        iat = int(self.issuer.wall())
        return self.scene.issuer.badge(iat=iat, exp=iat + TTL_S)

    def kill(self, badge: str, margin_s: int = BADGE_KILL_MARGIN_S) -> None:
        """Kill a badge, as a publisher does that knows when it expires."""
        expires_at = int(self.issuer.wall()) + TTL_S + margin_s
        target = targets.badge(ISSUER, read_jti(badge))
        self.at.event(self.log.write(Kill(target=target, expires_at=expires_at)))

    def head(self) -> None:
        """Beat, with the horizon that the publisher's clock allows."""
        self.horizon.advance(self.horizon.due() or 0)
        said = head_of(self.log, time_s=self.publisher.wall(), horizon=self.horizon.at)
        self.at.head(sign_head(said))

    def pass_s(self, seconds: float, *, beating: bool = True) -> None:
        """Let true time pass, with a head every ten seconds."""
        until = self.time.now + seconds
        while self.time.now + 10 <= until and beating:
            self.time.run(self.time.now + 10)
            self.head()
        self.time.run(until)

    def code(self, badge: str) -> Code:
        """Ask the guard."""
        return self.guard.check(badge).code


def lives_and_dies(fleet: Fleet, margin_s: int = BADGE_KILL_MARGIN_S) -> list[Code]:
    """Return what the guard says of a badge that is used, killed, and tried for ever after."""
    fleet.head()
    badge, other = fleet.badge(), fleet.badge()
    said = [fleet.code(badge)]
    fleet.kill(badge, margin_s)
    said.append(fleet.code(badge))
    for _ in range(60):
        fleet.pass_s(10)
        # Refused is refused: near its end a killed badge is expired by one clock, by another not.
        said.append(Code.OK if fleet.guard.check(badge) else Code.BADGE_REVOKED)
        if fleet.time.now < NOW + TTL_S:
            said.append(fleet.code(other))
    return said


def goes_dark(fleet: Fleet) -> list[Code]:
    """Return what it says to fresh badges while no head comes any more."""
    fleet.head()
    said = []
    for after_s in (0, 100, MAX_STALENESS_S - SKEW_S - 1, MAX_STALENESS_S, 4000):
        fleet.pass_s(NOW + after_s - fleet.time.now, beating=False)
        said.append(fleet.code(fleet.badge()))
    return said


@pytest.mark.parametrize("offsets", OFFSETS, ids=str)
@pytest.mark.parametrize("story", [lives_and_dies, goes_dark])
def test_skew_up_to_60_s_changes_no_outcome(
    story: Callable[[Fleet], list[Code]], offsets: tuple[float, float, float]
) -> None:
    """Whatever the three clocks say, each badge fares as if they agreed."""
    assert story(Fleet(*offsets)) == story(Fleet())


def test_the_outcomes_are_what_they_should_be() -> None:
    """Control: all good, then revoked for ever; fresh until the limit, then cannot tell."""
    said = lives_and_dies(Fleet())
    assert said[:2] == [Code.OK, Code.BADGE_REVOKED]
    assert said[2:].count(Code.OK) == 29  # the other badge, which nobody killed
    assert goes_dark(Fleet()) == [Code.OK] * 3 + [Code.REVOCATION_CHECK_FAILED] * 2


@pytest.mark.parametrize(
    ("offsets", "code"),
    [
        ((91, 0, 0), Code.REVOCATION_CHECK_FAILED),
        ((0, 0, 91), Code.BADGE_NOT_YET_VALID),
    ],
)
def test_more_than_that_is_refused(offsets: tuple[float, float, float], code: Code) -> None:
    """Control: a clock further ahead changes the answer, and never to an allowance."""
    assert lives_and_dies(Fleet(*offsets))[0] is code


def test_without_the_margin_a_killed_badge_lives_again() -> None:
    """Negative control: a kill that ends with its badge, a publisher that runs ahead."""
    ahead = (60.0, 0.0, 0.0)
    assert lives_and_dies(Fleet(*ahead)) == lives_and_dies(Fleet())
    without = lives_and_dies(Fleet(*ahead), margin_s=0)
    assert without[1] is Code.BADGE_REVOKED
    assert Code.OK in without[60:]


# --- jumps ---


@pytest.mark.parametrize("jump_s", [-7200.0, -299.0, 61.0, 7200.0])
def test_a_jump_of_the_wall_clock_makes_no_stale_view_fresh(jump_s: float) -> None:
    """Set back or forward at any moment: past the limit the guard cannot tell."""
    for before_s in (0, 150, MAX_STALENESS_S):
        fleet = Fleet()
        fleet.head()
        fleet.pass_s(before_s, beating=False)
        fleet.host.offset_s = jump_s
        fleet.issuer.offset_s = jump_s  # else it is the badge's times that refuse
        fleet.pass_s(NOW + MAX_STALENESS_S - fleet.time.now, beating=False)
        assert fleet.guard.check(fleet.badge()).outcome is Outcome.CANNOT_TELL


class OneClock(HostClock):
    """A host whose second clock jumps with the first."""

    def boot(self) -> float:
        """Unix seconds too."""
        return self.wall()


def test_by_the_wall_clock_alone_a_jump_would_make_a_stale_view_fresh() -> None:
    """Negative control: set back by as much as the view is old."""
    fleet = Fleet()
    host = OneClock(fleet.time)
    fleet.at._clock = host
    guard = Guard(fleet.at._view, fleet.scene.issuers, clock=host)
    fleet.head()
    fleet.pass_s(MAX_STALENESS_S, beating=False)
    assert guard.check(fleet.badge()).outcome is Outcome.CANNOT_TELL
    host.offset_s = fleet.issuer.offset_s = -299
    assert guard.check(fleet.badge()).outcome is Outcome.ALLOW


class Sleepy(HostClock):
    """A laptop: after a nap its wall clock still says when it fell asleep."""

    def nap(self, seconds: float) -> None:
        """Sleep; the wall clock misses it."""
        self._time.run(self._time.now + seconds)
        self.offset_s -= seconds


class StandsStill(Sleepy):
    """The same by CLOCK_MONOTONIC, which does not run while the host is suspended."""

    slept_s = 0.0

    def nap(self, seconds: float) -> None:
        """Sleep; both clocks miss it."""
        super().nap(seconds)
        self.slept_s += seconds

    def boot(self) -> float:
        """Seconds awake."""
        return super().boot() - self.slept_s


@pytest.mark.parametrize(
    ("clock", "outcome"), [(Sleepy, Outcome.CANNOT_TELL), (StandsStill, Outcome.ALLOW)]
)
def test_a_suspended_laptop_wakes_up_stale(clock: type[Sleepy], outcome: Outcome) -> None:
    """By CLOCK_BOOTTIME. Negative control: by CLOCK_MONOTONIC it believes an hour-old view."""
    fleet = Fleet()
    host = clock(fleet.time)
    fleet.at._clock = host
    guard = Guard(fleet.at._view, fleet.scene.issuers, clock=host)
    fleet.head()
    badge = fleet.badge()
    assert guard.check(badge).outcome is Outcome.ALLOW
    host.nap(3600)
    assert guard.check(badge).outcome is outcome


def test_the_real_boot_clock_goes_on_during_suspend(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is CLOCK_BOOTTIME (clock_gettime(2))."""
    asked: list[int] = []
    monkeypatch.setattr(time, "clock_gettime", asked.append)
    SystemClock().boot()
    assert asked == [time.CLOCK_BOOTTIME]


def years_of_drift(ppm: float) -> float:
    """Return how old the newest head is to a host whose boot clock drifts for three years."""
    view = View()
    view.claim()
    log, drifting = Log(), FakeClock(NOW)
    at = Reconciler(make_trust(), view, drifting)
    for _ in range(3 * 365):
        drifting.wall_s += 86_400
        drifting.boot_s += 86_400 * (1 + ppm * 1e-6)
        at.head(sign_head(head_of(log, time_s=drifting.wall())))
    return view.published.age_s(drifting.wall(), drifting.boot())


def test_oscillators_that_drift_apart_make_no_view_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 ppm for three years. Control: without an allowance, days of it are taken for age."""
    assert years_of_drift(100) == pytest.approx(0, abs=1e-3)
    assert years_of_drift(-100) == pytest.approx(0, abs=1e-3)
    monkeypatch.setattr(lateness, "DRIFT", 0.0)
    assert years_of_drift(100) > MAX_STALENESS_S


def test_a_clock_that_was_ahead_for_a_while_costs_no_age() -> None:
    """A publisher that began 50 s ahead and was set right: its heads seemed late for days."""
    view, log, clock = View(), Log(), FakeClock(NOW)
    view.claim()
    at = Reconciler(make_trust(), view, clock)
    at.head(sign_head(head_of(log, time_s=clock.wall() + 50)))
    ages = []
    for _ in range(4):
        clock.pass_s(86_400)
        at.head(sign_head(head_of(log, time_s=clock.wall())))
        ages.append(view.published.age_s(clock.wall(), clock.boot()))
    assert ages == pytest.approx([0, 0, 0, 0], abs=0.01)
