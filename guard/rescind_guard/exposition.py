"""What a role's metrics are written with: Prometheus' text format 0.0.4, nothing else.

Written here and not by a library: the counters behind it are read, never locked, so that the call
path keeps its own (I5), and what is left is the forty lines below. Each role's `metrics.py` has its
names; the documents' table is made from them, and a test reads this by Prometheus' own parser.
"""

from collections.abc import Iterable, Mapping
from itertools import accumulate
from math import inf
from typing import NamedTuple

import msgspec

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


SUM = "sum"


class Metric(msgspec.Struct, frozen=True):
    """A metric's name, and what people should know of it; units stand in the name."""

    name: str
    help: str
    label: str = ""
    """The one label it has; "": none."""
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram; (): it is none."""

    @property
    def kind(self) -> str:
        """Return `counter`, `gauge` or `histogram`: by the name, as OpenMetrics wants it."""
        if self.buckets:
            return "histogram"
        return "counter" if self.name.endswith("_total") else "gauge"


class Family(NamedTuple):
    """A metric and its values now, by the value of its label; "" where it has none.

    Of a histogram: counts by upper bound, each with all below it, and `SUM`.
    """

    metric: Metric
    values: Mapping[str, float]


def one(metric: Metric, value: float) -> Family:
    """Return the family of a metric without a label."""
    return Family(metric, {"": value})


def histogram(metric: Metric, counts: Iterable[int], total: float) -> Family:
    """Return the family of a histogram: counts of each bucket alone, the last beyond them all."""
    bounds = map(_number, (*metric.buckets, inf))
    return Family(metric, dict(zip(bounds, accumulate(counts), strict=True)) | {SUM: total})


def render(families: Iterable[Family]) -> str:
    """Return the text of a scrape."""
    return "".join(line + "\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterable[str]:
    metric = family.metric
    yield f"# HELP {metric.name} {_escape(metric.help, quotes=False)}"
    yield f"# TYPE {metric.name} {metric.kind}"
    if metric.buckets:
        yield from _histogram(family)
        return
    for said, value in family.values.items():
        label = f'{{{metric.label}="{_escape(said)}"}}' if metric.label else ""
        yield f"{metric.name}{label} {_number(value)}"


def _histogram(family: Family) -> Iterable[str]:
    name, values = family.metric.name, family.values
    for bound in (*family.metric.buckets, inf):
        yield f'{name}_bucket{{le="{_number(bound)}"}} {_number(values[_number(bound)])}'
    yield f"{name}_sum {_number(values[SUM])}"
    yield f"{name}_count {_number(values[_number(inf)])}"


def _escape(text: str, *, quotes: bool = True) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quotes else text


def _number(value: float) -> str:
    return {inf: "+Inf", -inf: "-Inf"}.get(value, repr(float(value)))
