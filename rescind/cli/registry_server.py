"""A registry node for as long as a command runs: for `serve`, and for `up --serve`."""

import importlib.util
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rescind.cli.out import Out
from rescind.errors import BadConfig

if TYPE_CHECKING:
    from rescind.config import Loaded
    from rescind_registry.feeds.carrier import Carrier
    from rescind_registry.node import Node
    from rescind_registry.serving import Server

START_POLL_S = 0.01
KEPT_IN = "admin.token"
"""In the registry's folder, where the first token is not shown on a terminal."""


def check_installed() -> None:
    """Raise `BadConfig` where the packages of the extra are missing."""
    if any(importlib.util.find_spec(each) is None for each in ("litestar", "uvicorn")):
        raise BadConfig(
            "a registry needs the packages litestar and uvicorn: pip install 'rescind[registry]'"
        )


@contextmanager
def serving(out: Out, loaded: "Loaded") -> "Iterator[Server]":
    """Give a server that runs, with all feeds, and say where; raises what starting it raises."""
    check_installed()
    from rescind.registering import running_node  # noqa: PLC0415 - only where it is installed
    from rescind_registry.app import build  # noqa: PLC0415
    from rescind_registry.serving import Server  # noqa: PLC0415

    with running_node(loaded) as running:
        node, carrier = running.node, running.carrier
        app = build(node, carrier.routes(), lifespan=[carrier.lifespan])
        ending = carrier.hub.stop_serving
        with Server(app, node.config, running.listener, before_stop=ending) as server:
            while server.running and not server.started:
                time.sleep(START_POLL_S)
            _show(out, node, carrier)
            yield server


def _show(out: Out, node: "Node", carrier: "Carrier") -> None:
    from rescind.registering import first_token  # noqa: PLC0415 - as above

    token, config = first_token(node), node.config
    kept = None
    if token is not None and not sys.stdout.isatty():
        # What is written here is a log that others read: a token does not belong into it.
        kept, token = _keep(token, config.folder / KEPT_IN), None
    said: dict[str, object] = {"event": "serving", "url": config.origin, "issuer": config.iss}
    said |= {"token": token, "token_file": kept and str(kept), "grpc": carrier.grpc_port}
    out.document({name: value for name, value in said.items() if value is not None})
    out.say(("serving", "green"), f"  {config.origin}")
    out.fields(
        ("issuer", config.iss),
        ("API", f"{config.origin}/openapi.json"),
        ("gRPC", None if carrier.grpc_port is None else f"{config.host}:{carrier.grpc_port}"),
        ("token", None if token is None else (token, "yellow")),
        ("", None if token is None else "may do everything, and is shown this once: keep it"),
        ("token", None if kept is None else f"in {kept}: it may do everything"),
    )


def _keep(token: str, file: Path) -> Path:
    from rescind_publisher.keyfiles import write_secret  # noqa: PLC0415 - as above

    write_secret(file, token.encode() + b"\n", replace=True)
    return file
