"""The wait of `kill --wait`: how long, and the bar that shows how far it is, on a terminal only."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from rescind.cli.out import Out, clean, colours

if TYPE_CHECKING:
    from rescind_publisher.applied import Applied

MOST_S = 60.0
_SPAN = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)(ms|s|m)", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}
_SHOWN = 4

Told = Callable[["Applied"], None]


def span(_: click.Context, __: click.Parameter, value: str | None) -> float:
    """Read a duration, `500ms`, `2s` or `1m`, in seconds; 0 if there is none."""
    if value is None:
        return 0.0
    found = _SPAN.fullmatch(value)
    if found is None:
        raise click.BadParameter(f"{value!r} is no duration: write 2s, or 500ms")
    seconds = float(found[1]) * _UNITS[found[2]]
    if not 0 < seconds <= MOST_S:
        raise click.BadParameter(f"{value!r} must be more than 0 and at most {MOST_S:g}s")
    return seconds


wait_option = click.option(
    "--wait",
    "wait_s",
    callback=span,
    metavar="DURATION",
    help="Wait so long, as in 2s, for the subscribers to apply it, and say who has.",
)


@contextmanager
def progress(out: Out, *, wanted: bool) -> Iterator[Told | None]:
    """Give what to tell of the way to a receipt: a bar on standard error if it is a terminal."""
    if not wanted or out.as_json or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 - only when something is drawn
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    console = Console(stderr=True, no_color=not colours(sys.stderr), highlight=False)
    columns = (
        TextColumn("dead in", markup=False),
        MofNCompleteColumn(),
        BarColumn(bar_width=30),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def told(applied: "Applied") -> None:
            bar.update(
                task,
                completed=applied.done,
                total=applied.known or None,
                description=_missing(applied),
            )

        yield told


def _missing(applied: "Applied") -> str:
    """Return who has not, shortly."""
    names = [clean(each.name) for each in applied.missing[:_SHOWN]]
    more = applied.known - applied.done - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")
