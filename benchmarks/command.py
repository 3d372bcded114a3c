"""The command line: which benchmark, how much of it, printed for people or for programs.

Only a terminal sees progress, on standard error. A figure that misses its limit is said to, and
does not change the exit code: on a shared machine that would be a coin.
"""

import argparse
import os
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, Protocol

import msgspec

from benchmarks import (
    authz,
    bundle,
    channels,
    guard,
    kill,
    memory,
    online,
    readers,
    reports,
    start,
    storm,
    view,
)
from benchmarks.stats import Row, table

FLEET = (1, 50)
"""Numbers of subscribers that `all` measures."""


class Result(Protocol):
    """What every benchmark returns."""

    def rows(self) -> list[Row]:
        """Return what people read."""
        ...


def _guard(args: argparse.Namespace) -> Result:
    return guard.run(guard.QUICK if args.quick else guard.Plan())


def _kill(args: argparse.Namespace) -> Result:
    return kill.run(kill.plan(args.subscribers, quick=args.quick))


def _view(args: argparse.Namespace) -> Result:
    return view.run(view.QUICK if args.quick else view.Plan())


def _storm(args: argparse.Namespace) -> Result:
    return storm.run(storm.QUICK if args.quick else storm.Plan())


def _start(args: argparse.Namespace) -> Result:
    return start.run(start.QUICK if args.quick else start.Plan())


def _reports(args: argparse.Namespace) -> Result:
    return reports.run(reports.QUICK if args.quick else reports.Plan())


def _bundle(args: argparse.Namespace) -> Result:
    return bundle.run(bundle.QUICK if args.quick else bundle.Plan())


def _readers(args: argparse.Namespace) -> Result:
    return readers.run(readers.QUICK if args.quick else readers.Plan())


def _channels(args: argparse.Namespace) -> Result:
    return channels.run(channels.QUICK if args.quick else channels.Plan())


def _authz(args: argparse.Namespace) -> Result:
    return authz.run(authz.QUICK if args.quick else authz.Plan())


def _online(args: argparse.Namespace) -> Result:
    return online.run(online.QUICK if args.quick else online.Plan())


def _memory(args: argparse.Namespace) -> Result:
    plan = memory.QUICK if args.quick else memory.Plan()
    checks = getattr(args, "checks", None)  # `all` has no such option: its run is the short one
    return memory.run(msgspec.structs.replace(plan, checks=checks) if checks else plan)


BENCHMARKS: dict[str, tuple[Callable[[argparse.Namespace], Result], str]] = {
    "guard": (_guard, "one check: cold, cached, beside the bare signature and PyJWT"),
    "kill": (_kill, "from kill() to the view of every subscriber, beside its floor"),
    "storm": (_storm, "a kill of a target that was killed 100,000 times, beside an empty fabric"),
    "view": (_view, "one event into a view of a million, readers' pauses, alternatives"),
    "start": (_start, "importing, the embedded server, a subscriber from its snapshot"),
    "reports": (_reports, "a storm of thousands of subscribers that report one kill"),
    "bundle": (_bundle, "a bundle of 100,000 revocations: built, not modified, a kill by delta"),
    "readers": (_readers, "2,000 event streams of one node: their memory, a kill to all of them"),
    "authz": (_authz, "a proxy's question over a Unix socket, beside an empty handler"),
    "online": (_online, "three questions to a registry for each call, beside the local check"),
    "memory": (_memory, "what checks leave in memory, with a kill every second"),
    "channels": (_channels, "from POST /v1/kills to a guard's deny, by every channel"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is asked for and print it."""
    args = _parser().parse_args(argv)
    chosen = _all(args) if args.name == "all" else [_one(args.name, args)]
    if args.json:
        document = {"machine": machine(), **dict(chosen)} if args.name == "all" else chosen[0][1]
        print(msgspec.json.encode(document).decode())
    return 0


def _one(name: str, args: argparse.Namespace) -> tuple[str, Result]:
    extra = f" --subscribers {args.subscribers}" if name == "kill" else ""
    if checks := getattr(args, "checks", None):
        extra = f" --checks {checks}"
    command = name + extra + (" --quick" if args.quick else "")
    measure = BENCHMARKS[name][0]
    result = _alone(measure, args) if args.name == "all" else measure(args)
    if not args.json:
        print(f"\npython -m benchmarks {command}\n{table(result.rows())}", flush=True)
    return name + extra, result


def _alone(measure: Callable[[argparse.Namespace], Result], args: argparse.Namespace) -> Result:
    """Measure in a process of its own: what another leaves in memory is not its."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, args).result()


_REST = (
    "storm",
    "view",
    "start",
    "reports",
    "bundle",
    "readers",
    "authz",
    "online",
    "memory",
    "channels",
)


def _all(args: argparse.Namespace) -> list[tuple[str, Result]]:
    if not args.json:
        print(f"{machine()}; medians; what must be reached stands behind the figure")
    fleet = [
        argparse.Namespace(**{**vars(args), "subscribers": count})
        for count in ((2,) if args.quick else FLEET)
    ]
    kills = [_one("kill", each) for each in fleet]
    rest = [_one(name, args) for name in _REST]
    return [_one("guard", args), *kills, *rest]


def machine() -> str:
    """Return what the figures were measured on, as far as it matters."""
    return (
        f"Python {platform.python_version()}, {len(os.sched_getaffinity(0))} cores, "
        f"load {os.getloadavg()[0]:.1f}, Linux {platform.release().split('-')[0]}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure rescind on this machine. Every figure in docs/ comes from here.",
        epilog="`all` takes about five minutes. See docs/benchmarks.md for what each figure means.",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON document")
    common.add_argument(
        "--quick", action="store_true", help="a second instead of a minute; the figures mean little"
    )
    names: Any = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name, (_, what) in BENCHMARKS.items():
        sub = names.add_parser(name, parents=[common], help=what, description=what)
        if name == "kill":
            sub.add_argument(
                "--subscribers", type=_count, default=1, metavar="N", help="how many (default 1)"
            )
        if name == "memory":
            sub.add_argument(
                "--checks",
                type=_checks,
                metavar="N",
                help=f"how many (default {memory.Plan().checks}; the whole is {memory.LONG})",
            )
    names.add_parser("all", parents=[common], help="everything, as `make bench` does")
    return parser


def _checks(text: str) -> int:
    if not text.isdigit() or not 10_000 <= int(text) <= 1_000_000_000:
        raise argparse.ArgumentTypeError("must be 10000 to 1000000000")
    return int(text)


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError("must be 1 to 1000")
    return int(text)
