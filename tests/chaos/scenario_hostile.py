"""Brokers that lie: they can hide for a while, and cannot forge, replay into effect, or reorder."""

import asyncio
import time

from rescind.testing.keys import FABRIC
from rescind_protocol import subjects
from tests.chaos.load import under_load
from tests.chaos.real_tier import Context, scenario
from tests.chaos.servers import BROKERS, Shape
from tests.chaos.stage import Stage
from tests.chaos.weak_parts import guessable_id
from tests.fakes import nats as on_nats

KILLS = 20
OFTEN = 0.3
LONG_S = 400.0
"""More than the freshness limit and the skew that is allowed between two hosts."""
GARBAGE = 30
OLD_HEADS = 4
LATE = Shape(subscribers={"s1": BROKERS, "s2": ("nats",), "s3": ("redis",)})


def start_anew(stage: Stage, *names: str) -> None:
    """Let subscribers start without any memory: they know what is stored, and no more."""
    for name in names:
        stage.kill_subscriber(name)
        stage.forget(name)
        stage.start_subscriber(name, remembers=False)


@scenario("messages dropped, doubled, reordered, replayed", shows={"catch-up": "lost"})
def messages_mixed(context: Context) -> None:
    """Both brokers do all of that to everybody's events, under load."""
    with Stage(context) as stage, under_load(stage) as load:
        for name in stage.subscribers:
            for lies in stage.lies_to(name):
                lies.drop = lies.double = lies.reorder = lies.replay = OFTEN
        load.until(2 * KILLS)
        stage.probe()
        load.end()
        context.expect(sum(lies.told for lies in stage.lies.values()) > KILLS, "lies were told")
        stage.well("messages dropped, doubled, reordered, replayed", stage.mend())


@scenario("old heads, events hidden", shows={"I4": "false_fresh"})
def old_heads(context: Context) -> None:
    """A view whose brokers hide everything and repeat an old head is stale, and says so."""
    with Stage(context) as stage:
        # 1. from now on s1 hears of nothing, and the same head again and again
        for lies in stage.lies_to("s1"):
            lies.hide = lies.old_heads = True
        stage.kill(1)
        # 2. long after, it may not call itself fresh
        stage.let_pass(LONG_S)
        told = stage.told("s1")
        stage.wait(lambda: stage.told("s1") > told + OLD_HEADS, "old heads come")
        stage.probe()
        stage.well("old heads, events hidden", stage.mend())


@scenario("flipped bits", shows={"signatures": "diverged"})
def flipped_bits(context: Context) -> None:
    """One bit of every third event is changed, on its way into a store and to everybody."""
    with Stage(context) as stage, under_load(stage) as load:
        for lies in stage.lies.values():
            lies.flip = OFTEN
        # Not in the store of Redis: other bytes under an event's number are a fork there, which
        # the sink refuses to write over, and says so.
        stage.lies["p1", "nats"].flip_stored = OFTEN
        load.until(2 * KILLS)
        load.end()
        context.expect(sum(lies.told for lies in stage.lies.values()) > KILLS, "bits were flipped")
        stage.mend()
        # What is stored by then is read by somebody who knows nothing.
        start_anew(stage, "s1", "s3")
        stage.well("flipped bits", time.monotonic())


@scenario("forged acks", shows={"read back": "lost"})
def forged_acks(context: Context) -> None:
    """Both brokers throw kills away and acknowledge them: no receipt says that they are durable."""
    with Stage(context, LATE) as stage:
        for lies in stage.lies_to("p1"):
            lies.forge_acks = True
        durable = [stage.kill(number, timeout_s=0.3).durable for number in range(4)]
        forged = all(lies.told for lies in stage.lies_to("p1"))
        stage.well("forged acks", stage.mend())
        start_anew(stage, "s2", "s3")
        stage.well("forged acks: later", time.monotonic())
        context.expect(forged, "acks were forged")
        context.expect(not any(durable), f"nothing is durable: {durable}")


@scenario("garbage under a kill's message id", shows={"msgid": "lost"})
def garbage_first(context: Context) -> None:
    """Whoever may write fills the stream with garbage under ids that the next kills could have."""
    with Stage(context, LATE) as stage:
        stage.kill(0, timeout_s=5.0)
        (log,) = stage.logs("p1")
        asyncio.run(_inject(stage, log))
        for number in range(1, 5):
            stage.kill(number)
        stage.well("garbage under a kill's message id", time.monotonic())
        start_anew(stage, "s2")
        stage.well("garbage under a kill's message id: later", time.monotonic())


async def _inject(stage: Stage, log: str) -> None:
    async with on_nats.linked(stage.nats, "publisher") as watched:
        for seq in range(2, GARBAGE):
            message_id = {"Nats-Msg-Id": guessable_id(log, seq)}
            subject = subjects.log(FABRIC, log)
            await on_nats.store(watched.link, b"garbage %d" % seq, subject=subject, **message_id)
