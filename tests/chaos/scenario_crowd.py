"""Five hundred subscribers that lose their connections at the same moment."""

from rescind_protocol.limits import HEAD_INTERVAL_S
from tests.chaos.real_tier import Context, scenario
from tests.chaos.servers import Shape
from tests.chaos.stage import Stage

PROCESSES = 2
EACH = 250
KILLS = 5


@scenario("reconnect storm of 500", shows={"catch-up": "lost"}, alone=True)
def storm(context: Context) -> None:
    """All are cut at once, and kills are given; all are back, and have every kill."""
    shape = Shape(
        subscribers={"s1": ("nats",)},
        brokers=("nats",),
        # A fabric's own: four heads a second for each of 500 are half a core of signatures.
        heartbeat_s=HEAD_INTERVAL_S,
    )
    with Stage(context, shape) as stage:
        # 1. five hundred connections of subscribers, all fresh, in a fabric with a history: each
        # has read it, and has a cursor. Without a catch-up nobody would come to know it.
        if context.without is None:
            stage.kill(KILLS)
            stage.wait(stage.drained, "the broker has it")
        crowds = [stage.start_crowd(f"crowd{n}", EACH) for n in range(PROCESSES)]
        stage.wait(lambda: all(stage.stands(each).fresh for each in crowds), "500 are fresh")
        relays = [stage.relays[each.name] for each in crowds]
        context.expect(sum(way.count() for way in relays) >= PROCESSES * EACH, "500 connections")
        # 2. all of them are lost, and kills are given before one is back
        for relay in relays:
            relay.cut()
        for way in stage.ways_of("s1"):
            way.cut()
        for number in range(KILLS):
            stage.kill(number)
        context.expect(not sum(way.count() for way in relays), "none is back")
        healed = stage.mend()
        # 3. all have every kill; each process says when the last of its crowd had applied one
        stage.hear()
        try:
            stage.wait(lambda: None not in map(stage.done_at, crowds), "all 500 have every kill")
            last = max(filter(None, map(stage.done_at, crowds)))
            context.recovered("reconnect storm of 500", last - healed)
            context.expect(all(map(stage.has_all, crowds)), "all 500 say so when asked")
        finally:
            stage.well("reconnect storm: one beside the crowd", healed)
