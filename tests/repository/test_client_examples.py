"""The clients that the tutorial shows call the services that it shows, as a person runs them."""

import importlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.fakes.terminal import Running, Terminal, did, free_port
from tests.fakes.waiting import WITHIN_S, wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"
ORDER = "300 widgets, shipped"


def asked(terminal: Terminal, client: str, *where: str, **agent: str) -> str:
    """Run a client to its end and return what it printed."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"clients/{client}.py"), *where],
        env=terminal.environment(**agent),
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextmanager
def served(terminal: Terminal, name: str, port: int) -> Iterator[None]:
    """Run an example's server, once it listens."""
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), "--port", str(port)]
    with Running(command, terminal.environment()) as server:
        wait_until(lambda: listens(port) or server.process.poll() is not None)
        yield


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def agent_of(terminal: Terminal, folder: Path, registry: str) -> dict[str, str]:
    """Enrol an agent by a key of its own; return the variables that its clients read."""
    key = folder / "agent.key"
    assert terminal.run("keys", "new", str(key)).code == 0
    enrolled = terminal.run("agents", "enrol", did("x7"), "--key", f"{key}.pub.json")
    assert enrolled.code == 0, enrolled
    return {
        "AGENT_REGISTRY": registry,
        "AGENT_DID": did("x7"),
        "AGENT_KEY": str(key),
        "AGENT_ISSUER": "https://issuer.rescind.local",
    }


def test_the_tutorial_s_clients_are_answered_refused_and_answered_again(tmp_path: Path) -> None:
    """MCP over HTTP by a registry's badge, stdio and plain HTTP by one for trying: killed, back."""
    terminal, mcp_port, http_port = Terminal(tmp_path / "home"), free_port(), free_port()
    here = {"RESCIND_REGISTRY_LISTEN": "127.0.0.1:0"}
    with terminal.start("up", "--serve", "--port", "0", "--json", **here) as running:
        agent = agent_of(terminal, tmp_path, running.wait_for("serving")["url"])
        ways = {
            "http": ("http_client", f"http://127.0.0.1:{http_port}/orders/7"),
            "mcp": ("mcp_client", f"http://127.0.0.1:{mcp_port}/mcp"),
            "stdio": ("mcp_client", sys.executable, f"{EXAMPLES}/mcp_orders.py", "--stdio"),
        }
        with (
            served(terminal, "mcp_orders", mcp_port),
            served(terminal, "fastapi_orders", http_port),
        ):
            badge = {"AGENT_BADGE": terminal.issue("x7")}
            answers = [asked(terminal, *ways["mcp"], **agent)]
            answers += [asked(terminal, *ways[way], **badge) for way in ("stdio", "http")]
            assert answers == [ORDER, ORDER, f"{ORDER} (asked by {did('x7')})"]

            assert terminal.run("kill", "agent", did("x7"), "--wait", "5s").code == 0
            for way, said in (("http", "refused: 401 "), ("mcp", "refused: -31061 ")):
                refused = asked(terminal, *ways[way], **badge)
                assert refused.startswith(said)
                assert "BADGE_REVOKED" in refused
            assert "no badge" in asked(terminal, *ways["mcp"], **agent)

            assert terminal.run("reinstate", "agent", did("x7"), "--wait", "5s").code == 0
            assert asked(terminal, *ways["mcp"], **agent) == ORDER


@pytest.fixture
def badge_auth(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import the clients as they import each other."""
    monkeypatch.syspath_prepend(str(EXAMPLES / "clients"))
    return importlib.import_module("mcp_client").BadgeAuth


def test_a_client_s_connection_goes_on_with_the_next_badge(badge_auth: Any) -> None:
    """The header is set at each request; set once, calls would fail at the first badge's end."""
    badges, sent = iter(["first", "second"]), []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.headers["X-Capiscio-Badge"])
        return httpx2.Response(200)

    auth = badge_auth(lambda: next(badges))
    with httpx2.Client(auth=auth, transport=httpx2.MockTransport(answer)) as http:
        http.get("http://127.0.0.1/")
        http.get("http://127.0.0.1/")
    assert sent == ["first", "second"]
