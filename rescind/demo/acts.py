"""The seven acts. Each does one thing to the world and returns what was seen."""

import time
from collections.abc import Callable, Iterable, Mapping

from rescind.demo import wire
from rescind.demo.children import START_WITHIN_S, Child
from rescind.demo.evidence import (
    AgentKill,
    Alone,
    BadgeKill,
    Calls,
    Change,
    Outage,
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
WITHIN_S = 30.0
"""What has not happened by then did not: the claim about it fails.

Nothing waits so long where it does happen. A receipt comes as soon as each broker has the kill or
is known to be away; with its usual two seconds the claims would be about the machine.
"""
ACTOR = "demo"
BROKERS = {"nats": "NATS", "redis": "Redis"}
"""What people call the sinks."""
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
    return _kill_badge(stage, "first", [])


def _kill_badge(stage: Stage, name: str, receipts: list[Receipt]) -> BadgeKill:
    badge, running = stage.badges[name], _running(stage)

    def say() -> Receipt:
        receipts.append(
            stage.switch.kill(
                badge.target,
                badge_exp=badge.exp,
                reason="compromise",
                reason_admin="INC-412",
                reason_user="ask your administrator",
                actor=ACTOR,
                timeout_s=WITHIN_S,
            )
        )
        return receipts[-1]

    change = _change(stage, running, say)
    _wait_for_calls(stage, name, TRIAL_CALLS, after=change.applied)
    answers = {
        each: _ask(stage, child, name, badge) if each in change.applied else UNANSWERED
        for each, child in running.items()
        if each in stage.sidecars
    }
    return BadgeKill(change, tuple(running), _calls(stage, name), answers)


def restart(stage: Stage, name: str, kill: Change) -> Restart:
    """Start the stopped subscriber again: ask it before it follows, and when it is fresh."""
    badge, child = stage.badges["first"], stage.start_sidecar(name)
    before = _ask(stage, child, "before", badge)
    followed_at = time.monotonic()
    child.tell(wire.Follow())

    def replayed() -> list[float]:
        return [each.at for each in child.all(wire.Applied) if each.has(kill.event)]

    stage.children.wait(lambda: bool(child.all(wire.Fresh) and replayed()), WITHIN_S)
    after = _ask(stage, child, "after", badge)
    return Restart(name, before, followed_at, min(replayed(), default=None), after)


def kill_agent(stage: Stage) -> AgentKill:
    """Give the agent a fresh badge, kill the agent, and give it another one."""
    stage.issue("second")
    _wait_for_calls(stage, "second", TRIAL_CALLS)
    running = _running(stage)
    change = _change(
        stage,
        running,
        lambda: stage.switch.kill(
            targets.agent(AGENT),
            reason="compromise",
            reason_admin="INC-412",
            actor=ACTOR,
            timeout_s=WITHIN_S,
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
        lambda: stage.switch.reinstate(
            targets.agent(AGENT), floor=floor, actor=ACTOR, timeout_s=WITHIN_S
        ),
    )
    new_iat = stage.issue("fourth", after=floor).iat
    _wait_for_calls(stage, "fourth", TRIAL_CALLS)
    tried = {name: _try_again(stage, name, badge) for name, badge in old.items()}
    return Reinstatement(change, tuple(running), floor, new_iat, _calls(stage, "fourth"), tried)


def lose_nats(stage: Stage, before: Change) -> Outage:
    """Kill the nats-server, then the badge that the agent works with: Redis carries it."""
    stage.issue("fifth", after=stage.issuer.newest_iat)
    _wait_for_calls(stage, "fifth", TRIAL_CALLS)
    stage.brokers["NATS"].kill()
    receipts: list[Receipt] = []
    kill = _kill_badge(stage, "fifth", receipts)
    receipt = receipts[0]
    return Outage(kill, receipt.durable, receipt.pending, before)


def restart_alone(stage: Stage, name: str, killed: str, change: Change) -> Alone:
    """Kill every broker and a subscriber, and ask it about both kinds of badge when it is back.

    Its disk is all it has: the act waits until its local snapshot holds the kill, for a kill of the
    last five seconds may not be in it yet.
    """
    stage.wait_remembered(name, change.event, WITHIN_S)
    for broker in stage.brokers.values():
        broker.kill()
    stage.sidecars[name].kill()
    child = stage.start_sidecar(name)
    child.tell(wire.Follow())
    code_killed = _ask(stage, child, "killed", stage.badges[killed])
    code_living = _ask(stage, child, "living", stage.badges["fourth"])
    gone = tuple(each for each, broker in stage.brokers.items() if not broker.running)
    return Alone(name, gone, code_killed, code_living, fresh=bool(child.all(wire.Fresh)))


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
                    (name, report.at) for report in child.all(wire.Applied) if report.has(event)
                )
        return len(applied) == len(running)

    stage.children.wait(is_applied, WITHIN_S)
    sinks = receipt.sinks
    return Change(
        event,
        called_at,
        receipt.accepted_ms,
        {BROKERS.get(name, name): sink.acked_ms for name, sink in sinks.items()},
        _latest(sink.durable_ms for sink in sinks.values()),
        applied,
    )


def _latest(each: Iterable[float | None]) -> float | None:
    """Return the last of all, None if one is missing."""
    times = list(each)
    known = [at for at in times if at is not None]
    return max(known) if known and len(known) == len(times) else None


def _ask(stage: Stage, child: Child, name: str, badge: Badge) -> str:
    """Ask a sidecar's guard about a badge; one that was just started may take as long as that."""
    stage.children.wait(lambda: bool(child.reports), START_WITHIN_S)
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
