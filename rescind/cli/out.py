"""What a command writes: text for people, or JSON. Colour on a terminal only, NO_COLOR respected.

Reasons, actors and claims come from elsewhere: control characters, which could repaint a
terminal, never reach one.
"""

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import IO, Any

import click

Part = str | tuple[str, str]
"""A text, or a text and its colour."""
LAST_S = 253_402_300_799
"""9999-12-31T23:59:59Z, the last second that has a date."""
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""All but the line feed: C0, C1, and the marks that reverse a line's direction."""


def clean(text: str) -> str:
    """Return `text` with control characters made visible."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def colours(stream: IO[str]) -> bool:
    """Whether to colour (https://no-color.org: any value but an empty one says no)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def err(text: str, *, fg: str | None = None) -> None:
    """Write one sentence to standard error."""
    text = clean(text)
    click.echo(click.style(text, fg=fg) if colours(sys.stderr) else text, err=True, color=True)


class Out:
    """Where one command writes."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._colours = colours(sys.stdout)

    def say(self, *parts: Part) -> None:
        """Write a line for people; with --json nothing."""
        if not self.as_json:
            click.echo("".join(map(self._paint, parts)), color=True)

    def _paint(self, part: Part) -> str:
        text, colour = (part, "") if isinstance(part, str) else part
        text = clean(text)
        if not colour or not self._colours:
            return text
        return click.style(text, dim=True) if colour == "dim" else click.style(text, fg=colour)

    def fields(self, *pairs: tuple[str, Part | None]) -> None:
        """Write indented `name  value` lines; those without a value are left out."""
        shown = [(name, value) for name, value in pairs if value]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            self.say((f"  {name:<{width}}  ", "dim"), value)

    def document(self, document: object) -> None:
        """Write one line of JSON; without --json nothing."""
        if self.as_json:
            click.echo(json.dumps(document, ensure_ascii=True, default=str))

    def note(self, text: str) -> None:
        """Write a remark to standard error, for people only."""
        if not self.as_json:
            err(text)

    def warn(self, text: str) -> None:
        """Write a warning to standard error, whatever the format."""
        err(f"warning: {text}", fg="yellow")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Part]]) -> None:
        """Write a table: drawn on a terminal, else columns apart by two blanks."""
        if self.as_json:
            return
        cells = [[part if isinstance(part, tuple) else (part, "") for part in row] for row in rows]
        if sys.stdout.isatty():
            _draw(columns, cells, colour=self._colours)
        else:
            _set(columns, cells)


def _draw(
    columns: Sequence[str], rows: Iterable[Sequence[tuple[str, str]]], *, colour: bool
) -> None:
    from rich import box  # noqa: PLC0415 - only when something is drawn
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        # Text objects: what comes from elsewhere is no markup.
        table.add_row(*(Text(clean(text), style=style) for text, style in row))
    Console(no_color=not colour, highlight=False).print(table)


def _set(columns: Sequence[str], rows: Iterable[Sequence[tuple[str, str]]]) -> None:
    lines = [list(columns), *([clean(text) for text, _ in row] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    for line in lines:
        click.echo("  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip())


def utc(seconds: float) -> str:
    """Return unix seconds as people write a time; a kill may say one after the year 9999."""
    return datetime.fromtimestamp(min(seconds, LAST_S), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def lasting(seconds: float) -> str:
    """Return a duration in its greatest whole unit but one."""
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004


def plain(struct: Any) -> Any:
    """Return a struct as JSON types."""
    import msgspec  # noqa: PLC0415 - help needs none

    return msgspec.to_builtins(struct)
