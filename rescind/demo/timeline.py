"""A timeline as text: one row for each thing that happened, all on one scale."""

from collections import Counter
from collections.abc import Sequence
from math import inf

import msgspec

_MOMENT = "●"
_BARS = "▁▂▃▄▅▆▇█"
"""How many of a row's moments fall on one column, against its fullest one."""
_FEW = 4
"""A column with a quarter of them is full height."""
LABEL_WIDTH = 18
TIME_WIDTH = 9


class Row(msgspec.Struct, frozen=True):
    """What happened, and when: one moment or several, in ms."""

    label: str
    at_ms: tuple[float, ...]
    style: str = "cyan"


def draw(rows: Sequence[Row], width: int) -> list[str]:
    """Return the rows, earliest first, as lines of rich markup `width` columns wide at most."""
    span = max((at for row in rows for at in row.at_ms), default=0.0) or 1.0
    columns = max(10, width - LABEL_WIDTH - TIME_WIDTH - 2)
    return [_line(row, span, columns) for row in sorted(rows, key=_began)]


def _began(row: Row) -> float:
    return min(row.at_ms, default=inf)


def _line(row: Row, span: float, columns: int) -> str:
    if not row.at_ms:
        return f"{row.label:<{LABEL_WIDTH}}{'never':>{TIME_WIDTH}}"
    time = f"{max(row.at_ms):.1f} ms"
    return f"{row.label:<{LABEL_WIDTH}}{time:>{TIME_WIDTH}}  {_plot(row, span, columns)}"


def _plot(row: Row, span: float, columns: int) -> str:
    """Draw the moments where they lie, on a dotted line from zero."""
    hits = Counter(round(at / span * (columns - 1)) for at in row.at_ms)
    first, last = min(hits), max(hits)
    marks = "".join(_mark(hits[at], row) for at in range(first, last + 1))
    return f"[dim]{'·' * first}[/][{row.style}]{marks}[/]"


def _mark(count: int, row: Row) -> str:
    if len(row.at_ms) == 1:
        return _MOMENT
    fullest = max(1, len(row.at_ms) // _FEW)
    return _BARS[min(len(_BARS) - 1, count * (len(_BARS) - 1) // fullest)] if count else " "
