"""How a service ends, and what its publisher knows of it: real processes, real signals."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.terminal import Running, Terminal, did
from tests.fakes.waiting import WITHIN_S, wait_until

START_S = 60.0
"""Of a process with a web framework in it, on a busy machine."""
FOLLOWER = """
import sys, time, rescind
sidecar = rescind.Sidecar(name=sys.argv[1]).start()
print("ready", flush=True)
time.sleep(600)
"""
STARLETTE = """
import sys, rescind
from starlette.applications import Starlette
app = Starlette()
rescind.protect(app, name="star")
"""
LITESTAR = """
import rescind, litestar
app = litestar.Litestar([])
rescind.protect(app, name="star")
"""
NO_LIFESPAN = """
import rescind
async def bare(scope, receive, send):
    assert scope["type"] == "http", "this application knows no lifespan"
app = rescind.wrap(bare, name="star")
"""


def members(terminal: Terminal) -> dict[str, Any]:
    """Return the roster, by name."""
    found = terminal.run("fleet", "list", "--json").document["members"]
    return {each["name"]: each for each in found}


@contextmanager
def process(terminal: Terminal, *words: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """Run Python until the test ends it."""
    with subprocess.Popen(
        [sys.executable, *words],
        env=terminal.environment(RESCIND_HEARTBEAT_S="0.1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        **more,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def test_sigterm_says_goodbye_and_ends_by_the_signal(up: Running, terminal: Terminal) -> None:
    """`atexit` does not run then: it was out of reach for a day, and each kill waited for it."""
    del up
    with process(terminal, "-c", FOLLOWER, "short") as running:
        wait_until(lambda: "short" in members(terminal), START_S)
        running.send_signal(signal.SIGTERM)
        assert running.wait(WITHIN_S) == -signal.SIGTERM
        wait_until(lambda: "short" not in members(terminal))


@pytest.mark.parametrize("program", [STARLETTE, LITESTAR, NO_LIFESPAN])
def test_an_asgi_server_that_ends_says_goodbye(
    up: Running, terminal: Terminal, tmp_path: Path, program: str
) -> None:
    """Uvicorn ends itself by the signal it was sent, with the handlers of before it began."""
    del up
    (tmp_path / "service.py").write_text(program)
    words = ("-m", "uvicorn", "service:app", "--port", "0", "--log-level", "error")
    with process(terminal, *words, cwd=tmp_path) as running:
        wait_until(lambda: "star" in members(terminal), START_S)
        running.send_signal(signal.SIGTERM)
        running.wait(WITHIN_S)
        wait_until(lambda: "star" not in members(terminal))


def test_a_ghost_is_told_from_one_that_is_cut_off(up: Running, terminal: Terminal) -> None:
    """Another of its host finds the dead one's lock free; a frozen one holds its own."""
    del up
    with (
        process(terminal, "-c", FOLLOWER, "frozen") as frozen,
        process(terminal, "-c", FOLLOWER, "dead") as dead,
    ):
        wait_until(lambda: {"frozen", "dead"} <= set(members(terminal)), START_S)
        frozen.send_signal(signal.SIGSTOP)
        dead.kill()
        dead.wait(WITHIN_S)
        with process(terminal, "-c", FOLLOWER, "other") as other:
            wait_until(lambda: "dead" not in members(terminal))
            assert "frozen" in members(terminal)
            assert terminal.run("fleet", "forget", "frozen").code == 0
            assert "frozen" not in members(terminal)
            frozen.send_signal(signal.SIGCONT)
            wait_until(lambda: "frozen" in members(terminal))
            other.terminate()
            frozen.terminate()
            wait_until(lambda: not {"frozen", "other"} & set(members(terminal)))


def test_a_misspelt_name_is_not_forgotten(up: Running, terminal: Terminal) -> None:
    """Nobody is taken off, and the nearest name is said."""
    del up
    with process(terminal, "-c", FOLLOWER, "orders"):
        wait_until(lambda: "orders" in members(terminal), START_S)
        done = terminal.run("fleet", "forget", "order")
        assert (done.code, "did you mean orders?" in done.err) == (1, True)


def test_the_roster_outlives_its_publisher(own: Terminal) -> None:
    """After SIGKILL the new one knows whom it has not heard: "dead in 1/1" is not said of two."""
    with own.start("up", "--port", "0", "--json", RESCIND_HEARTBEAT_S="0.1") as first:
        first.wait_for("state", state="LIVE")
        port = first.wait_for("up")["nats"].rpartition(":")[2]
        frozen = process(own, "-c", FOLLOWER, "frozen")
        with frozen as running:
            wait_until(lambda: "frozen" in members(own), START_S)
            wait_until((own.home / "fleet.msgpack").exists)
            running.send_signal(signal.SIGSTOP)
            os.kill(first.process.pid, signal.SIGKILL)
            with own.start("up", "--port", port, "--json", RESCIND_HEARTBEAT_S="0.1") as second:
                second.wait_for("state", state="LIVE")
                assert "frozen" in members(own)
                done = own.run("kill", "agent", did("x"), "--wait", "100ms")
                assert done.code == 5, done
                assert "dead in 0/1" in done.out
                assert "no call passed" not in done.out
