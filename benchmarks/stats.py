"""Percentiles of samples, and medians over rounds: how every figure here is made."""

import math
import sys
import time
from collections.abc import Iterable, Sequence
from statistics import median

import msgspec

US, MS = 1e3, 1e6
"""Nanoseconds in the unit that a figure is printed in."""


class Spread(msgspec.Struct, frozen=True):
    """Median and 99th percentile of samples, or the medians of these over rounds."""

    p50: float
    p99: float

    def __str__(self) -> str:
        return f"{shown(self.p50)}  (p99 {shown(self.p99)})"


def spread(samples_ns: Sequence[int], unit: float) -> Spread:
    """Return the percentiles of samples in nanoseconds, in `unit`."""
    ordered = sorted(samples_ns)
    return Spread(at(ordered, 0.50) / unit, at(ordered, 0.99) / unit)


def at(ordered: Sequence[int], share: float) -> int:
    """Return the smallest sample that `share` of the samples do not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def over_rounds(rounds: Iterable[Spread]) -> Spread:
    """Return the medians over rounds: one disturbed round moves nothing."""
    listed = list(rounds)
    return Spread(median(r.p50 for r in listed), median(r.p99 for r in listed))


def shown(value: float) -> str:
    """Return a figure with three digits that mean something."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def timer_cost_ns() -> int:
    """Return what reading the clock twice costs here, to be taken off short samples."""
    clock = time.perf_counter_ns
    costs = []
    for _ in range(2000):
        begun = clock()
        costs.append(clock() - begun)
    return int(median(costs))


class Row(msgspec.Struct, frozen=True):
    """One line for people; `limit` is what the figure must not exceed."""

    what: str
    value: Spread | float | str
    unit: str = ""
    limit: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """Whether the figure is within its limit."""
        if self.limit is None or isinstance(self.value, str):
            return ""
        figure = self.value.p50 if isinstance(self.value, Spread) else self.value
        word = "reached" if figure <= self.limit else "MISSED"
        return f"{word}: at most {shown(self.limit)}"

    def words(self) -> tuple[str, str, str]:
        """Return the three columns."""
        value = shown(self.value) if isinstance(self.value, float) else str(self.value)
        return self.what, f"{value} {self.unit}".rstrip(), self.verdict or self.note


def table(rows: Iterable[Row]) -> str:
    """Return rows as aligned text."""
    words = [row.words() for row in rows]
    widths = [max(len(line[column]) for line in words) for column in (0, 1)]
    return "\n".join(
        f"  {what:<{widths[0]}}  {value:<{widths[1]}}  {note}".rstrip()
        for what, value, note in words
    )


def progress(text: str = "") -> None:
    """Say on a terminal what is being done; nothing where nobody watches."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
