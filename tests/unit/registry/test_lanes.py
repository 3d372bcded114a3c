"""Who gets a thread of a node: a kill does, whoever else asks and whatever else waits."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rescind_publisher.control import NO_WAIT
from rescind_publisher.requests import KillRequest, Order
from rescind_registry import lanes
from rescind_registry.proofs import Proofs
from tests.fakes.holder import DID, enrol
from tests.fakes.registry import Bench, benched
from tests.fakes.waiting import wait_until

HELD = 60
"""Callers that are held up: more than all threads of a lane."""


class Crowd:
    """A node that is asked from many threads, and a gate at which it holds some of them up."""

    def __init__(self, bench: Bench, client: Any, pool: ThreadPoolExecutor) -> None:
        self.bench, self._client, self._pool = bench, client, pool
        self.gate = threading.Event()
        self.held: list[None] = []
        self._admin = bench.token()

    def hold(self) -> None:
        """Wait at the gate."""
        self.held.append(None)
        assert self.gate.wait(30)

    def post(self, path: str, body: Any) -> "Future[Any]":
        """Ask in a thread."""
        return self._pool.submit(self._client.post, path, json=body, headers=self._admin)

    def kill(self, name: str, **body: Any) -> "Future[Any]":
        """Kill."""
        return self.post("/v1/kills", {"targets": [{"kind": "agent", "id": name}], **body})


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    """Give a node."""
    with benched(tmp_path) as (bench, client), ThreadPoolExecutor(2 * HELD) as pool:
        crowd = Crowd(bench, client, pool)
        enrol(bench)
        try:
            yield crowd
        finally:
            crowd.gate.set()


@pytest.fixture
def strangers(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> "list[Future[Any]]":
    """Hold up strangers, each of whom asks for a challenge."""
    make = Proofs.challenge

    def challenge(*args: Any) -> Any:
        crowd.hold()
        return make(*args)

    monkeypatch.setattr(Proofs, "challenge", challenge)
    return [crowd.post(f"/v1/agents/{DID}/badge/challenge", {}) for _ in range(HELD)]


def test_a_kill_is_served_before_strangers(crowd: Crowd, strangers: Any) -> None:
    """With sixty of them held up, it is answered; and they are, in their turn."""
    wait_until(lambda: len(crowd.held) == 2)
    assert crowd.kill("did:web:a.example:x1").result(30).status_code == 200
    assert len(crowd.held) == 2
    crowd.gate.set()
    assert {each.result(30).status_code for each in strangers} == {200}


def test_too_many_strangers_are_told_so(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, with the time after which to try again; nothing of it was done."""
    monkeypatch.setattr(lanes.STRANGERS, "_waiting", 0)
    answer = crowd.post(f"/v1/agents/{DID}/badge/challenge", {}).result(30)
    assert (answer.status_code, answer.json()["code"]) == (503, "BUSY")
    assert answer.headers["retry-after"] == "5"


def test_kills_that_wait_hold_up_no_other(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all threads for waiting taken, a kill is done, and one that would wait is done too."""
    submit, waiting = crowd.bench.submit, "did:web:a.example:w"
    one = threading.Lock()  # the fabric of tests takes one kill at a time

    def slow(order: Order, told: Any = None) -> Any:
        with one:
            receipt = submit(order, told)
        if isinstance(order, KillRequest) and order.wait_s:
            crowd.hold()
        return receipt

    monkeypatch.setattr(crowd.bench, "submit", slow)
    monkeypatch.setattr(lanes.WAITS, "_threads", 5)
    held = [crowd.kill(f"{waiting}{n}", wait_s=30) for n in range(5)]
    wait_until(lambda: len(crowd.held) == 5)
    assert crowd.kill("did:web:a.example:x1").result(30).status_code == 200
    late = crowd.kill("did:web:a.example:x2", wait_s=30).result(30)
    assert (late.status_code, late.json()["warnings"][-1]) == (200, NO_WAIT)
    assert not any(each.done() for each in held)
    crowd.gate.set()
    assert {each.result(30).status_code for each in held} == {200}
