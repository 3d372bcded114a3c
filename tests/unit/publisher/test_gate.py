"""The gate between a commit and the loop: passed once, by whoever is there."""

import threading

import pytest

from rescind_publisher import gate
from rescind_publisher.gate import Gate


def test_the_loop_passes_when_the_gate_is_opened() -> None:
    """A loop that stands at the gate goes on at the commit, and nobody else does."""
    at = Gate()
    passed: list[bool] = []
    loop = threading.Thread(target=lambda: passed.append(at.wait()))
    loop.start()
    at.open()
    loop.join()
    assert passed == [True]
    assert not at.left
    assert not at.claim()


def test_a_slow_commit_does_not_hold_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that went away is passed over, and the committing thread sends by itself."""
    monkeypatch.setattr(gate, "STAND_BY_S", 0.0)
    at = Gate()
    assert not at.wait()
    at.open()
    assert at.left
    assert at.claim()
    assert not at.claim()


def test_a_commit_in_the_moment_of_leaving_is_sent_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the two race, exactly one of them passes."""
    monkeypatch.setattr(gate, "STAND_BY_S", 0.0)
    for _ in range(500):
        at = Gate()
        both = threading.Barrier(2)
        passed: list[str] = []

        def loop(at: Gate = at, both: threading.Barrier = both, to: list[str] = passed) -> None:
            both.wait()
            if at.wait():
                to.append("loop")

        thread = threading.Thread(target=loop)
        thread.start()
        both.wait()
        at.open()
        if at.left and at.claim():
            passed.append("caller")
        thread.join()
        assert len(passed) == 1


def test_a_failed_commit_is_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that nobody opens lets nobody pass."""
    monkeypatch.setattr(gate, "STAND_BY_S", 0.0)
    assert not Gate().wait()
