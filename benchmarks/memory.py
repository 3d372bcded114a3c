"""`memory`: whether checks leave memory behind, with a kill every second.

Most checks are of badges seen before, as new strings; a share is of badges never seen, more of them
than the cache holds, so that it turns over again and again. Every second a badge that is in use is
killed by a signed event, through the subscriber's own step, and the next check of it must deny.
Before that all that a guard remembers is filled and turned over: badges, and names of agents.
Resident memory is read after every block of checks; the slope is that of the straight line nearest
to all readings (least squares). What the kills themselves take is in it.
"""

import gc
import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.material import AUDIENCE, ISSUER, LIFE_S, Publisher, Registry
from benchmarks.stats import Row, progress
from rescind_guard import Guard, View
from rescind_guard.freshness import SystemClock
from rescind_guard.guard import CACHED_BADGES
from rescind_protocol import targets
from rescind_protocol.changes import Kill
from rescind_subscriber.reconcile import Reconciler

LONG = 10_000_000
KILL_EVERY_S = 1.0
RENEW_EVERY_S = 120.0
"""Of the badges in use: they live for 300 s."""
IN_USE = 1000
NEW_EVERY = 50
"""Checks; one of them is of a badge never seen."""
AGENTS = 65_536
"""Whose names the guard keeps: the largest of what it remembers (`rescind_guard.parsing`)."""
KIB = 1024
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Plan(msgspec.Struct, frozen=True):
    """How much is measured."""

    checks: int = 1_000_000
    readings: int = 200
    cached: int = CACHED_BADGES
    """Of the guard: its cache holds twice as many at most."""
    warm_up: int = 2 * AGENTS + 10_000
    """Badges, each of another agent, before anything is read."""


QUICK = Plan(checks=20_000, readings=20, cached=IN_USE, warm_up=6 * IN_USE)


class Result(msgspec.Struct, frozen=True):
    """Memory of this process, in bytes."""

    checks: int
    new_badges: int
    """Of the checks; those of the warm-up are not counted."""
    cached_badges_at_most: int
    kills: int
    denied: int
    """Checks of killed badges; each was denied."""
    seconds: float
    readings: int
    slope_bytes_per_million: float
    first_bytes: float
    """Mean of the first tenth of the readings."""
    last_bytes: float
    """Of the last tenth."""

    def rows(self) -> list[Row]:
        """Return what people read."""
        cache = f"the cache holds {self.cached_badges_at_most:,}"
        run = "" if self.checks >= LONG else f"short; the whole: memory --checks {LONG}"
        return [
            Row(
                f"memory that {self.checks:,} checks leave, of a million",
                self.slope_bytes_per_million / KIB,
                "KiB",
                note=run,
            ),
            Row(
                f"  {self.new_badges:,} of badges never seen; {cache}",
                f"{self.kills} kills",
                note=f"{self.denied} denied",
            ),
            Row(
                f"  in {self.seconds:.0f} s; {self.readings} readings",
                f"{self.first_bytes / KIB**2:.1f} to {self.last_bytes / KIB**2:.1f} MiB",
            ),
        ]


class Load:
    """A guard, the badges in use before it, and the one who kills them."""

    def __init__(self, cached: int) -> None:
        self.registry, self.publisher, self.view = Registry(), Publisher(), View()
        self._clock = SystemClock()
        self.view.claim()
        self._step = Reconciler(self.publisher.trust, self.view, self._clock)
        self.guard = Guard(
            self.view, self.registry.issuers, audience=AUDIENCE, cached_badges=cached
        )
        self.new_badges = self.kills = self.denied = 0
        self._renewed = self._killed = time.monotonic()
        self._use()

    def _use(self) -> None:
        self.in_use = [self.registry.badge(number) for number in range(IN_USE)]
        self._freshen()

    def _freshen(self) -> None:
        self.view.freshen(self._clock.wall(), self._clock.boot())

    def new(self) -> str:
        """Return a badge never seen, of an agent never seen."""
        self.new_badges += 1
        return self.registry.badge(IN_USE + self.new_badges)

    def warm_up(self, badges: int) -> None:
        """Turn the cache over."""
        for number in range(badges):
            if number % IN_USE == 0:
                self._freshen()
            assert self.guard.check(self.new())
        self.new_badges = 0
        self._use()

    def checks(self, count: int) -> None:
        """Make so many checks, each with a string of its own."""
        check, in_use = self.guard.check, self.in_use
        for number in range(count):
            token = in_use[number % IN_USE] if number % NEW_EVERY else self.new()
            if not check(token.encode().decode()):
                raise AssertionError("a good badge was denied")

    def on_time(self) -> None:
        """Kill, once a second; renew the badges before they expire."""
        now = time.monotonic()
        if now - self._killed >= KILL_EVERY_S or not self.kills:
            self._killed = now
            self.kill()
        if now - self._renewed >= RENEW_EVERY_S:
            self._renewed = now
            self._use()

    def kill(self) -> None:
        """Kill a badge in use, see it denied, put another in its place."""
        place = self.kills % IN_USE
        token = self.in_use[place]
        claims = self.guard.check(token).claims
        assert claims is not None
        until = int(self._clock.wall()) + LIFE_S
        dead = targets.badge(ISSUER, claims.jti)
        kill = Kill(target=dead, reason="key-compromise", expires_at=until)
        assert self._step.batch([self.publisher.signed((kill,))]) == 1
        self._freshen()
        assert self.guard.check(token).code == "BADGE_REVOKED"
        self.kills, self.denied = self.kills + 1, self.denied + 1
        self.in_use[place] = self.new()


def run(plan: Plan) -> Result:
    """Measure."""
    load = Load(plan.cached)
    progress("memory: filling what the guard remembers")
    load.warm_up(plan.warm_up)
    gc.collect()
    begun = time.monotonic()
    block = plan.checks // plan.readings
    readings: list[tuple[int, int]] = []
    for number in range(1, plan.readings + 1):
        load.checks(block)
        load.on_time()
        readings.append((number * block, resident_bytes()))
        progress(f"memory: {number * block:,} of {plan.checks:,} checks")
    progress()
    tenth = max(1, len(readings) // 10)
    return Result(
        checks=block * plan.readings,
        new_badges=load.new_badges,
        cached_badges_at_most=2 * plan.cached,
        kills=load.kills,
        denied=load.denied,
        seconds=time.monotonic() - begun,
        readings=len(readings),
        slope_bytes_per_million=slope(readings) * 1e6,
        first_bytes=sum(size for _, size in readings[:tenth]) / tenth,
        last_bytes=sum(size for _, size in readings[-tenth:]) / tenth,
    )


def resident_bytes() -> int:
    """Return the memory that this process has now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def slope(points: Sequence[tuple[int, int]]) -> float:
    """Return the slope of the straight line nearest to points (x, y), by least squares."""
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    across = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / across
