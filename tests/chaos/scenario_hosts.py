"""Processes that are killed at the worst moment, disks that are full, clocks and loops that lie."""

import time

from tests.chaos.load import under_load
from tests.chaos.real_tier import Context, scenario
from tests.chaos.servers import BROKERS, Shape
from tests.chaos.stage import Stage
from tests.faults.disk import can_mount, file_limit
from tests.faults.processes import freeze, thaw

KILLS = 10
CROWDS = 40
"""Of kills: more than a small disk can take."""
LONG_S = 400.0
"""More than the freshness limit and the skew that is allowed between two hosts."""
HEADS_LATE = 6


def _restart_in_the_dark(stage: Stage, fault: str) -> None:
    """Start a killed s1 with no broker to be reached: it denies what it denied before."""
    for way in stage.ways_of("s1"):
        way.cut()
    stage.start_subscriber("s1")
    stage.probe()
    stage.well(fault, stage.mend())


@scenario("subscriber killed while applying", shows={"I7": "resurrected"})
def killed_while_applying(context: Context) -> None:
    """SIGKILL under load, and a restart with no broker: what was denied and saved is denied."""
    with Stage(context) as stage, under_load(stage) as load:
        # 1. s1 applies, denies, and saves
        load.until(KILLS)
        stage.probe()
        stage.wait_saved("s1")
        # 2. killed among the kills
        load.more(KILLS)
        stage.kill_subscriber("s1")
        load.more(KILLS)
        load.end()
        # 3. back without a broker, then with both
        _restart_in_the_dark(stage, "subscriber killed while applying")


@scenario("subscriber killed while writing its snapshot", shows={"atomic": "resurrected"})
def killed_while_saving(context: Context) -> None:
    """SIGKILL in the middle of the file: the snapshot before it is whole."""
    with Stage(context) as stage:
        # 1. s1 denies and saves
        for number in range(4):
            stage.kill(number)
        stage.hear()
        stage.wait(stage.have_all, "all have everything")
        stage.probe()
        stage.wait_saved("s1")
        # 2. its next process dies in the middle of its next snapshot
        stage.kill_subscriber("s1")
        stage.start_subscriber("s1", dies_at="saving")
        stage.kill(5)
        stage.wait(lambda: stage.subscribers["s1"].gone, "s1 dies while it saves")
        stage.kill_subscriber("s1")
        # 3. back without a broker, then with both
        _restart_in_the_dark(stage, "subscriber killed while writing its snapshot")


@scenario("publisher killed between spool and ack", shows={"drain": "lost"})
def killed_after_commit(context: Context) -> None:
    """Committed and told to nobody: the next run tells it."""
    _killed_at(context, "commit", "publisher killed between spool and ack")


@scenario("publisher killed between the two sinks", shows={"drain": "lost"})
def killed_between_sinks(context: Context) -> None:
    """One broker holds the kill for certain, the other has not seen it: the next run tells it."""
    sinks = context.random.sample(("nats", "redis"), 2)
    _killed_at(context, sinks[0], "publisher killed between the two sinks", late=sinks[1])


def _killed_at(context: Context, moment: str, fault: str, late: str = "") -> None:
    each_alone = Shape(subscribers={"s1": BROKERS, "s2": ("nats",), "s3": ("redis",)})
    with Stage(context, each_alone) as stage:
        # 1. a run that dies at its next kill
        stage.kill_publisher("p1")
        stage.start_publisher("p1", dies_at=moment)
        for way in stage.ways_to(late, "p1"):
            way.cut()
        number = stage.tell_kill(1)
        stage.wait(lambda: stage.publishers["p1"].gone, "the publisher dies")
        stage.bury_publisher("p1")
        stage.mend()
        assert stage.heard.accepted, f"order {number} was not committed"
        # 2. the next run, and whoever follows one broker alone
        stage.start_publisher("p1")
        stage.well(fault, time.monotonic())


@scenario("publisher's disk full", shows={"commit": "lost"})
def publisher_disk_full(context: Context) -> None:
    """A kill that cannot be committed is refused, with a sentence; the next one is accepted."""
    with Stage(context) as stage:
        # 1. no room for one more page, and no broker to have what the disk has not
        assert not stage.kill(1).refused
        for way in stage.ways_of("p1"):
            way.cut()
        spool = stage.folder / "p1" / "spool"
        size = min(path.stat().st_size for path in spool.iterdir() if path.stat().st_size)
        with file_limit(stage.publishers["p1"].pid, min(size, 4096)):
            refused = stage.kill(2, timeout_s=0.1).refused
        # 2. there is room again; a restart finds what was accepted, and no more
        stage.kill_publisher("p1")
        stage.mend()
        stage.start_publisher("p1")
        assert not stage.kill(3).refused
        stage.well("publisher's disk full", time.monotonic())
        if not context.without:
            context.expect("spool" in refused, f"refused by the spool, not {refused!r}")


def publisher_small_disk(context: Context) -> None:
    """A real ENOSPC: refused while it is full, and what was accepted before is not lost."""
    with Stage(context, Shape(agents=2)) as stage:
        # 1. a run whose spool lies on a file system of half a megabyte
        stage.kill_publisher("p1")
        stage.start_publisher("p1", disk_bytes=512 * 1024)
        # 2. kills until it is full
        refused = ""
        for _ in range(CROWDS):
            refused = refused or stage.kill_crowd(20)
        context.expect("full" in refused, f"the disk is full, not {refused!r}")
        # 3. what was accepted reaches everybody, also what was accepted last
        stage.well("publisher on a small disk", time.monotonic())


if can_mount():  # elsewhere it is no scenario, rather than one that never suits
    scenario("publisher on a small disk", shows={"commit": "broken"})(publisher_small_disk)


@scenario("subscriber's disk full", shows={"trouble": "broken"})
def subscriber_disk_full(context: Context) -> None:
    """Its snapshot cannot be written: it says so, denies all the same, and goes on."""
    with Stage(context) as stage:
        with file_limit(stage.subscribers["s1"].pid, 0):
            stage.kill(1)
            stage.wait(lambda: stage.where()["s1"].problems.get("snapshot"), "s1 complains")
            stage.kill(2)
            stage.wait(lambda: stage.denies("s1", 2), "s1 denies all the same")
        stage.kill(3)
        stage.wait(lambda: not stage.where()["s1"].problems.get("snapshot"), "s1 has saved")
        stage.well("subscriber's disk full", time.monotonic())


@scenario("clock jumps", shows={"I2": "lost"})
def clock_jumps(context: Context) -> None:
    """Wall clocks of guarded hosts jump by hours; kills are heard and kept all the same."""
    with Stage(context) as stage, under_load(stage) as load:
        for wrong_s in context.random.sample((-5000.0, -90.0, 50.0, 5000.0), 3):
            stage.set_clock("s1", wrong_s)
            stage.set_clock("s2", -wrong_s)
            load.more(KILLS)
            stage.probe()
        load.end()
        for name in ("s1", "s2"):
            stage.set_clock(name, 0.0)
        stage.well("clock jumps", time.monotonic())


@scenario("blocked event loop", shows={"thread": "broken"})
def blocked_loop(context: Context) -> None:
    """The program's own loop stands still for three seconds; a kill is denied meanwhile."""
    with Stage(context) as stage:
        stage.block("s1", 3.0)
        stage.kill(1)
        stage.wait(lambda: stage.denies("s2", 1), "s2 denies")
        until = time.monotonic() + 1.0
        while not (denied := stage.denies("s1", 1)) and time.monotonic() < until:
            time.sleep(0.01)
        context.expect(denied, "a guard whose program is blocked denies")
        stage.well("blocked event loop", time.monotonic())


@scenario("fork", shows={"fork": "broken"})
def fork(context: Context) -> None:
    """The child denies at once what was known, is not fresh, and hears of the next kill itself."""
    with Stage(context) as stage:
        stage.kill(1)
        stage.wait(lambda: stage.denies("s1", 1), "s1 denies")
        stage.fork("s1", 1, 2)
        stage.wait(stage.forked, "the child has decided")
        stage.kill(2)
        stage.wait(lambda: len(stage.forked()) > 1, "the child has decided again")
        first, later = stage.forked()
        context.expect(first.denied == (True, False), "the child denies what was known")
        context.expect(not first.fresh, "the child is not fresh at once")
        context.expect(later.denied == (True, True), "the child hears of kills itself")
        stage.well("fork", time.monotonic())


@scenario("clock set back and heads held up", shows={"boot clock": "false_fresh"})
def clock_and_late_heads(context: Context) -> None:
    """Heads come late by as much as the wall clock was set back: each alone would show."""
    with Stage(context) as stage:
        # 1. s1's heads come one after the other, but late, and it hears of no kill
        for lies in stage.lies_to("s1"):
            lies.heads_late = HEADS_LATE
        heads = stage.heads("s1")
        stage.wait(lambda: stage.heads("s1") > heads, "late heads come")
        for lies in stage.lies_to("s1"):
            lies.hide = True
        stage.kill(1)
        # 2. long after, its wall clock is set back by as much
        stage.let_pass(LONG_S)
        stage.set_clock("s1", -LONG_S)
        heads = stage.heads("s1")
        stage.wait(lambda: stage.heads("s1") > heads + 1, "late heads come")
        stage.probe()
        # 3. healed
        stage.set_clock("s1", 0.0)
        stage.well("clock set back and heads held up", stage.mend())


@scenario("suspended", shows={"age": "false_fresh"})
def suspended(context: Context) -> None:
    """A guarded process that stood still (SIGSTOP) does not take its old view for a fresh one."""
    with Stage(context) as stage:
        # 1. s1 stands still; a kill is given, and a long time passes
        process = stage.subscribers["s1"]
        freeze(process.pid)
        try:
            for way in stage.ways_of("s1"):
                way.black_hole()
            stage.kill(1)
            stage.let_pass(LONG_S, but="s1")
        finally:
            thaw(process.pid)
        # 2. it goes on, and a call comes before anything that waits in its sockets is read
        stage.probe()
        stage.well("suspended", stage.mend())
