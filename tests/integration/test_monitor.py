"""What an operator's tools are told, over HTTP, by real processes on real brokers."""

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import httpx2
import pytest

from rescind.monitor import DISPLACED, MAX_REQUESTS, Health, Monitor
from rescind.sidecar import Sidecar
from rescind_guard import metrics as of_guard
from rescind_publisher import metrics as of_publisher
from rescind_subscriber import metrics as of_subscriber
from rescind_subscriber.states import State
from tests.fakes.terminal import Terminal, did
from tests.fakes.waiting import WITHIN_S, wait_until

GREEN = Health(State.LIVE, 299.5, {})
HANG_S = 20
"""A child that has not ended by then never would."""


def ask(url: str) -> tuple[int, str]:
    """Return status and body."""
    try:
        with urlopen(url, timeout=WITHIN_S) as answer:  # noqa: S310 - a URL of this test
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def ready(url: str) -> tuple[int, Any]:
    """Return status and document of `/readyz`."""
    code, body = ask(f"{url}/readyz")
    return code, json.loads(body)


def has(url: str, line: str) -> bool:
    """Whether a scrape has this line."""
    return line in ask(f"{url}/metrics")[1].splitlines()


def test_publisher_and_guard_through_an_outage(tmp_path: Path) -> None:
    """Both say LIVE; the server is killed and started again, and each step shows."""
    terminal = Terminal(tmp_path / "home")
    with terminal.start("up", "--port", "0", "--metrics-port", "0", "--json") as up:
        at = up.wait_for("up")
        publisher = at["metrics"].removesuffix("/metrics")
        assert publisher.startswith("http://127.0.0.1:")
        with Sidecar(home=str(terminal.home), metrics_port=0, heartbeat_s=0.2) as sidecar:
            assert sidecar.monitor is not None
            guard = sidecar.monitor.url
            for url in (publisher, guard):
                wait_until(lambda url=url: ready(url)[1]["green"])  # type: ignore[misc]
                code, document = ready(url)
                assert (code, document["state"], document["trouble"]) == (200, "LIVE", {})
                assert 290 < document["seconds_until_stale"] <= 300
                assert ask(f"{url}/healthz")[0] == 200
            assert terminal.run("kill", "agent", did("x7")).code == 0
            wait_until(lambda: has(guard, 'rescind_subscriber_events_total{outcome="applied"} 1.0'))
            assert sidecar.guard.check(terminal.issue("x7")).code == "BADGE_REVOKED"
            assert has(guard, 'rescind_guard_decisions_total{code="BADGE_REVOKED"} 1.0')
            assert has(publisher, f"{of_publisher.ACCEPTED} 1.0")
            names = {each.name for each in (*of_subscriber.METRICS, *of_guard.METRICS, DISPLACED)}
            names -= {
                of_subscriber.KEYS_AGE.name,
                of_subscriber.KEY_FETCHES.name,
                of_subscriber.KEYS_IN_TROUBLE.name,
                *(each.name for each in of_guard.METRICS if "_log_" in each.name),
                *(each.name for each in of_subscriber.METRICS if "_unsigned_" in each.name),
            }
            scrape = ask(f"{guard}/metrics")[1]
            assert {line.split()[2] for line in scrape.splitlines() if "# TYPE" in line} == names
            os.kill(at["nats_pid"], signal.SIGKILL)
            wait_until(
                lambda: has(guard, 'rescind_subscriber_faults_total{kind="source_lost"} 1.0')
            )
            up.wait_for("nats_up")
            wait_until(lambda: ready(guard)[1]["green"])
            assert has(guard, 'rescind_subscriber_state{state="LIVE"} 1.0')


def test_not_fresh_is_not_ready(tmp_path: Path) -> None:
    """A guard without a broker is alive and not ready, and says which source is away."""
    terminal = Terminal(tmp_path / "home")
    with terminal.start("up", "--port", "0", "--json") as up:
        up.wait_for("state", state="LIVE")
    with Sidecar(home=str(terminal.home), metrics_port=0) as sidecar:
        assert sidecar.monitor is not None
        url = sidecar.monitor.url
        assert ask(f"{url}/healthz")[0] == 200
        wait_until(lambda: "cannot be reached" in str(ready(url)[1]["trouble"]))
        code, document = ready(url)
        assert (code, document["state"], document["green"]) == (503, "SYNCING", False)
        assert document["seconds_until_stale"] == 0
        assert has(url, 'rescind_subscriber_source_up{source="nats"} 0.0')
    with pytest.raises(OSError, match="refused"):
        ask(f"{url}/healthz")


@pytest.mark.parametrize("state", State)
def test_every_state_has_an_answer(state: State) -> None:
    """Ready is what decides; green is all well."""
    with Monitor(0, list, lambda: Health(state, 0, {})) as monitor:
        code, document = ready(monitor.url)
    assert code == (503 if state in (State.SYNCING, State.STALE) else 200)
    assert document["green"] is (state is State.LIVE)
    assert document["state"] == state


def test_a_port_that_is_taken_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is said, a free one serves until then, and the own port once the other process ends."""
    first = Monitor(0, list, lambda: GREEN).start()
    port = int(first.url.rpartition(":")[2])
    with Monitor(port, list, lambda: GREEN) as second:
        assert f"port {port} of 127.0.0.1 cannot be had" in caplog.text
        assert second.url != first.url
        assert has(second.url, "rescind_metrics_port_in_use 1.0")
        first.stop()
        wait_until(lambda: second.url == first.url)
        assert has(second.url, "rescind_metrics_port_in_use 0.0")


def test_nothing_else_is_answered() -> None:
    """Other paths are 404, other methods 501, and garbage ends its own connection only."""
    with Monitor(0, list, lambda: GREEN) as monitor:
        assert ask(f"{monitor.url}/")[0] == 404
        assert ask(f"{monitor.url}/metrics/../readyz")[0] == 404
        port = int(monitor.url.rpartition(":")[2])
        for raw in (
            b"POST /metrics HTTP/1.0\r\n\r\n",
            b"\x00\xff\r\n\r\n",
            b"GET /" + b"a" * 70000,
        ):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(raw)
                client.shutdown(socket.SHUT_WR)
                assert b"200 OK" not in client.recv(4096)
        assert ready(monitor.url)[0] == 200


def test_head_is_answered_as_get_without_a_body() -> None:
    """A monitor that sends HEAD reads the same status, and the connection is not left askew."""
    with Monitor(0, list, lambda: GREEN) as monitor, httpx2.Client(base_url=monitor.url) as client:
        for path, status in (("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/x", 404)):
            head = client.head(path)
            assert (head.status_code, head.content) == (status, b""), path
            length = head.headers["content-length"]
            assert length == client.get(path).headers["content-length"]


def test_silent_clients_do_not_pile_up() -> None:
    """So many may be slow at a time; the next is closed at once, and one that ends makes room."""
    with Monitor(0, list, lambda: GREEN) as monitor:
        port = int(monitor.url.rpartition(":")[2])
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(MAX_REQUESTS)]
        wait_until(lambda: monitor._server._slots._value == 0)
        with socket.create_connection(("127.0.0.1", port)) as refused:
            assert refused.recv(1) == b""
        silent.pop().close()
        wait_until(lambda: monitor._server._slots._value == 1)
        assert ready(monitor.url)[0] == 200
        for each in silent:
            each.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # that is what is tried
def test_a_forked_child_answers_for_nobody() -> None:
    """The child's copy of the socket is closed: once the parent has ended, nobody listens."""
    monitor = Monitor(0, list, lambda: GREEN).start()
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(tell, b"closed" if monitor._server.socket.fileno() == -1 else b"open")
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(told, 10) == b"closed"
    assert ready(monitor.url)[0] == 200
    monitor.stop()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_can_stop_it() -> None:
    """It waits for no thread of the parent's: such a child would never end."""
    monitor = Monitor(0, list, lambda: GREEN).start()
    pid = os.fork()
    if pid == 0:
        signal.alarm(HANG_S)
        monitor.stop()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert ready(monitor.url)[0] == 200
    monitor.stop()
