"""Servers that die, freeze, and come back: NATS, Redis, both."""

import time
from statistics import median

from tests.chaos.load import under_load
from tests.chaos.real_tier import Context, scenario
from tests.chaos.servers import BROKERS, Shape
from tests.chaos.stage import Stage
from tests.faults.processes import crash, frozen

KILLS = 20
ON_NATS = Shape(
    subscribers={"s1": BROKERS, "s2": BROKERS, "s3": ("nats",)},
    alone="redis",
)


@scenario("nats killed under load", shows={"I2": "lost", "fallback": "lost"})
def nats_killed(context: Context) -> None:
    """SIGKILL of NATS while kills are given, and a restart on the same store."""
    with Stage(context) as stage, under_load(stage) as load:
        # 1. kills are given all the time; NATS dies among them
        load.until(KILLS)
        crash(stage.nats)
        # 2. kills go on, and reach everybody through Redis
        load.more(KILLS)
        load.end()
        stage.well("nats killed under load", time.monotonic(), drained=False)
        # 3. NATS is back, and gets what it missed
        stage.nats.start()
        stage.well("nats restarted", time.monotonic())


@scenario("redis killed under load", shows={"retry": "lost"})
def redis_killed(context: Context) -> None:
    """The other way round; whoever follows Redis alone catches up when it is back."""
    with Stage(context) as stage, under_load(stage) as load:
        # 1. Redis dies among the kills; those who follow NATS miss nothing
        load.until(KILLS)
        crash(stage.redis)
        load.more(KILLS)
        load.end()
        stage.hear()
        stage.wait(lambda: stage.have_all("s1", "s2"), "the kills come through NATS")
        # 2. Redis is back
        stage.redis.start()
        stage.well("redis restarted", time.monotonic())


@scenario("nats gone for good", shows={"fallback": "lost"})
def nats_gone(context: Context) -> None:
    """Redis alone carries the fabric: heads, kills, and a subscriber that starts with nothing."""
    with Stage(context) as stage:
        # 1. NATS goes, and does not come back
        stage.kill(1)
        crash(stage.nats)
        # 2. kills and heads go on
        for number in range(2, 6):
            stage.kill(number)
        # 3. a subscriber without any memory starts from Redis alone
        stage.kill_subscriber("s3")
        stage.forget("s3")
        stage.start_subscriber("s3", remembers=False)
        stage.well("nats gone for good", time.monotonic(), drained=False)


@scenario("redis gone for good", shows={"fallback": "lost"})
def redis_gone(context: Context) -> None:
    """NATS stands alone, as it does where no Redis is configured."""
    with Stage(context, ON_NATS) as stage:
        stage.kill(1)
        crash(stage.redis)
        for number in range(2, 6):
            stage.kill(number)
        stage.well("redis gone for good", time.monotonic(), drained=False)


@scenario("both gone, then back", shows={"drain": "lost"})
def both_gone(context: Context) -> None:
    """Kills are accepted with no broker at all, and reach everybody when one is back."""
    with Stage(context) as stage, under_load(stage) as load:
        # 1. both die; kills go on being accepted, and pending
        load.until(KILLS)
        crash(stage.nats)
        crash(stage.redis)
        load.more(KILLS)
        load.end()
        assert stage.kill(3).durable == ()
        # 2. the publisher itself is killed before any broker has them
        stage.kill_publisher("p1")
        stage.start_publisher("p1")
        # 3. both are back
        stage.nats.start()
        stage.redis.start()
        stage.well("both gone, then back", time.monotonic())


@scenario("nats frozen", shows={"fallback": "lost"})
def nats_frozen(context: Context) -> None:
    """A server that is stopped (SIGSTOP) holds up nothing: kills take the other way."""
    with Stage(context, Shape(agents=40)) as stage:
        # 1. how long a kill takes until the last subscriber has it
        well = [stage.reach_s(number) for number in range(KILLS)]
        with frozen(stage.nats.pid):
            # 2. the same with NATS frozen, from the first kill on
            stage.kill(KILLS)
            stage.well("nats frozen", time.monotonic(), drained=False)
            ill = [stage.reach_s(number) for number in range(KILLS, 2 * KILLS)]
        # 3. it goes on, and gets what it missed
        context.measured("kill to the last of 3, both well", well)
        context.measured("kill to the last of 3, NATS frozen", ill)
        context.ratio("NATS frozen / both well", median(ill) / median(well))
        stage.well("nats thawed", time.monotonic())


@scenario("redis frozen", shows={"catch-up": "lost"})
def redis_frozen(context: Context) -> None:
    """The same with Redis: whoever follows it alone is caught up when it goes on."""
    with Stage(context) as stage:
        with frozen(stage.redis.pid):
            # 1. kills reach whoever follows NATS
            for number in range(4):
                stage.kill(number)
            stage.hear()
            stage.wait(lambda: stage.have_all("s1", "s2"), "the kills come through NATS")
            # 2. until whoever follows Redis alone has noticed
            stage.wait(lambda: stage.deaf("s3"), "s3 notices")
        stage.well("redis thawed", time.monotonic())


@scenario("many callers", shows={"fence": "lost"})
def many_callers(context: Context) -> None:
    """Hundreds of kills at once, and no fault at all: none overtakes another out of the log."""
    with Stage(context, Shape(agents=2)) as stage:
        stage.kill_crowd(200)
        stage.well("many callers", time.monotonic())
