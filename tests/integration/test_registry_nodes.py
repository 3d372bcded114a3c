"""Nodes of a registry: two that agree, and an agent that refreshes while it is killed."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from rescind import Sidecar
from rescind.home import LOCAL_ISSUER
from rescind.testing.keys import key_of
from rescind_guard.freshness import SystemClock
from rescind_protocol import targets
from rescind_protocol.keys import jwk
from rescind_subscriber.registry_client import RegistryClient
from rescind_subscriber.renewal import Answer, Issued, Refused
from tests.fakes.terminal import Running, Terminal, did
from tests.fakes.waiting import WITHIN_S, wait_until

AGENTS = {name: did(name) for name in ("suspended", "agent", "badge")}
"""One for each test."""


class Node:
    """A node that runs, asked by its admin."""

    def __init__(self, running: Running, token: str) -> None:
        self.url: str = running.wait_for("serving")["url"]
        self._token = token

    def post(self, path: str, body: object) -> Any:
        """Ask."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)  # noqa: S310 - our own
        with urllib.request.urlopen(request, timeout=WITHIN_S) as answer:  # noqa: S310
            return json.load(answer)

    def kill(self, **named: str) -> None:
        """Kill a target; it is durable when this returns."""
        receipt = self.post("/v1/kills", {"targets": [named]})
        assert receipt["durable"] == ["nats"], receipt

    def client(self, agent: str) -> RegistryClient:
        """Return an agent's side."""
        key = key_of(agent)
        return RegistryClient(self.url, agent, key, issuer=LOCAL_ISSUER, clock=SystemClock())

    def fetch(self, agent: str) -> Answer:
        """Ask for one badge, as the agent."""
        with closing(self.client(agent)) as client:
            return client.fetch()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A fabric that runs."""
    terminal = Terminal(tmp_path_factory.mktemp("nodes") / "home")
    with terminal.start("up", "--port", "0", "--json", RESCIND_HEARTBEAT_S="0.1") as up:
        up.wait_for("state", state="LIVE")
        yield terminal


@pytest.fixture(scope="module")
def nodes(home: Terminal) -> Iterator[tuple[Node, Node]]:
    """Give two nodes of it, and agents that both know."""
    token = home.run("token", "make", "test", "--scope", "admin").out.strip()
    words = ("serve", "--listen", "127.0.0.1:0", "--json")
    with home.start(*words) as one, home.start(*words) as two:
        made = Node(one, token), Node(two, token)
        wait_until(lambda: all(_is_ready(each) for each in made))
        for agent in AGENTS.values():
            body = {"did": agent, "public_key": jwk(key_of(agent).public), "level": 2}
            made[0].post("/v1/agents", body)
        yield made


def _is_ready(node: Node) -> bool:
    try:
        with urllib.request.urlopen(f"{node.url}/readyz", timeout=WITHIN_S) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def test_what_one_node_was_told_the_other_knows(nodes: tuple[Node, Node]) -> None:
    """Agents by the shared folder, kills by the one log."""
    one, two = nodes
    agent = AGENTS["suspended"]
    assert isinstance(two.fetch(agent), Issued)
    one.post(f"/v1/agents/{agent}/disable", {})
    wait_until(lambda: isinstance(two.fetch(agent), Refused))
    assert isinstance(one.fetch(agent), Refused)
    two.post(f"/v1/agents/{agent}/enable", {})
    assert isinstance(two.fetch(agent), Issued)
    wait_until(lambda: isinstance(one.fetch(agent), Issued))


class Refresher:
    """Fetches a badge and calls, again and again; counts what was allowed once it was killed."""

    def __init__(self, node: Node, agent: str, sidecar: Sidecar) -> None:
        self._client, self._sidecar = node.client(agent), sidecar
        self._victims: tuple[targets.Target, ...] = ()
        self.ending = False
        self.allowed = self.allowed_after = self.turns_after = 0
        self.newest = ""
        self.thread = threading.Thread(target=self._run)

    def _applied(self) -> bool:
        table = self._sidecar.subscriber.view.published.table
        return any(table.get(each.digest) is not None for each in self._victims)

    def watch(self, *victims: targets.Target) -> None:
        """Look from now on whether these are applied."""
        self._victims = victims

    def _run(self) -> None:
        with closing(self._client):
            self._refresh_and_call()

    def _refresh_and_call(self) -> None:
        badges: list[str] = []
        while not self.ending:
            after = self._applied()  # before the calls: none that begins now may pass
            passed = sum(bool(self._sidecar.guard.check(each)) for each in badges[-5:])
            answer = self._client.fetch()
            if isinstance(answer, Issued):
                badges.append(answer.token)
                self.newest = answer.jti
                passed += bool(self._sidecar.guard.check(answer.token))
            self.allowed += passed
            self.allowed_after += after * passed
            self.turns_after += after


@pytest.mark.parametrize("what", ["agent", "badge"])
def test_an_agent_that_refreshes_while_it_is_killed_makes_no_allowed_call_after(
    home: Terminal, nodes: tuple[Node, Node], what: str
) -> None:
    """After the kill's application not by any badge, old or new, of either node.

    Control: where only a badge of it is killed, the same loops go on being allowed.
    """
    with Sidecar(home=str(home.home)) as sidecar:
        sidecar.subscriber.wait_fresh(30)
        loops = [Refresher(node, AGENTS[what], sidecar) for node in nodes]
        for each in loops:
            each.thread.start()
        try:
            wait_until(lambda: all(each.allowed > 3 for each in loops), 60)
            if what == "agent":
                victim, named = targets.agent(AGENTS[what]), {"kind": "agent", "id": AGENTS[what]}
            else:
                victim = targets.badge(LOCAL_ISSUER, loops[0].newest)
                named = {"kind": "badge", "iss": victim.iss, "id": victim.id}
            for each in loops:
                each.watch(victim)
            nodes[0].kill(**named)
            wait_until(lambda: all(each.turns_after > 5 for each in loops), 60)
        finally:
            for each in loops:
                each.ending = True
            for each in loops:
                each.thread.join()
    assert (sum(each.allowed_after for each in loops) == 0) is (what == "agent")
