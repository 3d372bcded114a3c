"""Every server that forks, started for real: each worker hears a kill, and the master is no guard.

One fabric for all; the table of `docs/services.md` has the same rows.
"""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from rescind.cli.switching import CONTROL
from rescind_publisher.control_client import ControlClient
from tests.fakes.servers import HTTP, OTHERS, ROOT, Served, running, serving, uwsgi
from tests.fakes.terminal import Terminal, did
from tests.fakes.waiting import wait_until


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """Give a fabric that runs, by its command line."""
    terminal = Terminal(tmp_path_factory.mktemp("fabric") / "home")
    with terminal.start("up", "--port", "0", "--json") as up:
        up.wait_for("state", state="LIVE")
        yield terminal


def counted(fabric: Terminal, name: str) -> set[int]:
    """Return the process ids of all of this name whom a receipt would wait for."""
    found = ControlClient(fabric.home / CONTROL).fleet().members
    ours = [each for each in found if each.name == name]
    return {pid for each in ours for pid in getattr(each, "pids", [each.pid])}


WITH_WEBSOCKETS = ("gunicorn gthread", "gunicorn gevent", "uWSGI")


def test_the_answer_of_a_gevent_handler_that_computes_is_withheld(
    fabric: Terminal, tmp_path: Path
) -> None:
    """It never lets another greenlet run: the kill is applied beside it, and its answer kept."""
    badge, until = fabric.issue("computes"), tmp_path / "until"
    environment = fabric.environment(PYTHONPATH=str(ROOT), RESCIND_NAME="computes")
    headers = {"X-Capiscio-Badge": badge, "X-Until": str(until)}
    with running(HTTP["gunicorn gevent"], environment) as served, ThreadPoolExecutor() as pool:
        served.live()
        call = pool.submit(httpx2.get, f"{served.url}/busy", headers=headers, timeout=60)
        wait_until(Path(f"{until}.begun").exists, 30)
        try:
            assert fabric.run("kill", "agent", did("computes"), "--wait", "20s").code == 0
        finally:
            until.touch()
        answer = call.result()
        assert (answer.status_code, answer.json()["code"]) == (401, "BADGE_REVOKED")


def test_threads_that_eventlet_has_replaced_are_refused() -> None:
    """`BadConfig`, before anything follows: no handler that computes may hide a kill."""
    program = "import eventlet; eventlet.monkey_patch(); from rescind import hosts; hosts.check()"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "rescind.errors.BadConfig: eventlet.monkey_patch() has replaced" in done.stderr


@pytest.mark.parametrize("name", [*HTTP, *OTHERS])
def test_each_worker_hears_a_kill_and_the_receipt_counts_the_workers(
    name: str, fabric: Terminal, tmp_path: Path
) -> None:
    """A badge passes, a killed one passes in no worker, and nobody but the workers is counted."""
    agent = name.replace(" ", "-").replace("--", "")
    badge = fabric.issue(agent)
    with serving(name, fabric, tmp_path, RESCIND_NAME=agent) as served, ExitStack() as stack:
        workers = served.live()
        assert served.codes(badge, "OK") == workers
        if served.url:
            assert asked(served, badge) == 200
        if name in WITH_WEBSOCKETS:
            socket = stack.enter_context(websocket(served, badge))
            socket.send("me")
            assert socket.recv() == "me"
        wait_until(lambda: counted(fabric, agent) == workers, 30)
        assert fabric.run("kill", "agent", did(agent)).code == 0
        assert served.codes(badge, "BADGE_REVOKED") == workers
        if served.url:
            assert asked(served, badge) == 401
        if name in WITH_WEBSOCKETS:
            with pytest.raises(ConnectionClosed):  # idle as it is
                socket.recv(30)
            with pytest.raises(InvalidStatus, match="401"):
                websocket(served, badge)


def websocket(served: Served, badge: str) -> ClientConnection:
    """Open a WebSocket on the raw socket of the server."""
    url = served.url.replace("http", "ws", 1) + "/ws"
    return connect(url, additional_headers={"X-Capiscio-Badge": badge}, open_timeout=30)


def asked(served: Served, badge: str) -> int:
    """Return the status of the guarded route."""
    headers = {"X-Capiscio-Badge": badge}
    return httpx2.get(f"{served.url}/who", headers=headers, timeout=30).status_code


@pytest.mark.parametrize("more", [("--master",), ("--master", "--lazy-apps"), ()])
def test_uwsgi_without_threads_is_refused_at_start(more: tuple[str, ...], fabric: Terminal) -> None:
    """`BadConfig` names the setting, and nothing is served unguarded."""
    environment = fabric.environment(PYTHONPATH=str(ROOT))
    with running(uwsgi(*more), environment) as served:
        wait_until(lambda: "enable-threads = true" in served.said(), 60)
        wait_until(lambda: status(served.url) != 0, 30)
        assert status(served.url) == 500


def status(url: str) -> int:
    """Return the status of the exempt route; 0 while nobody listens."""
    try:
        return httpx2.get(f"{url}/told", timeout=30).status_code
    except httpx2.TransportError:
        return 0
