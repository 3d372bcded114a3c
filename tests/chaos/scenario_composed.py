"""Schedules composed at random: several faults at once, on several things, under load."""

from random import Random

from tests.chaos.faults import BROKER_FAULTS, PUBLISHER_FAULTS, SUBSCRIBER_FAULTS, Begin, Undo
from tests.chaos.load import under_load
from tests.chaos.real_tier import COMPOSED, Context, scenario
from tests.chaos.servers import BROKERS, Shape
from tests.chaos.stage import Stage

KILLS = 10
LEAST, MOST = 2, 5
LASTING = 0.5
"""Share of the faults that last to the end; the others end before the next one begins."""
SHAPE = Shape(
    publishers=("p1", "p2"),
    subscribers={"s1": BROKERS, "s2": BROKERS, "s3": ("redis",), "s4": ("nats",)},
)


@scenario(COMPOSED, shows={"I2": "lost"})
def composed(context: Context) -> None:
    """Two publishers, four subscribers, two to five faults."""
    with Stage(context, SHAPE) as stage, under_load(stage) as load:
        load.until(KILLS)
        undo: list[Undo] = []
        # 1. one fault after the other, each on a thing that has none yet
        for thing, name, begin in _chosen(context.random):
            context.note(f"{name} on {thing}")
            end = begin(stage, thing, context.random)
            load.more(KILLS)
            if context.random.random() < LASTING:
                undo.append(end)
            else:
                end()
            stage.probe()
        load.end()
        # 2. all of them are ended; what no way brought is there soon
        for end in reversed(undo):
            end()
        stage.well(COMPOSED, stage.mend())


def _chosen(random: Random) -> list[tuple[str, str, Begin]]:
    """Return things with a fault each; one publisher is always left, to give kills."""
    faults = {"nats": BROKER_FAULTS, "redis": BROKER_FAULTS, "p1": PUBLISHER_FAULTS}
    faults |= dict.fromkeys(SHAPE.subscribers, SUBSCRIBER_FAULTS)
    things = random.sample(sorted(faults), random.randint(LEAST, MOST))
    names = [random.choice(sorted(faults[thing])) for thing in things]
    return [(thing, name, faults[thing][name]) for thing, name in zip(things, names, strict=True)]
