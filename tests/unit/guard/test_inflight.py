"""Work in flight: ended by a kill of its badge, and by nothing else."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rescind.testing import Fabric, TestBadge
from rescind_guard import Code, Decision, Guard, Mode, Rule
from rescind_guard.admission import NotAdmitted, WorkEnded
from rescind_guard.inflight import InFlight
from rescind_protocol import targets
from rescind_protocol.targets import Target
from tests.fakes.waiting import WITHIN_S, until, wait_until

KILLS: list[Callable[[TestBadge], TestBadge | Target]] = [
    lambda badge: badge,
    lambda badge: badge.agent,
    lambda _: targets.session("s1"),
    lambda badge: targets.issuer(badge.iss),
    lambda _: targets.everyone(),
]


@pytest.fixture
def fabric() -> Iterator[Fabric]:
    """A fabric in memory."""
    with Fabric() as fabric:
        yield fabric


async def work(guard: Guard, badge: TestBadge, begun: asyncio.Event, **options: Any) -> str:
    """Work that goes on until it is ended; returns why."""
    try:
        async with guard.admit(badge.token, **options):
            begun.set()
            await asyncio.Event().wait()
    except WorkEnded as ended:
        return ended.decision.code
    return "done"


async def started(guard: Guard, badge: TestBadge, **options: Any) -> "asyncio.Task[str]":
    """Return the task of work that was admitted."""
    begun = asyncio.Event()
    task = asyncio.create_task(work(guard, badge, begun, **options))
    await begun.wait()
    return task


@pytest.mark.parametrize("kill", KILLS)
async def test_a_kill_ends_the_work_of_its_badge_alone(
    fabric: Fabric, kill: Callable[[TestBadge], TestBadge | Target]
) -> None:
    """By badge, agent, session, issuer or everyone; another agent's killed badge ends nothing."""
    guard = fabric.guard()
    badge, other = (
        fabric.badge("did:web:a.example:x7", sid="s1"),
        fabric.badge("did:web:a.example:x8"),
    )
    task = await started(guard, badge)
    fabric.kill(other)
    late = await started(guard, badge)  # its admission has the watcher look at what came before
    assert not task.done()
    fabric.kill(kill(badge))
    assert await task == await late == Code.BADGE_REVOKED
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_others_go_on(fabric: Fabric) -> None:
    """The work of a badge that is not killed is never cancelled, whatever else is."""
    guard = fabric.guard()
    live, dead = fabric.badge("did:web:a.example:x7"), fabric.badge("did:web:a.example:x8")
    kept, ended = await started(guard, live), await started(guard, dead)
    fabric.kill(dead)
    assert await ended == Code.BADGE_REVOKED
    assert not kept.done()
    kept.cancel()
    with pytest.raises(asyncio.CancelledError):
        await kept


async def test_without_the_watcher_it_would_go_on(
    fabric: Fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: with the writer's word left out, the kill waits for the end of the work."""
    guard, badge = fabric.guard(), fabric.badge()
    monkeypatch.setattr(InFlight, "changed", lambda _: None)
    task = await started(guard, badge)
    fabric.kill(badge)
    assert guard.check(badge.token).code is Code.BADGE_REVOKED
    for _ in range(100):
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):  # whoever cancels is not told something else
        await task


async def test_what_was_done_is_withheld(fabric: Fabric) -> None:
    """Killed with no wait in between: the block runs to its end, and leaving it raises."""
    guard, badge = fabric.guard(), fabric.badge()
    admission = guard.admit(badge.token)
    with pytest.raises(WorkEnded):
        async with admission:
            fabric.kill(badge)


async def test_a_refused_badge_is_not_admitted(fabric: Fabric) -> None:
    """The body is never entered."""
    guard, badge = fabric.guard(), fabric.badge()
    fabric.kill(badge)
    with pytest.raises(NotAdmitted) as refused:
        async with guard.admit(badge.token):
            raise AssertionError("entered")
    assert refused.value.decision.code is Code.BADGE_REVOKED
    assert not isinstance(refused.value, WorkEnded)


def test_results_of_threads_are_withheld(fabric: Fabric) -> None:
    """`with`, in a thread: nothing is interrupted, the result does not come out."""
    guard, badge = fabric.guard(), fabric.badge()
    entered, killed, out = threading.Event(), threading.Event(), []

    def run() -> None:
        try:
            with guard.admit(badge.token):
                entered.set()
                assert killed.wait(WITHIN_S)
                out.append("worked")
            out.append("answered")
        except WorkEnded as ended:
            out.append(ended.decision.code)

    thread = threading.Thread(target=run)
    thread.start()
    assert entered.wait(WITHIN_S)
    fabric.kill(badge)
    killed.set()
    thread.join(WITHIN_S)
    assert out == ["worked", Code.BADGE_REVOKED]


def test_callbacks_hear_of_it_once(fabric: Fabric) -> None:
    """For work that neither form fits; and never after it was closed."""
    guard, badge = fabric.guard(), fabric.badge()
    heard: list[Decision] = []
    decision = guard.check(badge.token)
    guard.watch(decision, heard.append)
    closed = guard.watch(decision, lambda _: heard.append(None))  # type: ignore[arg-type]
    closed.close()
    fabric.kill(badge)
    wait_until(lambda: heard)
    fabric.kill(badge.agent)
    again: list[Decision] = []
    guard.watch(decision, again.append)
    assert [each.code for each in again] == [Code.BADGE_REVOKED], "killed before it was watched"
    assert [each.code for each in heard] == [Code.BADGE_REVOKED]


def test_one_that_breaks_does_not_keep_the_others(fabric: Fabric) -> None:
    """An error in a callback is logged, and the next one is told."""
    guard, badge = fabric.guard(), fabric.badge()
    heard: list[Decision] = []

    def break_down(_: Decision) -> None:
        raise RuntimeError("broken")

    decision = guard.check(badge.token)
    guard.watch(decision, break_down)
    guard.watch(decision, heard.append)
    fabric.kill(badge)
    wait_until(lambda: heard)


async def test_expiry_ends_it_only_where_asked_for(fabric: Fabric) -> None:
    """Work that was admitted goes on after `exp`, unless it is said that it must not."""
    guard, observing = fabric.guard(), fabric.guard(rule=Rule(Mode.OBSERVE))
    badge = fabric.badge(ttl_s=60)
    kept, ended = await started(guard, badge), await started(guard, badge, until_expiry=True)
    watched = await started(observing, badge, until_expiry=True)
    fabric.pass_s(200)
    await started(guard, fabric.badge(), until_expiry=True)  # virtual time wakes nobody
    assert await ended == Code.BADGE_EXPIRED
    assert not kept.done()
    assert not watched.done(), "observe ends nothing but what is killed"
    fabric.kill(badge.agent)
    assert await kept == Code.BADGE_REVOKED


async def test_every_loop_gets_its_own(fabric: Fabric) -> None:
    """Loops in threads of their own under one view: each one's task is cancelled, in its loop."""
    follower, badge = fabric.follower(), fabric.badge()
    guard = fabric.guard(follower)
    out: list[str] = []

    def run() -> None:
        out.append(asyncio.run(work(guard, badge, asyncio.Event())))

    threads = [threading.Thread(target=run, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    await until(lambda: len(follower.view.inflight) == len(threads))
    fabric.kill(badge)
    await until(lambda: len(out) == len(threads))
    assert set(out) == {Code.BADGE_REVOKED}
    assert not len(follower.view.inflight)


async def test_nested_work_ends_as_one(fabric: Fabric) -> None:
    """Two admissions of one task: both end, and the task is left uncancelled."""
    guard, badge = fabric.guard(), fabric.badge()
    inner: list[str] = []

    async def nested() -> None:
        async with guard.admit(badge.token):
            inner.append(await work(guard, badge, asyncio.Event()))

    task = asyncio.create_task(nested())
    await asyncio.sleep(0)
    fabric.kill(badge)
    with pytest.raises(WorkEnded):
        await task
    assert task.cancelling() == 0


async def test_threads_end_with_the_work(fabric: Fabric, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watcher goes when there has been nothing to watch, and comes back with the next work."""
    monkeypatch.setattr("rescind_guard.inflight.LINGER_S", 0.01)
    follower = fabric.follower()
    guard, badge = fabric.guard(follower), fabric.badge()
    async with guard.admit(badge.token):
        assert follower.view.inflight._thread is not None
    await until(lambda: follower.view.inflight._thread is None)
    task = await started(guard, badge)
    fabric.kill(badge)
    assert await task == Code.BADGE_REVOKED


def test_a_recorder_that_raises_keeps_no_work_from_being_ended(fabric: Fabric) -> None:
    """Whatever a service's own code does with a decision, it stands, and so does a kill."""

    def record(*_: object) -> None:
        raise RuntimeError("the disk is full")

    guard, heard = fabric.guard(recorder=record), list[Decision]()
    badges = [fabric.badge(f"did:web:a.example:x{n}") for n in range(2)]
    for badge in badges:
        decision = guard.check(badge.token)
        assert decision
        guard.watch(decision, heard.append)
    for badge in badges:
        fabric.kill(badge)
    wait_until(lambda: len(heard) == 2)


@pytest.mark.parametrize("broken", [RuntimeError, asyncio.CancelledError, SystemExit])
def test_an_end_that_raises_ends_no_other_s_watch(
    fabric: Fabric, broken: type[BaseException]
) -> None:
    """Not what is an exception for a thread, nor what would end it."""

    def end(_: Decision) -> None:
        raise broken

    guard, badge, heard = fabric.guard(), fabric.badge(), list[Decision]()
    decision = guard.check(badge.token)
    for each in (end, heard.append, end, heard.append):
        guard.watch(decision, each)
    fabric.kill(badge)
    wait_until(lambda: len(heard) == 2)


def test_work_that_cannot_be_looked_at_is_ended_and_others_are_looked_at() -> None:
    """Nobody can say that it may go on."""
    flight, heard, killed = InFlight(), list[Decision](), list[Decision]()

    def look() -> Decision | None:
        raise RuntimeError("a defect")

    flight.add(look, heard.append)
    flight.add(lambda: killed[0] if killed else None, heard.append)
    assert [each.outcome for each in heard] == ["cannot_tell"]
    killed.append(heard[0])
    flight.changed()
    wait_until(lambda: len(heard) == 2)
