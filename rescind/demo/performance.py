"""The seven acts in order, in one world."""

from pathlib import Path
from typing import TypeVar

from rescind.demo import acts
from rescind.demo.evidence import (
    AgentKill,
    Alone,
    BadgeKill,
    Outage,
    Reinstatement,
    Restart,
    Work,
)
from rescind.demo.report import Act, Claim, Seen, Summary, claims, summarise
from rescind.demo.screen import Screen
from rescind.demo.stage import Shape, build, why_no_redis

A = TypeVar("A", bound=Act)


def perform(screen: Screen, shape: Shape, keep: Path | None) -> tuple[list[Claim], Summary]:
    """Build the world, play, take it down; return every claim, and the figures."""
    screen.open()
    without = why_no_redis()
    made: list[Claim] = []

    def seen(act: A) -> A:
        held = claims(act)
        screen.end(act, held)
        made.extend(held)
        return act

    with build(shape, keep, screen.progress) as stage:
        screen.up(shape, tuple(stage.brokers))
        screen.begin(Work)
        work = seen(acts.work(stage))
        screen.begin(BadgeKill)
        kill = seen(acts.kill_badge(stage))
        screen.begin(Restart)
        restart = seen(acts.restart(stage, work.stopped, kill.change))
        screen.begin(AgentKill)
        seen(acts.kill_agent(stage))
        screen.begin(Reinstatement)
        end = seen(acts.reinstate(stage))
        screen.begin(Outage)
        outage = None if without else seen(acts.lose_nats(stage, kill.change))
        if without:
            screen.skip(without)
        last = ("fifth", outage.kill.change) if outage else ("first", kill.change)
        screen.begin(Alone)
        alone = seen(acts.restart_alone(stage, work.stopped, *last))
    return made, summarise(Seen(kill, restart, end, outage, alone), made, without)
