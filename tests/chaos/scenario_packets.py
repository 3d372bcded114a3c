"""Packets that vanish in the kernel: only with RESCIND_CHAOS_NETNS=1, as root, with nft."""

import time
from collections.abc import Callable

from tests.chaos.load import under_load
from tests.chaos.real_tier import Context, scenario
from tests.chaos.stage import Stage
from tests.faults import packets
from tests.faults.packets import Packets

KILLS = 10
LOST_PERCENT = 30


def _ports(stage: Stage, host: str) -> list[int]:
    return [way.port for way in stage.ways_of(host)]


def dropped(context: Context) -> None:
    """Nothing reaches one subscriber any more, and no kernel says so."""
    with Packets() as kernel, Stage(context) as stage, under_load(stage) as load:
        load.until(KILLS)
        # 1. every packet of s1's is dropped, until it has noticed
        kernel.drop(_ports(stage, "s1"))
        load.more(KILLS)
        stage.wait(lambda: stage.deaf("s1"), "s1 notices")
        load.more(KILLS)
        load.end()
        stage.hear()
        stage.wait(lambda: stage.have_all("s2", "s3"), "the others miss nothing")
        # 2. mended
        kernel.mend()
        stage.well("packets dropped", time.monotonic())


def lossy(context: Context) -> None:
    """Three in ten packets of everybody's are lost while kills are said."""
    with Packets() as kernel, Stage(context) as stage, under_load(stage) as load:
        load.until(KILLS)
        kernel.drop([way.port for way in stage.ways.values()], percent=LOST_PERCENT)
        load.more(2 * KILLS)
        kernel.mend()
        load.end()
        stage.well("packets lost", time.monotonic())


def refused(context: Context) -> None:
    """The kernel resets whatever the publisher sends; its kills are accepted, and told later."""
    with Packets() as kernel, Stage(context) as stage, under_load(stage) as load:
        load.until(KILLS)
        kernel.refuse(_ports(stage, "p1"))
        load.more(KILLS)
        load.end()
        kernel.mend()
        stage.well("packets refused", time.monotonic())


ALL: dict[str, tuple[Callable[[Context], None], dict[str, str]]] = {
    "packets dropped": (dropped, {"pings": "broken", "catch-up": "lost"}),
    "packets lost": (lossy, {"I2": "lost"}),
    "packets refused": (refused, {"I2": "lost"}),
}

if packets.opted_in():  # elsewhere they are no scenarios, rather than ones that never suit
    for _name, (_play, _shows) in ALL.items():
        scenario(_name, shows=_shows)(_play)
