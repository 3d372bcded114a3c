"""What an operator's tools ask a process: `/metrics`, `/healthz`, `/readyz`, on the loopback only.

- `/metrics`: Prometheus' text format
- `/healthz`: 200 as long as the process answers
- `/readyz`: 200 while the view is proven fresh, else 503; its body names state and troubles

Ready is fresh, not faultless: with one broker away everything still decides, and a fleet that was
taken out of service for it would make that broker's outage its own. `green` in the body says
whether all is well.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import msgspec

from rescind_guard import forks
from rescind_guard.exposition import CONTENT_TYPE, Family, Metric, one, render
from rescind_subscriber.states import FRESH, State
from rescind_subscriber.status import Status

log = logging.getLogger("rescind")

LOOPBACK = "127.0.0.1"
"""Metrics tell who is killed how often, and come without TLS: they stay on this machine."""
MAX_REQUESTS = 16
"""Answered at the same time; further ones are closed."""
REQUEST_WITHIN_S = 5.0
JSON = "application/json"
POLL_S = 0.25
"""Between two looks whether it was stopped, or its own port is free."""
DISPLACED = Metric(
    "rescind_metrics_port_in_use",
    "1 while `metrics_port` is in use by another process and this one answers on a free port.",
)


class Health(msgspec.Struct, frozen=True):
    """How a process is."""

    state: State
    seconds_until_stale: float
    trouble: dict[str, str]
    """What is wrong, a sentence each."""

    @property
    def ready(self) -> bool:
        """Whether levels 2 to 4 are decided here."""
        return self.state in FRESH

    def document(self) -> dict[str, Any]:
        """Return what `/readyz` says."""
        shown = msgspec.structs.asdict(self)
        green = self.state is State.LIVE and not self.trouble
        return {"ready": self.ready, "green": green, **shown}


def health_of(now: Status, trouble: dict[str, str] | None = None) -> Health:
    """Return the health of a subscriber, and of what else there is in its process."""
    away = {f"source {name}": why for name, why in now.sources.items() if why}
    return Health(now.state, now.seconds_until_stale, away | now.trouble | (trouble or {}))


class Monitor:
    """Answers on a port of the loopback, in threads of its own; a context manager.

    Where the port is in use, it answers on one that is free and takes its own as soon as it can:
    during a reload the process before still has it, and no service ends for its metrics.
    """

    def __init__(
        self, port: int, metrics: Callable[[], Sequence[Family]], health: Callable[[], Health]
    ) -> None:
        """Listen; `port` 0 takes any that is free."""
        self._wanted = port
        self._metrics, self._health = metrics, health
        self._ended = threading.Event()
        try:
            self._server = self._listen(port)
        except OSError as error:
            self._server = self._listen(0)
            log.warning(
                "metrics: port %d of %s cannot be had (%s): they are at %s until it is free; "
                "every process needs a port of its own, 0 takes any",
                port,
                LOOPBACK,
                error.strerror,
                self.url,
            )
        self._thread = threading.Thread(target=self._serve, name="rescind monitor", daemon=True)

    @property
    def url(self) -> str:
        """Where it answers now."""
        return f"http://{LOOPBACK}:{self._server.server_port}"

    @property
    def displaced(self) -> bool:
        """Whether it answers on another port than the one it was given."""
        return self._wanted not in (0, self._server.server_port)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Answer from now on."""
        forks.tell(self)
        self._thread.start()
        return self

    def _serve(self) -> None:
        """Answer, and move to the port that was wanted once nobody else has it."""
        while not self._ended.is_set():
            self._server.handle_request()
            if self.displaced:
                self._move()

    def _move(self) -> None:
        try:
            server = self._listen(self._wanted)
        except OSError:
            return
        before, self._server = self._server, server
        before.server_close()
        log.info("metrics: they are at %s/metrics from now on", self.url)

    def stop(self) -> None:
        """Answer no more."""
        forks.untell(self)
        self._ended.set()
        if self._thread.is_alive():  # not in the child of a fork, which would wait for ever
            self._thread.join()
        self._server.server_close()

    def after_fork(self) -> None:
        """In the child: nobody answers here, so nobody shall think so."""
        self._server.socket.close()

    def _listen(self, port: int) -> "_Server":
        server = _Server((LOOPBACK, port), _Handler)
        server.metrics, server.health = self._all_metrics, self._health
        return server

    def _all_metrics(self) -> list[Family]:
        return [*self._metrics(), one(DISPLACED, int(self.displaced))]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    timeout = POLL_S
    metrics: Callable[[], Sequence[Family]]
    health: Callable[[], Health]

    def __init__(self, *how: Any) -> None:
        self._slots = threading.BoundedSemaphore(MAX_REQUESTS)
        super().__init__(*how)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, or close at once when there are too many."""
        if self._slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Know of a client that went away in mid-request, or of a defect."""
        del request, client_address
        log.debug("a request to the monitor failed: %r", sys.exception())


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = REQUEST_WITHIN_S
    server_version, sys_version = "rescind", ""

    def do_GET(self) -> None:
        """Answer one of the three questions."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._say(HTTPStatus.OK, CONTENT_TYPE, render(self.server.metrics()))
        elif path == "/healthz":
            self._say(HTTPStatus.OK, JSON, json.dumps({"alive": True, "pid": os.getpid()}))
        elif path == "/readyz":
            health = self.server.health()
            status = HTTPStatus.OK if health.ready else HTTPStatus.SERVICE_UNAVAILABLE
            self._say(status, JSON, json.dumps(health.document()))
        else:
            self._say(HTTPStatus.NOT_FOUND, JSON, '{"error": "ask /metrics, /healthz or /readyz"}')

    do_HEAD = do_GET  # noqa: N815 - http.server's name; the same answer without its body

    def _say(self, status: HTTPStatus, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Write no access log."""
