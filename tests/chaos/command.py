"""The command line of the chaos suite: which tier, which seeds, for how long.

Everything that a person may want to read goes to standard error, the result to standard output;
with `--json` its last line is one object. The seed is said first, so that any run can be replayed.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from math import inf
from random import SystemRandom
from typing import Any, Self

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from rescind.testing.sim import Verdict
from rescind.testing.sim.checker import FIGURES
from tests.chaos import real_tier, sim_tier
from tests.chaos.shrink import describe
from tests.chaos.weak import SHOWS, WITHOUT
from tests.chaos.weak_parts import EVERY_PART
from tests.faults import packets

DEFAULT_MINUTES = 1.0
SHOWN = 3
"""Failing seeds that are shrunk and shown."""
FOUND, CLEAN, MISUSED = 1, 0, 2
TIMES = ("recovery_s", "measured_s", "ratios")


class Tally:
    """What has been found so far, and the bar that shows it."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.total = Verdict()
        self.failed: list[int] = []
        self.times: dict[str, dict[str, list[float]]] = {}
        """By kind (recovery times, others, ratios) and name."""
        self.shown = False
        """Whether what was taken out has shown, in the figure that is its own."""
        self.begun = time.monotonic()
        self._minutes, self._schedules = args.minutes, args.schedules
        self.console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[says]}"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._bar = self._progress.add_task(f"chaos, tier {args.tier}", total=1, says="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def add(self, verdict: Verdict, failed: Sequence[int]) -> None:
        """Count some schedules in."""
        self.total.add(verdict)
        self.failed += failed
        done = [(time.monotonic() - self.begun) / 60 / self._minutes]
        done += [self.total.schedules / self._schedules] if self._schedules else []
        says = f"{self.total.schedules} schedules, {self.total.violations} violations"
        self._progress.update(self._bar, completed=max(done), says=says)

    def note_times(self, kind: str, times: Mapping[str, list[float]]) -> None:
        """Count times in, or ratios."""
        for name, values in times.items():
            self.times.setdefault(kind, {}).setdefault(name, []).extend(values)

    def result(self) -> dict[str, Any]:
        """Return the figures."""
        seconds = time.monotonic() - self.begun
        return {
            **{name: getattr(self.total, name) for name in FIGURES},
            "seconds": round(seconds, 1),
            "per_minute": round(self.total.schedules / seconds * 60),
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Run a tier, say what came of it, return the exit code."""
    args = _parser().parse_args(argv)
    if args.tier == "real" and packets.opted_in() and not packets.private():
        packets.start_again(["-m", "tests.chaos", *(sys.argv[1:] if argv is None else argv)])
    if args.minutes is None:
        args.minutes = inf if args.schedules else DEFAULT_MINUTES
    if args.seed is None:
        args.seed = SystemRandom().randrange(2**31)
    _say(f"tier {args.tier}, seed {args.seed}")
    if args.tier == "sim" and args.without not in (None, *WITHOUT):
        _say(f"the simulator cannot do without {args.without!r}: only without {', '.join(WITHOUT)}")
        return MISUSED
    if args.tier == "real" and not set(args.scenario or ["*"]) <= {"*", *real_tier.load()}:
        _say(f"no such scenario; there are {', '.join(real_tier.load())}")
        return MISUSED
    if args.tier == "real" and not real_tier.load():
        _say("no scenario with real servers is here")
        return MISUSED
    with Tally(args) as tally:
        (_simulate if args.tier == "sim" else _play)(args, tally)
    return _report(args, tally)


def _simulate(args: argparse.Namespace, tally: Tally) -> None:
    until = tally.begun + args.minutes * 60
    for chunk in sim_tier.chunks(
        args.seed, schedules=args.schedules, until=until, jobs=args.jobs, without=args.without
    ):
        tally.add(chunk.verdict, chunk.failed)
        tally.shown = args.without is not None and getattr(tally.total, SHOWS[args.without]) > 0
        if tally.shown:
            return


def _play(args: argparse.Namespace, tally: Tally) -> None:
    until = tally.begun + args.minutes * 60
    for played in real_tier.rounds(
        args.seed,
        schedules=args.schedules,
        until=until,
        without=args.without,
        names=tuple(args.scenario),
        jobs=args.jobs,
    ):
        tally.add(played.verdict, [played.seed] if played.verdict.violations else [])
        for kind in TIMES:
            tally.note_times(kind, getattr(played, kind))
        tally.shown = tally.shown or played.shown
        if tally.shown:
            return


def _report(args: argparse.Namespace, tally: Tally) -> int:
    for seed in tally.failed[:SHOWN]:
        _explain(args, seed)
    result = {"tier": args.tier, "seed": args.seed, "without": args.without, **tally.result()}
    if args.tier == "real":
        for kind in TIMES:
            result[kind] = real_tier.summary(tally.times.get(kind, {}))
        _say(*tally.total.notes)
    said = ", ".join(f"{name} {value}" for name, value in result.items() if value is not None)
    sys.stdout.write((msgspec.json.encode(result).decode() if args.json else said) + "\n")
    if args.without:
        _say(_without(args, shown=tally.shown))
        return CLEAN if tally.shown else FOUND
    return FOUND if tally.total.violations else CLEAN


def _say(*lines: str) -> None:
    """Tell a person."""
    sys.stderr.write("".join(f"{line}\n" for line in lines))


def _without(args: argparse.Namespace, *, shown: bool) -> str:
    figure = SHOWS[args.without] if args.tier == "sim" else "what it shows"
    return f"without {args.without}: {figure} {'> 0, as must be' if shown else 'is 0: NOT found'}"


def _explain(args: argparse.Namespace, seed: int) -> None:
    again = f"python -m tests.chaos --tier {args.tier} --seed {seed} --schedules 1"
    again += f" --without {args.without}" if args.without else ""
    again += "".join(f' --scenario "{name}"' for name in args.scenario)
    _say(f"\nseed {seed} fails; again: {again}")
    if args.tier == "sim":
        schedule, notes = sim_tier.explain(seed, args.without)
        _say(describe(schedule), *notes[:SHOWN])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--tier", choices=("sim", "real"), default="sim")
    parser.add_argument("--seed", type=int, help="of the first schedule; the next one has the next")
    parser.add_argument("--minutes", type=_positive, help="how long (default 1)")
    parser.add_argument("--schedules", type=_count, help="how many, if that is sooner")
    parser.add_argument("--jobs", type=_count, default=1, help="processes (default 1)")
    parser.add_argument(
        "--without",
        choices=tuple(dict.fromkeys((*WITHOUT, *EVERY_PART))),
        metavar="NAME",
        help=f"take this protection out: {', '.join(WITHOUT)}; tier real also: "
        f"{', '.join(name for name in EVERY_PART if name not in WITHOUT)}",
    )
    parser.add_argument(
        "--scenario", action="append", default=[], help="this one only (tier real; repeatable)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, last")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < inf:
        raise argparse.ArgumentTypeError("must be above 0")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value
