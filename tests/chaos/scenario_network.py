"""Networks that hold, cut, reset, half-open and slow down what passes."""

import time

from tests.chaos.load import under_load
from tests.chaos.real_tier import Context, scenario
from tests.chaos.stage import Stage

KILLS = 10
SLOW_BYTES_PER_S = 20_000


def _cut_off(context: Context, fault: str) -> None:
    """One subscriber hears nothing, and says so; what it missed is there when it is back."""
    with Stage(context) as stage, under_load(stage) as load:
        # 1. all is well
        load.until(KILLS)
        # 2. the fault, on every way of s1, until s1 has noticed
        for way in stage.ways_of("s1"):
            getattr(way, fault)()
        load.more(KILLS)
        stage.wait(lambda: stage.deaf("s1"), "s1 notices")
        load.more(KILLS)
        load.end()
        stage.hear()
        stage.wait(lambda: stage.have_all("s2", "s3"), "the others miss nothing")
        # 3. healed: from here on, until s1 has everything
        stage.well(fault.replace("_", " "), stage.mend())


@scenario("black hole", shows={"catch-up": "lost", "I2": "lost"})
def black_hole(context: Context) -> None:
    """Nothing passes, and nobody says a word."""
    _cut_off(context, "black_hole")


@scenario("half-open socket", shows={"pings": "broken", "catch-up": "lost"})
def half_open(context: Context) -> None:
    """The server's end is gone, and the client's kernel believes that all is well."""
    _cut_off(context, "half_open")


@scenario("cut", shows={"catch-up": "lost"})
def cut(context: Context) -> None:
    """Connections are closed, and new ones are refused."""
    _cut_off(context, "cut")


@scenario("reset", shows={"I2": "lost", "catch-up": "lost"})
def reset(context: Context) -> None:
    """Every connection of everybody is reset, again and again, under load."""
    with Stage(context) as stage, under_load(stage) as load:
        for _ in range(5):
            load.more(KILLS)
            for way in stage.ways.values():
                way.reset()
        load.more(KILLS)
        load.end()
        stage.well("reset", time.monotonic())


@scenario("publisher cut off", shows={"retry": "lost"})
def publisher_cut_off(context: Context) -> None:
    """Kills are accepted on a host without a network; with it, all are told in order."""
    with Stage(context) as stage, under_load(stage) as load:
        load.until(KILLS)
        for way in stage.ways_of("p1"):
            way.cut()
        load.more(2 * KILLS)
        load.end()
        assert stage.kill(0).durable == ()
        stage.well("publisher cut off", stage.mend())


@scenario("slow subscriber", shows={"catch-up": "lost"})
def slow_subscriber(context: Context) -> None:
    """One that reads slowly holds up nobody else, and has everything in the end."""
    with Stage(context) as stage:
        # 1. s1's ways carry a few dozen messages a second
        for way in stage.ways_of("s1"):
            way.delay_s, way.bytes_per_s = 0.2, SLOW_BYTES_PER_S
        # 2. many kills; the others have them at once
        stage.kill_crowd(300)
        stage.hear()
        stage.wait(lambda: stage.have_all("s2", "s3"), "the others have everything")
        stage.wait(lambda: not stage.have_all("s1"), "s1 is behind")
        # 3. its connections are lost besides
        for way in stage.ways_of("s1"):
            way.reset()
        stage.well("slow subscriber", stage.mend())
