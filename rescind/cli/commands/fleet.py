"""`rescind fleet`."""

import difflib
from typing import TYPE_CHECKING

import click

from rescind.cli import fleet as subscribers
from rescind.cli.common import Session, common
from rescind.cli.out import plain
from rescind.errors import EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from rescind_publisher.control_client import ControlClient


@click.group()
def fleet() -> None:
    """List the subscribers that the publisher here knows of, or forget one that is gone for good.

    A subscriber that stops says goodbye. One that was killed is taken off when another process of
    its host finds that it has ended. Until then it is *out of reach*: ended with its whole host, or
    cut off and serving: only you can tell which. It is waited for by `kill --wait`, and forgotten
    after a day.
    """


@fleet.command("list", short_help="List the subscribers.")
@common
def list_(session: Session) -> int:
    """List every subscriber, its state, and when it was last heard."""
    found = _client(session).fleet()
    session.out.document(plain(found))
    if not found.members:
        session.out.say("no subscriber is known")
    subscribers.show(session.out, found)
    return EXIT_OK


@fleet.command(short_help="Forget a subscriber that is gone.")
@click.argument("name")
@common
def forget(session: Session, *, name: str) -> int:
    """Forget NAME (or NAME@HOST, NAME@HOST#PID); one that lives is back with its next report."""
    client = _client(session)
    count = client.forget(name)
    near: list[str] = []
    if not count:
        known = {each.name for each in client.fleet().members}
        near = difflib.get_close_matches(name, sorted(known), 1)
    session.out.document({"name": name, "forgotten": count, "did_you_mean": near or None})
    if not count:
        hint = f"; did you mean {near[0]}?" if near else ""
        session.out.warn(f"no subscriber is called {name}{hint}")
        return EXIT_FAILED
    noun = "process" if count == 1 else "processes"
    session.out.say(("forgotten", "yellow"), f" {name}, {count} {noun}")
    return EXIT_OK


def _client(session: Session) -> "ControlClient":
    from rescind.cli.switching import CONTROL  # noqa: PLC0415 - help needs none
    from rescind_publisher.control_client import ControlClient  # noqa: PLC0415

    return ControlClient(session.loaded.home / CONTROL)
