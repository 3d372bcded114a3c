"""Stores that lose what they had: deleted, made anew, emptied, restored from an old copy."""

import asyncio
import shutil
import time
from collections.abc import Callable

from rescind.testing.keys import FABRIC
from rescind_protocol.subjects import stream
from tests.chaos.real_tier import Context, scenario
from tests.chaos.scenario_hostile import LATE, start_anew
from tests.chaos.stage import Stage
from tests.fakes import nats as on_nats
from tests.fakes import redis as on_redis

KILLS = 5


def _lose(context: Context, fault: str, lose: Callable[[Stage], None]) -> None:
    """Kills; the store loses them; one more kill; and whoever starts then has all of them."""
    with Stage(context, LATE) as stage:
        # 1. kills that both stores hold for certain
        for number in range(KILLS):
            stage.kill(number, timeout_s=5.0)
        stage.wait(stage.drained, "both stores have the kills")
        # 2. one of them loses them
        lose(stage)
        # 3. the next kill; who was there misses nothing
        stage.kill(KILLS)
        stage.well(fault, time.monotonic())
        # 4. who comes later neither
        start_anew(stage, "s2", "s3")
        stage.well(f"{fault}: later", time.monotonic())


@scenario("nats stream deleted", shows={"look": "lost"})
def stream_deleted(context: Context) -> None:
    """By somebody with the right to; the publisher makes it anew."""
    _lose(context, "nats stream deleted", lambda stage: asyncio.run(_delete(stage)))


async def _delete(stage: Stage) -> None:
    async with on_nats.linked(stage.nats, "admin") as watched:
        refused = await on_nats.api(watched.link, f"STREAM.PURGE.{stream(FABRIC)}")
        stage.context.expect("error" in refused, "a purge is refused by the stream itself")
        gone = await on_nats.api(watched.link, f"STREAM.DELETE.{stream(FABRIC)}")
        assert gone.get("success"), gone


@scenario("nats store lost", shows={"look": "lost"})
def store_lost(context: Context) -> None:
    """The server comes back with an empty disk."""

    def lose(stage: Stage) -> None:
        stage.nats.stop()
        shutil.rmtree(stage.folder / "store")
        stage.nats.start()

    _lose(context, "nats store lost", lose)


@scenario("nats store restored from an old copy", shows={"look": "lost"})
def store_restored(context: Context) -> None:
    """The server comes back with what it had some kills ago."""

    def lose(stage: Stage) -> None:
        store, copy = stage.folder / "store", stage.folder / "copy"
        stage.nats.stop()
        shutil.copytree(store, copy)
        stage.nats.start()
        for number in range(KILLS + 1, 2 * KILLS):
            stage.kill(number)
        stage.wait(stage.drained, "both stores have the kills")
        stage.nats.stop()
        shutil.rmtree(store)
        copy.rename(store)
        stage.nats.start()

    _lose(context, "nats store restored from an old copy", lose)


@scenario("redis emptied", shows={"fence": "lost"})
def redis_emptied(context: Context) -> None:
    """FLUSHALL, while everybody is connected."""
    _lose(context, "redis emptied", lambda stage: asyncio.run(ask_redis(stage, "FLUSHALL")))


@scenario("redis log trimmed", shows={"fence": "lost"})
def redis_trimmed(context: Context) -> None:
    """By somebody with the right to: the log moves to a new key."""

    def lose(stage: Stage) -> None:
        stage.hear()
        for log in stage.heard.accepted:
            key = on_redis.KEY.removesuffix(on_redis.LOG) + log
            asyncio.run(ask_redis(stage, "XTRIM", key, "MAXLEN", "2"))

    _lose(context, "redis log trimmed", lose)


async def ask_redis(stage: Stage, *words: str) -> None:
    """Ask Redis as somebody who may do anything."""
    async with on_redis.wired(stage.redis) as admin:
        await admin.request(*words)
