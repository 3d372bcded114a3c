"""Tier two: the same checks against real servers. The frame: which scenarios, in which order.

A scenario is an ordinary function with numbered steps; `@scenario` puts it on the list. It starts
what it needs in `context.folder`, reports to `context.checker`, and notes how long the fabric took
to be well again after each fault. It ends everything it has started, by itself.
"""

import importlib
import pkgutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import count, groupby, islice, starmap, takewhile
from multiprocessing import get_context
from pathlib import Path
from random import Random
from statistics import median
from types import MappingProxyType

import msgspec

import tests.chaos
from rescind.testing.sim import Verdict
from rescind.testing.sim.checker import Checker

NOTHING: Mapping[str, str] = MappingProxyType({})
COMPOSED = "composed"
"""The scenario that is another one each time: it is played as often as all others together."""
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
    limit_s: float = LIMIT_S
    recovery_s: dict[str, list[float]] = field(default_factory=dict)
    measured_s: dict[str, list[float]] = field(default_factory=dict)
    ratios: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def recovered(self, fault: str, seconds: float) -> None:
        """Note how long after the end of a fault the last view was right again."""
        self.recovery_s.setdefault(fault, []).append(seconds)

    def measured(self, what: str, times_s: list[float]) -> None:
        """Note times that are reported beside the recovery times."""
        self.measured_s.setdefault(what, []).extend(times_s)

    def ratio(self, what: str, value: float) -> None:
        """Note a ratio of two times of this very run."""
        self.ratios.setdefault(what, []).append(value)

    def note(self, what: str) -> None:
        """Note what was chosen at random; said if something is found."""
        self.notes.append(what)

    def expect(self, holds: object, what: str) -> None:
        """Raise `NotAsExpected` unless something holds."""
        if not holds:
            raise NotAsExpected(what)


class NotAsExpected(Exception):
    """Something that a scenario looks for besides the checker's rules does not hold."""


class Unsuited(Exception):
    """This scenario has no such protection to take out, or not the servers that it needs."""


Scenario = Callable[[Context], None]
SCENARIOS: dict[str, Scenario] = {}
SHOWS: dict[str, dict[str, str]] = {}
"""For each scenario: the protections that it needs, each with the figure in which one's absence
must show."""
ALONE: set[str] = set()
"""Scenarios that take every core of a small machine: beside another one, it would be measured."""


def scenario(
    name: str, shows: Mapping[str, str] = NOTHING, *, alone: bool = False
) -> Callable[[Scenario], Scenario]:
    """Put a scenario on the list, under the name of its fault."""

    def add(play: Scenario) -> Scenario:
        SCENARIOS[name], SHOWS[name] = play, dict(shows)
        if alone:
            ALONE.add(name)
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
    recovery_s: dict[str, list[float]] = {}
    measured_s: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {}
    shown: bool = False
    """Whether what was taken out has shown, in the figure that is its own here."""


def suited(without: str | None, names: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the scenarios to be played, of these or of all: those that need the protection."""
    known = names or _interleaved(sorted(load()))
    return tuple(name for name in known if without is None or without in SHOWS[name])


def _interleaved(names: list[str]) -> list[str]:
    if COMPOSED not in names:
        return names
    return [each for name in names if name != COMPOSED for each in (name, COMPOSED)]


def rounds(
    seed: int,
    *,
    schedules: int | None,
    until: float,
    without: str | None,
    names: tuple[str, ...],
    jobs: int = 1,
) -> Iterator[Played]:
    """Play scenario after scenario, each as often as the others, until there were enough."""
    chosen = suited(without, names)
    if not chosen:
        return
    numbers = count() if schedules is None else iter(range(schedules))
    tasks = (
        (chosen[(seed + number) % len(chosen)], seed + number, without)
        for number in takewhile(lambda _: time.monotonic() < until, numbers)
    )
    played = starmap(play, tasks) if jobs == 1 else _beside(tasks, jobs)
    yield from filter(None, played)


def _beside(tasks: Iterator[tuple[str, int, str | None]], jobs: int) -> Iterator[Played | None]:
    """Play several at a time, in processes: most of a schedule is waiting."""
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        for alone, some in groupby(tasks, lambda task: task[0] in ALONE):
            yield from _pooled(pool, some, 1 if alone else jobs)


def _pooled(
    pool: ProcessPoolExecutor, tasks: Iterator[tuple[str, int, str | None]], jobs: int
) -> Iterator[Played | None]:
    running = {pool.submit(_load_and_play, *task) for task in islice(tasks, jobs)}
    while running:
        done, running = wait(running, return_when=FIRST_COMPLETED)
        running |= {pool.submit(_load_and_play, *task) for task in islice(tasks, len(done))}
        yield from (each.result() for each in done)


def _load_and_play(name: str, seed: int, without: str | None) -> Played | None:
    load()
    return play(name, seed, without)


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
            verdict.notes.insert(0, "; ".join((f"{name}, seed {seed}", *context.notes)))
        figure = SHOWS.get(name, {}).get(without or "")
        return Played(
            name,
            seed,
            verdict,
            context.recovery_s,
            context.measured_s,
            context.ratios,
            shown=figure is not None and getattr(verdict, figure) > 0,
        )


def summary(recovery_s: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Return p50 and max by fault, in seconds."""
    return {
        fault: {"p50": round(median(times), 3), "max": round(max(times), 3), "n": len(times)}
        for fault, times in sorted(recovery_s.items())
    }
