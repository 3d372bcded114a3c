"""One subscriber of the demo, a process of its own: `python -m rescind.demo.sidecar`.

Configured by `RESCIND_*`, as any sidecar is. It says when it is fresh and what it applied, and
answers for any badge it is asked about.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable

from rescind.demo import wire
from rescind.sidecar import Sidecar
from rescind_protocol.events import Event
from rescind_subscriber.errors import SourceRefused, SourceUnavailable
from rescind_subscriber.listeners import Applied
from rescind_subscriber.subscriber import Subscriber

FRESH_WITHIN_S = 60.0


def report_applied(subscriber: Subscriber, send: Callable[[wire.Report], None]) -> None:
    """Report each event applied from now on: before it starts, or what it replays is missed.

    What a snapshot brings is in the view as well, and denies: it is reported by its numbers.
    """

    def report(applied: Applied) -> None:
        at = time.monotonic()
        if isinstance(applied, Event):
            send(wire.Applied(applied.log, applied.seq, at))
            return
        for log, spans in applied.numbers.items():
            for span in spans:
                send(wire.Applied(log, span[-1], at, first=span[0]))

    subscriber.on_applied.append(report)


def report_fresh(subscriber: Subscriber, send: Callable[[wire.Report], None]) -> None:
    """Report, once, that the view of a subscriber that was started is fresh."""

    def wait() -> None:
        try:
            subscriber.wait_fresh(FRESH_WITHIN_S)
        except (SourceRefused, SourceUnavailable) as error:
            sys.stderr.write(f"{error}\n")
            return
        send(wire.Fresh(time.monotonic()))

    threading.Thread(target=wait, name="demo-fresh", daemon=True).start()


def main() -> None:
    """Do as the demo says until it is gone."""
    send = wire.open_reports()
    sidecar = Sidecar()
    send(wire.Ready())
    obey(sidecar, wire.orders(), send)


def obey(
    sidecar: Sidecar, orders: Iterable[wire.Order], send: Callable[[wire.Report], None]
) -> None:
    """Do what each order says."""
    for order in orders:
        if isinstance(order, wire.Check):
            send(wire.Decided(order.badge, sidecar.guard.check(order.token).code))
        elif isinstance(order, wire.Follow):
            report_applied(sidecar.subscriber, send)
            sidecar.start()
            report_fresh(sidecar.subscriber, send)


if __name__ == "__main__":
    main()
