"""Tier two: the same checks against real servers. The frame: which scenarios, in which order.

A scenario is an ordinary function with numbered steps; `@scenario` puts it on the list. It starts
what it needs in `context.folder`, reports to `context.checker`, and notes how long the fabric took
to be well again after each fault. It ends everything it has started, by itself.
"""

import importlib
import pkgutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from statistics import median

import msgspec

import tests.chaos
from rescind.testing.sim import Verdict
from rescind.testing.sim.checker import Checker

PREFIX = "scenario_"
"""Modules of this package whose names begin so are loaded for their scenarios."""
LIMIT_S = 300.0
"""Freshness limit of the real fabric, unless a scenario sets another."""


@dataclass
class Context:
    """What a scenario gets, and what it reports to."""

    seed: int
    random: Random
    folder: Path
    """Its own, empty; removed afterwards."""
    without: str | None
    """The protection that is to be taken out; a scenario that cannot do so raises `Unsuited`."""
    checker: Checker = field(default_factory=lambda: Checker(LIMIT_S))
    recovery_s: dict[str, list[float]] = field(default_factory=dict)

    def recovered(self, fault: str, seconds: float) -> None:
        """Note how long after the end of a fault the last view was right again."""
        self.recovery_s.setdefault(fault, []).append(seconds)


class Unsuited(Exception):
    """This scenario has no such protection to take out, or not the servers that it needs."""


Scenario = Callable[[Context], None]
SCENARIOS: dict[str, Scenario] = {}


def scenario(name: str) -> Callable[[Scenario], Scenario]:
    """Put a scenario on the list, under the name of its fault."""

    def add(play: Scenario) -> Scenario:
        SCENARIOS[name] = play
        return play

    return add


def load() -> dict[str, Scenario]:
    """Import every module of scenarios, and return what they have put on the list."""
    for module in pkgutil.iter_modules(tests.chaos.__path__):
        if module.name.startswith(PREFIX):
            importlib.import_module(f"tests.chaos.{module.name}")
    return SCENARIOS


class Played(msgspec.Struct, frozen=True):
    """What one scenario came to."""

    name: str
    seed: int
    verdict: Verdict
    recovery_s: dict[str, list[float]]


def rounds(
    seed: int, *, schedules: int | None, until: float, without: str | None, names: tuple[str, ...]
) -> Iterator[Played]:
    """Play scenario after scenario, each as often as the others, until there were enough."""
    known = load()
    chosen = names or tuple(sorted(known))
    for number in count():
        if (schedules is not None and number >= schedules) or time.monotonic() >= until:
            return
        played = play(chosen[(seed + number) % len(chosen)], seed + number, without)
        if played is not None:
            yield played


def play(name: str, seed: int, without: str | None) -> Played | None:
    """Play one scenario; None if it does not suit."""
    with tempfile.TemporaryDirectory(prefix="rescind-chaos-") as folder:
        random = Random(seed)  # noqa: S311 - must replay, keeps no secret
        context = Context(seed, random, Path(folder), without)
        try:
            SCENARIOS[name](context)
        except Unsuited:
            return None
        except Exception as error:  # noqa: BLE001 - one broken scenario must not hide the others
            context.checker.broke(f"{type(error).__name__}: {error}")
        verdict = context.checker.verdict
        if verdict.violations:
            verdict.notes.insert(0, f"{name}, seed {seed}")
        return Played(name, seed, verdict, context.recovery_s)


def summary(recovery_s: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Return p50 and max by fault, in seconds."""
    return {
        fault: {"p50": round(median(times), 3), "max": round(max(times), 3), "n": len(times)}
        for fault, times in sorted(recovery_s.items())
    }
