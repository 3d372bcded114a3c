"""What time a head says when the wall clock jumps, and what a broker can make of it."""

from collections.abc import Callable

import pytest

from rescind.testing.spool import MemorySpool
from rescind_guard.view import View
from rescind_protocol.changes import Kill
from rescind_protocol.limits import MAX_STALENESS_S, SKEW_S
from rescind_publisher.clock import ADOPT_AFTER_S, HORIZON_STEP_S, HeadTime, Horizon
from rescind_publisher.ledger import Ledger
from rescind_subscriber.reconcile import Reconciler
from tests.fakes.clock import FakeClock
from tests.fakes.fabric import NOW, make_trust
from tests.fakes.publishing import VOICE, target

HOUR_S = 3600.0


def beat(time: HeadTime, clock: FakeClock, seconds: float, step_s: float = 1.0) -> list[float]:
    """Say the time every so often for so long; return what was said."""
    said = []
    for _ in range(int(seconds / step_s)):
        clock.pass_s(step_s)
        said.append(time.next())
    return said


@pytest.mark.parametrize("step_s", [-HOUR_S, -30.0, -0.5, 0.0, 0.5, 30.0, SKEW_S])
def test_small_steps_and_steps_back_are_believed(step_s: float) -> None:
    """Within the skew, or slower than before, the wall clock is what a head says."""
    clock = FakeClock()
    time = HeadTime(clock)
    clock.wall_s += step_s
    clock.pass_s(1)
    assert time.next() == clock.wall()
    assert time.jumped == (abs(step_s) > SKEW_S)


@pytest.mark.parametrize("jump_s", [SKEW_S + 1, HOUR_S, 365 * 86_400.0])
def test_a_jump_ahead_is_not_said_until_it_has_held(jump_s: float) -> None:
    """Heads go on by the old course, each later than the one before; then they take the new one."""
    clock = FakeClock()
    time = HeadTime(clock)
    before = time.next()
    clock.wall_s += jump_s
    said = beat(time, clock, ADOPT_AFTER_S)
    assert time.jumped
    assert said[-1] <= before + ADOPT_AFTER_S
    assert said == sorted(set(said))
    clock.pass_s(1)
    assert time.next() == clock.wall()
    assert not time.jumped


def test_a_jump_that_is_set_right_leaves_no_trace() -> None:
    """The operator, or NTP, had time to do so: no head was ever ahead."""
    clock = FakeClock()
    time = HeadTime(clock)
    clock.wall_s += HOUR_S
    beat(time, clock, ADOPT_AFTER_S / 2)
    clock.wall_s -= HOUR_S
    said = beat(time, clock, 2 * ADOPT_AFTER_S)
    assert said[-1] == clock.wall()
    assert not time.jumped


def test_many_small_steps_are_one_jump() -> None:
    """A clock that runs away in steps of half a minute does not get far ahead of its course."""
    clock = FakeClock()
    time = HeadTime(clock)
    for _ in range(20):
        clock.wall_s += 30
        assert beat(time, clock, 10)[-1] <= NOW + (clock.boot_s - 1000.0) + SKEW_S
    assert time.jumped


def test_a_suspended_host_has_not_jumped() -> None:
    """Its boot clock went on: the first head says the right time."""
    clock = FakeClock()
    time = HeadTime(clock)
    time.next()
    clock.pass_s(8 * HOUR_S)
    assert time.next() == clock.wall()
    assert not time.jumped


def test_the_horizon_goes_on_by_the_first_course() -> None:
    """A jump ahead ends no kill, not even once it is believed, and does not stop the horizon."""
    clock = FakeClock()
    horizon = Horizon(clock, 0)
    clock.wall_s += HOUR_S
    beat(horizon.heads, clock, 2 * ADOPT_AFTER_S)
    due = horizon.due()
    assert due is not None
    assert 0 <= NOW + 2 * ADOPT_AFTER_S - SKEW_S - due < HORIZON_STEP_S


# --- the attack ---


class Scene:
    """A publisher and a subscriber whose broker shows what it likes, when it likes."""

    def __init__(self) -> None:
        self.publisher, self.subscriber = FakeClock(), FakeClock()
        trust = make_trust()
        self.ledger = Ledger(MemorySpool(), VOICE, trust, self.publisher)
        self.view = View()
        self.view.claim()
        self.reader = Reconciler(trust, self.view, self.subscriber)

    def kill(self, number: int) -> bytes:
        """Accept a kill, and return its event."""
        return self.ledger.accept((Kill(target=target(number)),), lambda _: None)[0].raw

    def pass_s(self, seconds: float) -> None:
        """Let time go by on both hosts."""
        self.publisher.pass_s(seconds)
        self.subscriber.pass_s(seconds)

    @property
    def age_s(self) -> float:
        """Age of the subscriber's proof."""
        return self.view.published.age_s(self.subscriber.wall(), self.subscriber.boot())


def hidden_for(scene: Scene) -> float:
    """Hide a kill behind a head that was signed while the clock was ahead; return the view's age.

    A broker shows a kill, then keeps all back but the head of that moment, which it shows an hour
    later: the view lacks the second kill, and its age says whether it counts as fresh.
    """
    scene.reader.event(scene.kill(1))
    scene.publisher.wall_s += HOUR_S
    scene.pass_s(1)
    kept = scene.ledger.head()
    scene.kill(2)
    scene.pass_s(HOUR_S)
    scene.reader.head(kept)
    return scene.age_s


def test_a_head_signed_in_a_jump_hides_no_kill_later() -> None:
    """The head is an hour old by its own time when it is shown."""
    assert hidden_for(Scene()) > MAX_STALENESS_S


def test_without_the_rule_it_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: by the wall clock alone the view is fresh an hour after the kill."""
    wall: Callable[[HeadTime], float] = lambda self: self._clock.wall()  # noqa: E731
    monkeypatch.setattr(HeadTime, "next", wall)
    assert hidden_for(Scene()) < MAX_STALENESS_S
