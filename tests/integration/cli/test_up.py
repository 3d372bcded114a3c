"""`rescind up`: how it starts, what it survives, how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from tests.fakes.terminal import Running, Terminal, did, free_port, refused
from tests.fakes.waiting import WITHIN_S, alive, wait_until
from tests.faults.processes import freeze


def test_a_port_that_is_taken(own: Terminal) -> None:
    """The sentence names another one, and nothing was made."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused(own.run("up", "--port", str(taken.getsockname()[1])), 2, "--port")
    assert not own.home.exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_up_leaves_nothing_behind(own: Terminal, how: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end publisher and server, exit code 0, and it starts again as it was."""
    with own.start("up", "--port", "0", "--json") as running:
        server = running.wait_for("up")["nats_pid"]
        # Ctrl-C goes to a whole process group: the server must outlive the publisher's drain.
        assert os.getpgid(server) != os.getpgid(running.process.pid)
        running.wait_for("state", state="LIVE")
        assert own.run("kill", "agent", did("kept")).code == 0
        assert running.end(how) == 0
    assert not alive(server)
    assert not (own.home / "control" / "control.sock").exists()
    refused(own.run("status", "agent", did("kept"), "--timeout", "0.5"), 4, "cannot be reached")
    with own.start("up", "--json") as again:
        again.wait_for("state", state="LIVE")
        assert again.events("created") == []
        assert own.killed("agent", did("kept"))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_first_start_that_is_cut_short_spoils_nothing(own: Terminal, how: signal.Signals) -> None:
    """Whatever of the folder is there by then, the next start makes it whole and runs."""
    with own.start("up", "--port", "0", "--json") as running:
        wait_until(own.home.exists)
        running.end(how)
    with own.start("up", "--port", "0", "--json") as again:
        again.wait_for("state", state="LIVE")
    assert not [each for each in own.home.iterdir() if each.name in (".making", ".made")]


def test_a_server_that_dies_is_started_again_and_kills_wait(own: Terminal) -> None:
    """A kill meanwhile is accepted, pending (exit code 3), and there in the end."""
    with own.start("up", "--port", "0", "--json") as running:
        server = running.wait_for("up")["nats_pid"]
        running.wait_for("state", state="LIVE")
        freeze(server)  # deaf: it must not have acked before it dies
        done = own.run("kill", "agent", did("waits"), "--timeout", "0.2", "--json")
        assert done.code == 3, done
        assert done.document["pending"] == ["nats"]
        os.kill(server, signal.SIGKILL)
        running.wait_for("nats_down")
        running.wait_for("nats_up")
        wait_until(lambda: own.killed("agent", did("waits")))


def test_a_service_that_just_ends_says_nothing_and_remembers(own: Terminal) -> None:
    """Python ends its threads before it calls who wants to be called: the last save has none."""
    program = (
        "import rescind, rescind.guarding as g; from starlette.applications import Starlette; "
        "made = []; follow = g._follow; g._follow = lambda s: made.append(s) or follow(s); "
        "rescind.protect(Starlette()); made[0].subscriber.wait_fresh(20)"
    )
    with own.start("up", "--port", "0", "--json") as running:
        running.wait_for("state", state="LIVE")
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=own.environment(RESCIND_NAME="ends"),
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert list((own.home / "subscribers").glob("ends*.snapshot"))


def test_a_port_that_is_taken_later_is_not_written(own: Terminal) -> None:
    """The settings stay those of the server that this folder has."""
    with own.start("up", "--port", "0", "--json") as first:
        first.wait_for("up")
    before = (own.home / "rescind.toml").read_bytes()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused(own.run("up", "--port", str(taken.getsockname()[1])), 2, "--port")
    assert (own.home / "rescind.toml").read_bytes() == before


def test_another_port_later(own: Terminal) -> None:
    """--port on a folder that exists writes the port where every command finds it."""
    with own.start("up", "--port", "0", "--json") as first:
        before = first.wait_for("up")["nats"]
    port = free_port()
    with own.start("up", "--port", str(port), "--json") as second:
        assert second.wait_for("up")["nats"] == f"127.0.0.1:{port}" != before
        second.wait_for("state", state="LIVE")
        assert own.run("status").code == 0
    assert (own.home / "rescind.toml").stat().st_mode & 0o077 == 0


def test_a_publisher_at_a_nats_of_its_own(own: Terminal, up: Running, terminal: Terminal) -> None:
    """With --external-nats no server is started; the settings say where to connect."""
    refused(own.run("up", "--external-nats"), 2, "wants settings")
    del up
    settings = terminal.home / "rescind.toml"
    for name in ("publisher.key", "approver.key", "trust.jws"):
        own.home.mkdir(exist_ok=True, mode=0o700)
        (own.home / name).write_bytes((terminal.home / name).read_bytes())
        (own.home / name).chmod(0o600)
    (own.home / "rescind.toml").write_text(settings.read_text())
    (own.home / "rescind.toml").chmod(0o600)
    with own.start("up", "--external-nats", "--json") as running:
        assert running.wait_for("up")["nats_pid"] is None
        running.wait_for("state", state="LIVE")
        assert own.run("kill", "agent", did("external")).code == 0
    assert terminal.killed("agent", did("external"))


def test_json_lines_are_json(up: Running) -> None:
    """Every line that `up --json` wrote is a document with an event."""
    assert all(json.loads(line)["event"] for line in list(up.lines))
