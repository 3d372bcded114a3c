"""A Flask application, for servers of WSGI."""

import os
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

import simple_websocket  # type: ignore[import-untyped]
from flask import Flask, request
from flask_sock import Sock  # type: ignore[import-untyped]

import rescind
from tests.fakes.served import WHY, told

app = Flask("orders")
sock = Sock(app)


@app.get("/who")
def who() -> str:
    """What is guarded."""
    return str(os.getpid())


@app.get("/busy")
def busy() -> str:
    """Compute, without ever waiting, until the file that `X-Until` names is there."""
    Path(request.headers["X-Until"] + ".begun").touch()
    until = request.headers["X-Until"]
    while not os.path.exists(until):  # noqa: PTH110 - nothing in between that a greenlet could use
        pass
    return "PRIVATE"


def echo(ws: Any) -> NoReturn:
    """Say again what is said, on the raw socket."""
    while True:
        ws.send(ws.receive())


def echo_on_descriptor() -> str:
    """Do so on the descriptor that uWSGI tells; its own handshake needs a build with OpenSSL."""
    uwsgi: Any = sys.modules["uwsgi"]
    raw = socket.socket(fileno=os.dup(uwsgi.connection_fd()))
    raw.settimeout(None)
    try:
        echo(simple_websocket.Server({**request.environ, "werkzeug.socket": raw}))
    except simple_websocket.ConnectionClosed:
        return ""
    finally:
        raw.close()


if "uwsgi" in sys.modules:
    app.get("/ws", websocket=True)(echo_on_descriptor)
else:
    sock.route("/ws")(echo)


@app.get("/told")
@rescind.exempt(WHY)
def tell() -> dict[str, Any]:
    """See `told`."""
    return told(sidecar, request.headers.get("X-Asked"))


sidecar = rescind.protect(app)
