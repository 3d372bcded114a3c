"""The embedded redis-server: bound to its parent, locked, closed to strangers."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rescind.embedded import EmbeddedRedis, EmbeddedServerError
from rescind.embedded.redis import USERS, users_acl
from tests.fakes.redis import redis_server, wired
from tests.fakes.waiting import alive, wait_until

PARENT = """
import sys, threading, time
from rescind.embedded import EmbeddedRedis
import rescind.embedded.redis as module
if sys.argv[1] == "unbound":
    module.bound = lambda *command: list(command)
server = EmbeddedRedis()
thread = threading.Thread(target=server.start); thread.start(); thread.join()
print(server.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(("how", "outlives"), [("bound", False), ("unbound", True)])
def test_it_dies_with_its_parent(how: str, outlives: bool) -> None:  # noqa: FBT001
    """SIGKILL of the parent ends the server; without the binding (the control) it lives on."""
    command = [sys.executable, "-c", PARENT, how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    if outlives:
        assert alive(pid)
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid))


async def test_a_restart_keeps_port_and_data(tmp_path: Path) -> None:
    """The same address and what was written are there again."""
    server = redis_server(tmp_path / "redis")
    with server:
        port = server.port
        async with wired(server) as admin:
            await admin.request("SET", "a", "1")
    with server:
        assert server.port == port
        async with wired(server) as admin:
            assert await admin.request("GET", "a") == b"1"


def test_one_store_one_server(tmp_path: Path) -> None:
    """A second server on the same store is refused."""
    with (
        redis_server(tmp_path / "redis"),
        pytest.raises(EmbeddedServerError, match="in use by another server"),
    ):
        redis_server(tmp_path / "redis").start()


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """A port that was asked for and is taken is said; nothing stays behind."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = redis_server(tmp_path / "redis", port=taken.getsockname()[1])
        with pytest.raises(EmbeddedServerError, match="the port is taken"):
            server.start()
        assert not server.running


def test_no_binary_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence names the package."""
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(EmbeddedServerError, match="install the package redis-server"):
        EmbeddedRedis().start()


def test_the_users_file_as_shipped_lets_nobody_in(tmp_path: Path) -> None:
    """Without its passwords' digests the server refuses to start: none is set by mistake."""
    server = EmbeddedRedis(tmp_path / "redis", passwords={"subscriber": "x"})
    with pytest.raises(EmbeddedServerError, match="did not start"):
        server.start()


def test_no_password_is_written() -> None:
    """The users file has digests, and the fabric's name in every line that names keys."""
    text = users_acl("prod", {user: f"{user}-secret" for user in USERS})
    assert "secret" not in text
    assert "PASSWORD" not in text
    assert "{default}" not in text
    assert text.count("{prod}") >= 4
