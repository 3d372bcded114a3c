"""The five acts. Each does one thing to the world and returns what was seen."""

import time
from collections.abc import Callable, Iterable, Mapping

from rescind.demo import wire
from rescind.demo.children import Child
from rescind.demo.evidence import (
    AgentKill,
    BadgeKill,
    Calls,
    Change,
    Reinstatement,
    Restart,
    Work,
)
from rescind.demo.issuer import Badge
from rescind.demo.stage import AGENT, Stage
from rescind_protocol import targets
from rescind_publisher.receipts import Receipt

WORK_CALLS = 20
"""Calls of each server before the kill."""
TRIAL_CALLS = 3
"""Calls of each server that show how it answers a badge."""
WITHIN_S = 10.0
"""What has not happened by then did not: the claim about it fails."""
ACTOR = "demo"
UNANSWERED = "no answer"


def work(stage: Stage) -> Work:
    """Let the agent work, then stop one subscriber the hard way."""
    stage.issue("first")
    _wait_for_calls(stage, "first", WORK_CALLS)
    stopped = list(stage.sidecars)[-1]
    stage.sidecars[stopped].kill()
    return Work(_calls(stage, "first"), stopped)


def kill_badge(stage: Stage) -> BadgeKill:
    """Kill the badge that the agent is working with, and watch everyone apply it."""
    badge, running = stage.badges["first"], _running(stage)
    change = _change(
        stage,
        running,
        lambda: stage.switch.kill(
            badge.target,
            badge_exp=badge.exp,
            reason="compromised",
            reason_admin="INC-412",
            reason_user="ask your administrator",
            actor=ACTOR,
        ),
    )
    _wait_for_calls(stage, "first", TRIAL_CALLS, after=change.applied)
    answers = {
        name: _ask(stage, child, "first", badge) if name in change.applied else UNANSWERED
        for name, child in running.items()
        if name in stage.sidecars
    }
    return BadgeKill(change, tuple(running), _calls(stage, "first"), answers)


def restart(stage: Stage, name: str, kill: Change) -> Restart:
    """Start the stopped subscriber again: ask it before it follows, and when it is fresh."""
    badge, child = stage.badges["first"], stage.start_sidecar(name)
    before = _ask(stage, child, "before", badge)
    followed_at = time.monotonic()
    child.tell(wire.Follow())
    stage.children.wait(lambda: bool(child.all(wire.Fresh)), WITHIN_S)
    after = _ask(stage, child, "after", badge)
    replayed = [each.at for each in child.all(wire.Applied) if (each.log, each.seq) == kill.event]
    return Restart(name, before, followed_at, min(replayed, default=None), after)


def kill_agent(stage: Stage) -> AgentKill:
    """Give the agent a fresh badge, kill the agent, and give it another one."""
    stage.issue("second")
    _wait_for_calls(stage, "second", TRIAL_CALLS)
    running = _running(stage)
    change = _change(
        stage,
        running,
        lambda: stage.switch.kill(
            targets.agent(AGENT), reason="compromised", reason_admin="INC-412", actor=ACTOR
        ),
    )
    _wait_for_calls(stage, "second", TRIAL_CALLS, after=change.applied)
    stage.issue("third")
    _wait_for_calls(stage, "third", TRIAL_CALLS)
    return AgentKill(change, tuple(running), _calls(stage, "second"), _calls(stage, "third"))


def reinstate(stage: Stage) -> Reinstatement:
    """Reinstate the agent with the registry's floor; try a new badge, then the old ones again."""
    floor, old, running = stage.issuer.newest_iat, dict(stage.badges), _running(stage)
    change = _change(
        stage,
        running,
        lambda: stage.switch.reinstate(targets.agent(AGENT), floor=floor, actor=ACTOR),
    )
    new_iat = stage.issue("fourth", after=floor).iat
    _wait_for_calls(stage, "fourth", TRIAL_CALLS)
    tried = {name: _try_again(stage, name, badge) for name, badge in old.items()}
    return Reinstatement(change, tuple(running), floor, new_iat, _calls(stage, "fourth"), tried)


def _running(stage: Stage) -> dict[str, Child]:
    return {name: child for name, child in stage.subscribers.items() if not child.stopped}


def _change(stage: Stage, running: Mapping[str, Child], say: Callable[[], Receipt]) -> Change:
    """Say it, and wait until each has applied it or has had its time."""
    called_at = time.monotonic()
    receipt = say()
    event = (receipt.ids[0].log, receipt.ids[0].seq)
    applied: dict[str, float] = {}

    def is_applied() -> bool:
        for name, child in running.items():
            if name not in applied:
                applied.update(
                    (name, report.at)
                    for report in child.all(wire.Applied)
                    if (report.log, report.seq) == event
                )
        return len(applied) == len(running)

    stage.children.wait(is_applied, WITHIN_S)
    sinks = receipt.sinks.values()
    return Change(
        event,
        called_at,
        receipt.accepted_ms,
        _latest(sink.acked_ms for sink in sinks),
        _latest(sink.durable_ms for sink in sinks),
        applied,
    )


def _latest(each: Iterable[float | None]) -> float | None:
    """Return the last of all, None if one is missing."""
    times = list(each)
    known = [at for at in times if at is not None]
    return max(known) if known and len(known) == len(times) else None


def _ask(stage: Stage, child: Child, name: str, badge: Badge) -> str:
    """Ask a sidecar's guard about a badge."""
    child.tell(wire.Check(name, badge.token))

    def answer() -> list[str]:
        return [decided.code for decided in child.all(wire.Decided) if decided.badge == name]

    stage.children.wait(lambda: bool(answer()), WITHIN_S)
    return (answer() or [UNANSWERED])[0]


def _try_again(stage: Stage, name: str, badge: Badge) -> Calls:
    """Let the agent work with an older badge and return how that went."""
    name = f"{name} again"
    stage.carry(name, badge)
    _wait_for_calls(stage, name, TRIAL_CALLS)
    return _calls(stage, name)


def _calls(stage: Stage, name: str) -> Calls:
    made = tuple(call for call in stage.agent.all(wire.Called) if call.badge == name)
    return Calls(tuple(stage.servers), made)


def _wait_for_calls(
    stage: Stage, name: str, count: int, after: Mapping[str, float] | None = None
) -> bool:
    """Wait until each server was called that often with a badge, after its moment in `after`.

    A server that is not in `after` is not waited for.
    """

    def is_done() -> bool:
        calls = _calls(stage, name)
        if after is not None:
            calls = calls.started_after(after)
        asked = [call.server for call in calls.made]
        expected = [server for server in calls.servers if after is None or server in after]
        return all(asked.count(server) >= count for server in expected)

    return stage.children.wait(is_done, WITHIN_S)
