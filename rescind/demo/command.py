"""`rescind demo`: options, interrupts, exit code. Everything heavy is imported when it runs."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rescind.cli.lazy import LazyGroup
from rescind.errors import EXIT_FAILED, EXIT_OK, exit_code
from rescind_protocol.errors import RescindError

if TYPE_CHECKING:
    from rescind.demo.report import Claim, Summary
    from rescind.demo.screen import Screen
    from rescind.demo.stage import Shape

EXIT_INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FEWEST_SIDECARS = 2
"""One is stopped before the kill, one stays."""


RUNS = {
    "routine": (
        "rescind.demo.runs:routine",
        "Watch a suspension with no push at all: the last badge dies by itself.",
    ),
    "channels": (
        "rescind.demo.runs:channels",
        "Watch a kill through each channel: NATS, Redis, SSE, gRPC, the bundle.",
    ),
}


@click.group(cls=LazyGroup, lazy=RUNS, invoke_without_command=True)
@click.option(
    "--subscribers",
    type=click.IntRange(1 + FEWEST_SIDECARS, 200),
    default=25,
    show_default=True,
    help="Subscribers in all: one in each server, the others processes of their own.",
)
@click.option(
    "--servers",
    type=click.IntRange(1, 50),
    default=5,
    show_default=True,
    help="Guarded MCP servers.",
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Work in this folder, and leave it: keys, stream, spool, logs.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="End with one line of JSON; the rest goes to stderr."
)
@click.option("--no-color", is_flag=True, help="Plain text.")
def demo(
    *, subscribers: int, servers: int, keep: Path | None, as_json: bool, no_color: bool
) -> None:
    """Watch a kill reach every guard: real servers, real processes, a live badge.

    Without a command it starts a fabric of its own on the loopback, kills the badge of an agent at
    work, then kills the brokers too, and checks every claim it makes. Exits with 0 only if all of
    them held. Leaves nothing behind. Without a redis-server on PATH it says which act it skips.
    """
    context = click.get_current_context()
    if context.invoked_subcommand is not None:
        return
    if subscribers < servers + FEWEST_SIDECARS:
        raise click.BadParameter(
            f"{servers} servers need {servers + FEWEST_SIDECARS} subscribers at least: one in "
            f"each server, and {FEWEST_SIDECARS} more",
            param_hint="--subscribers",
        )
    from rescind.demo.screen import Screen  # noqa: PLC0415 - only when it is drawn
    from rescind.demo.stage import Shape  # noqa: PLC0415

    screen = Screen(sys.stderr if as_json else sys.stdout, colour=not no_color)
    context.exit(_run(screen, Shape(subscribers, servers), keep, as_json=as_json))


def _run(screen: "Screen", shape: "Shape", keep: Path | None, *, as_json: bool) -> int:
    """Perform, and return the exit code."""
    import msgspec  # noqa: PLC0415

    try:
        with _interruptible():
            made, summary = _perform(screen, shape, keep)
    except KeyboardInterrupt:
        screen.stop("interrupted; every process has ended")
        return EXIT_INTERRUPTED
    except RescindError as error:
        screen.stop(str(error))
        return exit_code(error)
    finally:
        screen.close()
    screen.verdict(made)
    if as_json:
        click.echo(msgspec.json.encode(summary))
    return EXIT_OK if all(each.held for each in made) else EXIT_FAILED


def _perform(
    screen: "Screen", shape: "Shape", keep: Path | None
) -> tuple[list["Claim"], "Summary"]:
    from rescind.demo.performance import perform  # noqa: PLC0415

    return perform(screen, shape, keep)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Turn Ctrl-C, SIGTERM and SIGHUP into one `KeyboardInterrupt`: what follows is tidying up."""

    def interrupt(*_: object) -> None:
        for each in _ENDINGS:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, interrupt) for each in _ENDINGS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
