"""Many callers at one moment, as an incident makes them: each kill is in force, or was refused."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from rescind_protocol.targets import agent
from rescind_publisher.control_client import ControlClient
from rescind_publisher.receipts import Receipt
from rescind_publisher.switch import KillSwitch
from tests.fakes.terminal import Done, Running, Terminal, admin_token, did

CALLERS = 500
COMMANDS = 6
"""Of the command line: processes of their own, and so fewer."""
T = TypeVar("T")


@pytest.fixture
def crowd() -> Iterator[Callable[[Callable[[int], T], int], list[T]]]:
    """Give a function that calls another in as many threads, all at one moment."""
    with ThreadPoolExecutor(CALLERS) as pool:

        def call(what: Callable[[int], T], times: int) -> list[T]:
            gate = threading.Barrier(times)

            def one(number: int) -> T:
                gate.wait()
                return what(number)

            return list(pool.map(one, range(times)))

        yield call


def test_a_crowd_at_the_control_socket(up: Running, terminal: Terminal, crowd: Any) -> None:
    """Every one of 500 callers is told that its kill is accepted, and each kill is in force."""
    del up
    client = ControlClient(terminal.home / "control/control.sock")
    before = client.status().live

    def kill(number: int) -> Receipt | Done:
        if number < COMMANDS:
            return terminal.run("kill", "agent", did(f"crowd-{number}"), "--json")
        return KillSwitch(client).kill(agent(did(f"crowd-{number}")))

    said = crowd(kill, CALLERS)
    ids = {(each.document if isinstance(each, Done) else each.to_dict())["ids"][0] for each in said}
    assert len(ids) == CALLERS
    assert client.status().live == before + CALLERS
    assert all(terminal.killed("agent", did(f"crowd-{n}")) for n in (0, CALLERS - 1))


def test_a_crowd_over_http(own: Terminal, crowd: Any) -> None:
    """Every one of 500 requests is answered with a receipt, or a 503 that says nothing was done."""
    listen = {"RESCIND_REGISTRY_LISTEN": "127.0.0.1:0"}
    with own.start("up", "--port", "0", "--serve", "--json", **listen) as up:
        said = up.wait_for("serving")
        client = ControlClient(own.home / "control/control.sock")
        before = client.status().live

        def kill(number: int) -> str:
            body = {"targets": [{"kind": "agent", "id": did(f"crowd-http-{number}")}]}
            while True:
                status, answer = _post(said["url"], admin_token(said), body)
                if status != 503:
                    assert status == 200, answer
                    return str(answer["ids"][0])

        assert len(set(crowd(kill, CALLERS))) == CALLERS
        assert client.status().live == before + CALLERS


def _post(url: str, token: str, body: Any) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        connection.request("POST", "/v1/kills", json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()
