"""The gate between a commit and the loop: passed once, by whoever is there."""

import threading
from collections.abc import Callable

import pytest

from rescind_publisher import gate
from rescind_publisher.gate import Gate


def nothing() -> None:
    """Send nothing."""


def standing(at: Gate) -> bool:
    """Whether the loop has come to the gate."""
    return at._standing


def at_the_gate(at: Gate) -> tuple[threading.Thread, list[bool]]:
    """Have a loop stand at the gate; return its thread, and what it is told in the end."""
    passed: list[bool] = []
    loop = threading.Thread(target=lambda: passed.append(at.stand()))
    loop.start()
    while not standing(at):
        loop.join(0.001)
    return loop, passed


def test_who_commits_sends_while_the_loop_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent on the committing thread, before the loop goes on; then the loop passes, alone."""
    monkeypatch.setattr(gate, "STAND_BY_S", 60.0)
    at, sent = Gate(), list[tuple[int, bool]]()
    loop, passed = at_the_gate(at)
    at.open(lambda: sent.append((threading.get_ident(), bool(passed))))
    loop.join()
    assert sent == [(threading.get_ident(), False)]
    assert passed == [True]
    assert not at.left
    assert not at.claim()


def test_a_loop_that_comes_late_sends_by_itself() -> None:
    """Nobody else touches what is the loop's while it does not stand still."""
    at, sent = Gate(), list[str]()
    at.open(lambda: sent.append("caller"))
    assert at.stand()
    assert not sent
    assert not at.left


def test_a_slow_commit_does_not_hold_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that went away is passed over; its sockets are not touched, it is asked again."""
    monkeypatch.setattr(gate, "STAND_BY_S", 0.0)
    at, sent = Gate(), list[str]()
    assert not at.stand()
    at.open(lambda: sent.append("caller"))
    assert not sent
    assert at.left
    assert at.claim()
    assert not at.claim()


def test_the_loop_waits_for_a_sending_that_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its patience ends while the other thread writes to its socket: it stands until then."""
    monkeypatch.setattr(gate, "STAND_BY_S", 0.0)
    at = Gate()
    at._turn.acquire()
    loop, passed = at_the_gate(at)
    loop.join(0.01)
    assert loop.is_alive()
    at._opened.release()
    loop.join()
    assert passed == [True]
    assert not at.left


def test_a_sending_that_was_cut_short_does_not_hold_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An interrupt in the committing thread: the events are committed, so the loop sends them."""
    monkeypatch.setattr(gate, "STAND_BY_S", 0.0)
    monkeypatch.setattr(gate, "SENDING_S", 0.0)
    at = Gate()
    at._turn.acquire()
    assert at.stand()


def test_a_sending_that_fails_lets_the_loop_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens in it, the loop is not left standing."""
    monkeypatch.setattr(gate, "STAND_BY_S", 60.0)
    at = Gate()
    loop, passed = at_the_gate(at)

    def fail() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        at.open(fail)
    loop.join()
    assert passed == [True]


def race(sent: Callable[[], None]) -> list[str]:
    """Have the loop's patience end at the moment of the commit; return who passed."""
    at, both, passed = Gate(), threading.Barrier(2), list[str]()

    def loop() -> None:
        both.wait()
        if at.stand():
            passed.append("loop")

    thread = threading.Thread(target=loop)
    thread.start()
    both.wait()
    at.open(sent)
    if at.left and at.claim():
        passed.append("caller")
    thread.join()
    return passed


@pytest.mark.parametrize("patience_s", [0.0, 0.00002, 0.0001])
def test_a_commit_in_the_moment_of_leaving_is_sent_once(
    monkeypatch: pytest.MonkeyPatch, patience_s: float
) -> None:
    """However the two race, exactly one of them passes."""
    monkeypatch.setattr(gate, "STAND_BY_S", patience_s)
    for _ in range(300):
        assert len(race(nothing)) == 1


def test_a_failed_commit_is_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that nobody opens lets nobody pass."""
    monkeypatch.setattr(gate, "STAND_BY_S", 0.0)
    assert not Gate().stand()
