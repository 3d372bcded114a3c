"""`rescind serve`."""

import importlib.util
import time
from typing import TYPE_CHECKING

import click

from rescind.cli.common import Session, common
from rescind.cli.out import Out
from rescind.errors import EXIT_FAILED, EXIT_OK, BadConfig

if TYPE_CHECKING:
    from rescind.registering import Running
    from rescind_registry.feeds.carrier import Carrier
    from rescind_registry.node import Node

POLL_S = 0.5
START_POLL_S = 0.01


@click.command()
@click.option("--listen", metavar="HOST:PORT", help="Where to listen (registry_listen).")
@common
def serve(session: Session, *, listen: str | None) -> int:
    """Run a registry node: badges, the HTTP API, feeds; until Ctrl-C.

    It kills through the publisher that runs on this machine (`rescind up`); if none answers, it is
    one itself. It listens on the loopback; beyond it only with TLS (registry_tls_cert and
    registry_tls_key), and always asks for an API token (`rescind token make`).
    """
    if any(importlib.util.find_spec(each) is None for each in ("litestar", "uvicorn")):
        raise BadConfig(
            "a registry needs the packages litestar and uvicorn: pip install 'rescind[registry]'"
        )
    from rescind.cli.endings import interruptible  # noqa: PLC0415 - help needs none
    from rescind.registering import running_node  # noqa: PLC0415

    session.overrides["registry_listen"] = listen
    with interruptible(), running_node(session.loaded) as running:
        try:
            return _serve(session.out, running)
        except KeyboardInterrupt:
            return EXIT_OK


def _serve(out: Out, running: "Running") -> int:
    from rescind_registry.app import build  # noqa: PLC0415 - help needs none
    from rescind_registry.serving import Server  # noqa: PLC0415

    node, carrier = running.node, running.carrier
    app = build(node, carrier.routes(), lifespan=[carrier.lifespan])
    ending = carrier.hub.stop_serving
    with Server(app, node.config, running.listener, before_stop=ending) as server:
        while server.running and not server.started:
            time.sleep(START_POLL_S)
        _show(out, node, carrier)
        while server.running:
            time.sleep(POLL_S)
    return EXIT_FAILED


def _show(out: Out, node: "Node", carrier: "Carrier") -> None:
    from rescind.registering import first_token  # noqa: PLC0415 - help needs none

    token, config = first_token(node), node.config
    said: dict[str, object] = {"event": "serving", "url": config.origin, "issuer": config.iss}
    said |= {"token": token, "grpc": carrier.grpc_port}
    out.document({name: value for name, value in said.items() if value is not None})
    out.say(("serving", "green"), f"  {config.origin}")
    out.fields(
        ("issuer", config.iss),
        ("API", f"{config.origin}/openapi.json"),
        ("gRPC", None if carrier.grpc_port is None else f"{config.host}:{carrier.grpc_port}"),
        ("token", None if token is None else (token, "yellow")),
        ("", None if token is None else "may do everything, and is shown this once: keep it"),
    )
