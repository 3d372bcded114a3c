"""`rescind scrub`."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import click

from rescind.cli.common import Session, common
from rescind.cli.out import Out, Part, colours, plain
from rescind.errors import EXIT_CANNOT_TELL, EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from rescind_publisher.status import ScrubStatus, SinkStatus, Status

POLL_S = 0.1
MOST_S = 86_400.0

HELP = """Compare all that the brokers hold with this machine's spool, and mend what is missing.

A publisher does so by itself at its start and every `scrub_every_s`; this asks it to begin now,
and waits. An event that a broker has lost, wherever in a log, is sent again and read back. It
reads about a megabyte a second and holds no kill up; Ctrl-C ends the waiting, not the work.

Exit code 1: a broker lacks events that it does not take again, or holds another event of a number
of ours that our own key has signed (the spool was copied, or the key stolen). 4: a broker is away,
or it took longer than --timeout.
"""


class Scrubbing(Protocol):
    """The publisher that runs here, or one of our own."""

    def scrub(self) -> "Status":
        """Begin, and say how it stood."""
        ...

    def status(self) -> "Status":
        """Say how it is."""
        ...


@click.command(help=HELP)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, MOST_S),
    default=600,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the end.",
)
@common
def scrub(session: Session, *, timeout_s: float) -> int:
    """Ask, wait, present."""
    from rescind.cli.switching import engine  # noqa: PLC0415 - help needs none

    with engine(session) as (publisher, _), _bar(session.out) as told:
        ended, sinks = _wait(publisher, timeout_s, told)
    found = {sink.name: sink.scrub for sink in sinks}
    session.out.document({"ended": ended, "sinks": plain(found)})
    for sink in sinks:
        session.out.fields((f"sink {sink.name}", _line(sink.scrub, ended=ended)))
    if not ended:
        session.out.warn(f"it has not ended within {timeout_s:g} s, and goes on")
    return max(_code(each, ended=ended) for each in found.values()) if found else EXIT_OK


def _wait(
    publisher: Scrubbing, timeout_s: float, told: Callable[[int, int], None]
) -> "tuple[bool, tuple[SinkStatus, ...]]":
    """Return whether each sink's comparison that began after the call has ended, and the sinks."""
    until = time.monotonic() + timeout_s
    sinks = publisher.scrub().sinks
    wanted = {s.name: s.scrub.done + 1 + s.scrub.running for s in sinks if s.scrub}
    while True:
        sinks = publisher.status().sinks
        seen = [(s.scrub, wanted.get(s.name, 0)) for s in sinks if s.scrub]
        if all(scrub.done >= want for scrub, want in seen):
            return True, sinks
        now = [scrub for scrub, want in seen if scrub.done + scrub.running >= want]
        told(sum(each.checked for each in now), sum(each.total for each in now))
        if time.monotonic() >= until:
            return False, sinks
        time.sleep(POLL_S)


@contextmanager
def _bar(out: Out) -> Iterator[Callable[[int, int], None]]:
    """Give what to tell of the way: a bar on standard error if it is a terminal."""
    if out.as_json or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console  # noqa: PLC0415 - only when something is drawn
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    console = Console(stderr=True, no_color=not colours(sys.stderr), highlight=False)
    columns: Any = (TextColumn("compared"), MofNCompleteColumn(), BarColumn(bar_width=30))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


def _line(found: "ScrubStatus | None", *, ended: bool) -> Part:
    if found is None:
        return "cannot show what it holds", "yellow"
    counts = f"{found.checked} events compared, {found.lost} were lost, {found.mended} mended"
    if found.forks:
        return f"{counts}; our key has signed another {', another '.join(found.forks)}", "red"
    if found.problem:
        return f"{counts}; not all: {found.problem}", "yellow"
    return counts, "green" if ended and found.lost == found.mended else "yellow"


def _code(found: "ScrubStatus | None", *, ended: bool) -> int:
    if found is None:
        return EXIT_OK
    if found.forks or (ended and found.lost > found.mended):
        return EXIT_FAILED
    return EXIT_CANNOT_TELL if found.problem or not ended else EXIT_OK
