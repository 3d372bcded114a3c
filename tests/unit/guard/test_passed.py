"""The calls that passed: which are remembered, and how many of them a kill's target made."""

import threading

import pytest

from rescind_guard.passed import PassedCalls
from rescind_guard.view import View
from rescind_protocol.limits import MAX_PASSED_STEPS
from rescind_protocol.reports import Passed
from rescind_protocol.targets import Target, agent, everyone
from tests.fakes.badges import AGENT, Scene
from tests.fakes.fabric import NOW

ME = agent(AGENT)
OTHER = agent("did:web:acme.example:other")


def before(view: View, at: float, *targets: Target) -> Passed:
    """Return what had passed before a kill of these targets, applied at `at`."""
    (found,) = view.passed.before([(at, [target.digest for target in targets])])
    return found


def test_each_allowed_call_is_remembered_with_its_time() -> None:
    """Cold, cached and self-chosen policy alike; oldest calls with the greatest age."""
    scene = Scene()
    view, token = scene.revocations.view, scene.issuer.badge()
    for guard in (scene.guard(), scene.guard(policy=lambda *_: None)):
        for _ in range(3):
            assert guard.check(token)
            scene.clock.advance(0.010)
    assert before(view, scene.clock.boot(), ME).within(1e6) == 6
    found = before(view, scene.clock.boot(), ME)
    assert found.within(35) == 3
    assert found.reach_ms is None


def test_calls_of_others_and_later_ones_do_not_count() -> None:
    """Only badges that the kill names, and only before it was applied."""
    scene = Scene()
    guard, view = scene.guard(), scene.revocations.view
    guard.check(scene.issuer.badge())
    applied_at = scene.clock.boot()
    scene.clock.advance(1)
    guard.check(scene.issuer.badge())
    assert before(view, applied_at, OTHER) == Passed()
    assert before(view, applied_at, OTHER, ME).within(1e6) == 1
    assert before(view, applied_at, everyone()).within(1e6) == 1


def test_what_is_refused_is_not_remembered() -> None:
    """A killed badge, an unknown one, a policy's no, an exempt method: none of them is a call."""
    scene = Scene()
    token = scene.issuer.badge()
    scene.guard(policy=lambda *_: "no").check(token)
    scene.guard(minimum_level=4).check(token)
    scene.guard().check("junk")
    scene.guard().admits_exempt(token)
    scene.revocations.kill(ME)
    scene.guard().check(token)
    assert len(scene.revocations.view.passed) == 0


def test_a_full_ring_says_how_far_back_it_reaches() -> None:
    """What was forgotten cannot be counted, so the figure is a least one."""
    scene = Scene()
    scene.revocations.view.passed = PassedCalls(3)
    guard, token = scene.guard(), scene.issuer.badge()
    for _ in range(5):
        guard.check(token)
        scene.clock.advance(0.1)
    found = before(scene.revocations.view, scene.clock.boot(), ME)
    assert found.within(1e6) == 3
    assert found.reach_ms in (299, 300)
    assert not found.reaches(400)


def test_many_steps_are_cut_and_none_is_lost() -> None:
    """What has no room counts with the last step: rather too young than left out."""
    scene = Scene()
    guard, token = scene.guard(), scene.issuer.badge(exp=NOW + 3000)
    for _ in range(200):
        guard.check(token)
        scene.clock.advance(0.001)
    found = before(scene.revocations.view, scene.clock.boot(), ME)
    assert len(found.steps) == MAX_PASSED_STEPS
    assert found.within(1e6) == 200
    assert found.within(10) in (9, 10, 11)


def test_a_ring_that_moves_too_fast_admits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GIL a copy can fail again and again: then nothing is known, and it says so."""
    calls = PassedCalls()
    monkeypatch.setattr(PassedCalls, "_copy", lambda _: None)
    (found,) = calls.before([(1.0, [ME.digest])])
    assert not found.reaches(0.1)


def test_threads_append_while_it_is_read() -> None:
    """Guards on other threads neither wait nor break a reader."""
    scene = Scene()
    guard, token = scene.guard(), scene.issuer.badge()
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            guard.check(token)

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    counts = [before(scene.revocations.view, 1e9, ME).within(1e18) for _ in range(15)]
    stop.set()
    for thread in threads:
        thread.join()
    assert counts == sorted(counts)
