"""The examples that documents show do what they say."""

import json
import socket
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

import rescind
from rescind_guard.integrations.mcp import DENIED
from rescind_guard.rego import Rego
from rescind_protocol.keys import jwk
from tests.fakes.badges import Scene
from tests.fakes.fabric import key_of
from tests.fakes.terminal import Running, Terminal, did
from tests.fakes.waiting import WITHIN_S, wait_until

ROOT = Path(__file__).parents[2]
SERVERS = ("mcp_orders", "fastmcp_orders")
REVOKED = f"{DENIED} BADGE_REVOKED"


def test_the_tested_service_passes_its_tests() -> None:
    """`docs/testing.md` shows this file."""
    command = [sys.executable, "-m", "pytest", "-q", "examples/testing_a_service.py"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout
    assert "3 passed" in answer.stdout


@pytest.mark.parametrize(
    ("tool", "level", "reason"),
    [
        ("orders.read", "1", None),
        ("orders.refund", "3", None),
        ("orders.refund", "2", "trust level 2; this needs 3"),
        ("orders.drop", "3", "trust level 3; this needs 4"),
        (None, "1", None),
    ],
)
def test_the_policy_to_start_from(tool: str | None, level: str, reason: str | None) -> None:
    """`docs/policy.md` points at it."""
    policy, scene = Rego(ROOT / "examples/policy"), Scene()
    decision = scene.guard(policy=policy).check(scene.issuer.badge(level), tool=tool)
    assert decision.reason == (reason or decision.reason)
    assert (bool(decision), policy.fault) == (reason is None, None)


@pytest.fixture
def fabric(tmp_path: Path) -> Iterator[Terminal]:
    """`rescind up`, as the README has it."""
    terminal = Terminal(tmp_path / "home")
    with terminal.start("up", "--port", "0", "--json") as running:
        running.wait_for("state", state="LIVE")
        yield terminal


def example(name: str) -> str:
    """Return the path of an example."""
    return str(ROOT / f"examples/{name}.py")


@asynccontextmanager
async def over_stdio(fabric: Terminal, name: str) -> AsyncIterator[Client]:
    """A client of the guarded server, whose process it starts."""
    server = StdioServerParameters(
        command=sys.executable, args=[example(name), "--stdio"], env=fabric.environment()
    )
    async with Client(server, cache=None) as client:
        yield client


@asynccontextmanager
async def over_http(fabric: Terminal, name: str) -> AsyncIterator[Client]:
    """A client of the guarded server, which listens on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, example(name), "--port", str(port)]
    with Running(command, fabric.environment()) as server:
        wait_until(lambda: _listens(port) or server.process.poll() is not None, WITHIN_S)
        async with httpx2.AsyncClient() as http:
            transport = streamable_http_client(f"http://127.0.0.1:{port}/mcp", http_client=http)
            async with Client(transport, cache=None) as client:
                yield client


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def answer(client: Client, badge: str) -> str:
    """Ask for an order; return what the tool said, or the two codes of the refusal."""
    try:
        meta: Any = {"capiscio_caller_badge": badge}
        result = await client.call_tool("order_status", {"number": "7"}, meta=meta)
    except MCPError as error:
        return f"{error.code} {error.data['code']}"
    return str(result.content)


async def until(client: Client, badge: str, said: str) -> None:
    """Ask until that is the answer; a view that follows is fresh, or knows the kill, soon."""
    for _ in range(2000):
        if said in (last := await answer(client, badge)):
            return
    raise AssertionError(f"{said!r} was never the answer, the last was {last!r}")


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("reach", [over_stdio, over_http])
async def test_one_line_guards_a_server_and_two_kill(
    reach: Any, name: str, fabric: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The README's lines: `protect` in the server, `KillSwitch` in a program of its own."""
    monkeypatch.setenv("RESCIND_HOME", str(fabric.home))
    badge, sub = fabric.issue("x7"), rescind.agent(did("x7"))
    connected: AbstractAsyncContextManager[Client] = reach(fabric, name)
    async with connected as client:
        await until(client, badge, "300 widgets")
        with rescind.KillSwitch() as switch:
            receipt = switch.kill(sub, reason_admin="INC-412")
        assert "durable" in str(receipt)
        await until(client, badge, REVOKED)
        assert await answer(client, fabric.issue("x7")) == REVOKED
        assert "300 widgets" in await answer(client, fabric.issue("x8"))


def verified(fabric: Terminal, jwks: Path) -> list[dict[str, Any]]:
    """Run the verifier of events, and return what it prints."""
    settings = tomllib.loads((fabric.home / "rescind.toml").read_text())
    command = [sys.executable, example("verify_events")]
    command += [str(jwks), settings["nats_url"], settings["fabric"]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=WITHIN_S)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_plain_client_reads_and_verifies_the_log(fabric: Terminal, tmp_path: Path) -> None:
    """`docs/formats.md` shows it: nats-py and PyJWT alone, by the keys that `trust jwks` prints."""
    assert fabric.run("kill", "agent", did("x7"), "--reason-admin", "INC-412").code == 0
    jwks = tmp_path / "publishers.jwks.json"
    jwks.write_text(fabric.run("trust", "jwks", "--json").out)
    (found,) = verified(fabric, jwks)
    assert (found["op"], found["target"]) == ("kill", {"kind": "agent", "id": did("x7")})
    stranger = {"keys": [jwk(key_of("stranger").public)]}
    jwks.write_text(json.dumps(stranger))
    (refused,) = verified(fabric, jwks)
    assert refused == {"seq": 1, "refused": "KeyError"}
