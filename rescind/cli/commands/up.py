"""`rescind up`."""

import os
import shlex
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from rescind.cli.common import Session, common
from rescind.cli.endings import going_on, shield
from rescind.cli.out import Out
from rescind.errors import EXIT_OK

if TYPE_CHECKING:
    from rescind.cli.feed import Feed
    from rescind.config import Loaded
    from rescind.embedded import EmbeddedServer
    from rescind.monitor import Monitor
    from rescind.publishing import LocalPublisher

POLL_S = 0.2


@click.command()
@click.option("--fabric", metavar="NAME", help="Name of a new fabric. [default: default]")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port of the embedded server; 0: any that is free. [default: 4222]",
)
@click.option(
    "--external-nats", is_flag=True, help="Start no server: use the addresses of the settings."
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    help="Answer /metrics, /healthz and /readyz on this port of 127.0.0.1; 0: any that is free.",
)
@click.option("--serve", is_flag=True, help="Also run a registry node (see `rescind serve`).")
@common
def up(
    session: Session,
    *,
    fabric: str | None,
    port: int | None,
    external_nats: bool,
    metrics_port: int | None,
    serve: bool,
) -> int:
    """Run a fabric on this machine: an embedded NATS server and a publisher, until Ctrl-C.

    At its first start it makes the fabric's folder: keys, trust file, passwords, settings. The
    server listens on the loopback only. To grow beyond one machine, run your own NATS (see
    deploy/nats/) and give the publisher its address with --external-nats.
    """
    from rescind import compose  # noqa: PLC0415 - help needs none
    from rescind.cli.feed import Feed, say_warnings  # noqa: PLC0415
    from rescind.cli.settling import settle  # noqa: PLC0415

    say_warnings()
    session.overrides["fabric"] = fabric
    out, log = session.out, Log(session.out)
    with going_on(as_json=session.out.as_json), ExitStack() as running:
        loaded = settle(session, fabric, port, external=external_nats)
        server = None if external_nats else _start_server(running, loaded)
        publisher = _start_publisher(running, loaded)
        monitor = _start_monitor(running, publisher, metrics_port)
        trust = compose.make_trust(loaded)
        _show(out, loaded, server, monitor)
        if serve:
            _start_registry(running, out, loaded)
        try:
            _attend(Feed(out, trust), log, server, publisher)
        except KeyboardInterrupt:
            shield()
            log.line("stopping", "yellow", "what no broker has yet stays in the spool")
            running.close()
    log.line("stopped", "yellow", "")
    return EXIT_OK


class Log:
    """Lines with the time of day; with --json events."""

    def __init__(self, out: Out) -> None:
        self.out = out

    def line(self, word: str, colour: str, sentence: str) -> None:
        """Write one."""
        self.out.document({"event": word.replace(" ", "_"), "message": sentence})
        at = time.strftime("%H:%M:%S")
        self.out.say((f"{at}  ", "dim"), (f"{word:<9}", colour), f" {sentence}".rstrip())

    def trouble(self, word: str, sentence: str) -> None:
        """Write what went wrong, or right again."""
        self.line(word, "red" if word.endswith("down") else "green", sentence)


def _start_server(running: ExitStack, loaded: "Loaded") -> "EmbeddedServer":
    from rescind.cli.serving import make_server  # noqa: PLC0415 - help needs none

    return running.enter_context(make_server(loaded))


def _start_publisher(running: ExitStack, loaded: "Loaded") -> "LocalPublisher":
    from rescind.publishing import LocalPublisher  # noqa: PLC0415 - help needs none

    publisher = LocalPublisher(loaded)
    running.callback(publisher.close)
    publisher.start()
    return publisher


def _start_monitor(
    running: ExitStack, publisher: "LocalPublisher", port: int | None
) -> "Monitor | None":
    if port is None:
        return None
    from rescind.monitor import Monitor  # noqa: PLC0415 - only when asked for

    return running.enter_context(Monitor(port, publisher.metrics, publisher.health))


def _start_registry(running: ExitStack, out: Out, loaded: "Loaded") -> None:
    from rescind.cli.registry_server import serving  # noqa: PLC0415 - needs an extra

    running.enter_context(serving(out, loaded))


def _show(
    out: Out, loaded: "Loaded", server: "EmbeddedServer | None", monitor: "Monitor | None"
) -> None:
    from rescind_subscriber.nats_link import NatsOptions  # noqa: PLC0415 - help needs none

    where = NatsOptions(url=loaded.settings.nats_url, inbox_prefix="_").shown
    document: dict[str, Any] = {"event": "up", "fabric": loaded.settings.fabric}
    document |= {"home": str(loaded.home), "nats": where, "pid": os.getpid()}
    document |= {"metrics": monitor and f"{monitor.url}/metrics"}
    out.document(document | {"nats_pid": server.pid if server else None})
    out.say(("up", "green"), f"  fabric {loaded.settings.fabric}")
    out.fields(
        ("NATS", f"{where}, this machine only, pid {server.pid}" if server else where),
        ("publisher", f"{loaded.settings.publisher}, pid {os.getpid()}"),
        ("metrics", f"{monitor.url}/metrics" if monitor else None),
    )
    for line in HOW.format(home=shlex.quote(str(loaded.home))).splitlines():
        out.say(line)
    out.say()


HOW = """
Put a guard in front of an MCP server:
  export RESCIND_HOME={home}
  python: import rescind
          server = MCPServer("orders")
          rescind.protect(server)

Kill, from another terminal:
  export RESCIND_HOME={home}
  rescind kill agent did:web:acme.example:x7

Ctrl-C ends it. Further lines show what changes:"""


def _attend(
    feed: "Feed", log: Log, server: "EmbeddedServer | None", publisher: "LocalPublisher"
) -> None:
    """Look after everything and show what changes, until interrupted."""
    import queue  # noqa: PLC0415 - help needs none

    from rescind.cli.feed import StateLine  # noqa: PLC0415
    from rescind.cli.serving import Keeper  # noqa: PLC0415
    from rescind_subscriber.listeners import Applied  # noqa: PLC0415

    events: queue.SimpleQueue[Applied] = queue.SimpleQueue()
    states = StateLine(log.out)
    keeper = Keeper(server, log.trouble) if server else None
    listening, troubles = False, Troubles(log)
    while True:
        if not listening and publisher.subscriber.fresh:
            publisher.subscriber.on_applied.append(events.put)
            listening = True
        states.show(publisher.subscriber.status())
        troubles.show(publisher.status())
        if keeper:
            keeper.look()
        try:
            feed.applied(events.get(timeout=POLL_S), publisher.subscriber.view.published.table)
            while not events.empty():
                feed.applied(events.get(), publisher.subscriber.view.published.table)
        except queue.Empty:
            continue


class Troubles:
    """Says when a sink begins or ceases to be in trouble."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._last: dict[str, str | None] = {}

    def show(self, status: Any) -> None:
        """Write what changed since the last call."""
        for sink in status.sinks:
            if (sink.problem or None) != self._last.get(sink.name):
                self._last[sink.name] = sink.problem or None
                if sink.problem:
                    self._log.trouble("sink down", sink.problem)
                else:
                    self._log.trouble("sink up", f"{sink.name}, {sink.pending} pending")
