"""`rescind watch`."""

import queue
import time
from typing import NoReturn

import click

from rescind.cli.common import Session, common, timeout

POLL_S = 0.2


@click.command()
@click.option("--since-start", is_flag=True, help="First show what is in force already.")
@timeout(5, "How long to wait for a fresh view before saying that there is none.")
@common
def watch(session: Session, *, since_start: bool, timeout_s: float) -> NoReturn:
    """Show kills, reinstatements and changes of state as they are applied, until Ctrl-C.

    With --json one line of JSON for each: kill, reinstate, retract, state, in_force.
    """
    from rescind import compose  # noqa: PLC0415 - help needs none
    from rescind.cli.feed import Feed, StateLine, say_warnings  # noqa: PLC0415
    from rescind.cli.following import clock_doubt, following  # noqa: PLC0415
    from rescind_subscriber.errors import SourceUnavailable  # noqa: PLC0415
    from rescind_subscriber.listeners import Applied  # noqa: PLC0415

    say_warnings()
    trust = compose.make_trust(session.loaded)
    feed, states = Feed(session.out, trust), StateLine(session.out)
    events: queue.SimpleQueue[Applied] = queue.SimpleQueue()
    with following(session.loaded) as subscriber:
        states.show(subscriber.status())
        until = time.monotonic() + timeout_s
        while not subscriber.fresh:
            left = until - time.monotonic()
            try:
                subscriber.wait_fresh(max(0.0, left) if left > 0 else 1.0)
            except SourceUnavailable as error:
                if left > 0:
                    session.out.warn(f"{error}{clock_doubt(subscriber)}; still trying")
        # From here on replay is over: every event is a change of what is known.
        subscriber.on_applied.append(events.put)
        states.show(subscriber.status())
        if since_start:
            feed.in_force(subscriber.view.published.table)
        while True:
            states.show(subscriber.status())
            try:
                feed.applied(events.get(timeout=POLL_S), subscriber.view.published.table)
                while not events.empty():
                    feed.applied(events.get(), subscriber.view.published.table)
            except queue.Empty:
                continue
