"""The command line of the benchmarks."""

import argparse
from collections.abc import Sequence
from typing import Protocol

import msgspec

from benchmarks import guard, kill, view
from benchmarks.stats import Row, table


class Result(Protocol):
    """What every benchmark returns."""

    def rows(self) -> list[Row]:
        """Return what people read."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--subscribers", type=int, default=1)
    parser.add_argument("name")
    args = parser.parse_args(argv)
    if args.name == "kill":
        result = kill.run(kill.plan(args.subscribers, quick=args.quick))
    elif args.name == "view":
        result = view.run(view.QUICK if args.quick else view.Plan())
    else:
        result = guard.run(guard.QUICK if args.quick else guard.Plan())
    print(msgspec.json.encode(result).decode() if args.json else table(result.rows()))
    return 0
