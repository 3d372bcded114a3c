"""Five hundred subscribers that lose their connections at the same moment."""

import time

from tests.chaos.real_tier import Context, scenario
from tests.chaos.servers import Shape
from tests.chaos.stage import Stage

PROCESSES = 2
EACH = 250
KILLS = 5


@scenario("reconnect storm of 500", shows={"catch-up": "lost"})
def storm(context: Context) -> None:
    """All are reset at once, while kills are given; all are back, and have every kill."""
    with Stage(context, Shape(subscribers={"s1": ("nats",)}, brokers=("nats",))) as stage:
        # 1. five hundred connections of subscribers, all fresh
        crowds = [stage.start_crowd(f"crowd{n}", EACH) for n in range(PROCESSES)]
        stage.wait(lambda: all(stage.stands(each).fresh for each in crowds), "500 are fresh")
        ways = [stage.way(each.name, "nats") for each in crowds]
        context.expect(sum(way.connections for way in ways) >= PROCESSES * EACH, "500 connections")
        # 2. all of them are lost, and kills are given before one is back
        for way in [*ways, *stage.ways_of("s1")]:
            way.cut()
        for number in range(KILLS):
            stage.kill(number)
        healed = stage.mend()
        # 3. all have every kill
        stage.hear()
        try:
            stage.wait(lambda: all(map(stage.has_all, crowds)), "all 500 have every kill")
            context.recovered("reconnect storm of 500", time.monotonic() - healed)
        finally:
            stage.well("reconnect storm: one beside the crowd", healed)
