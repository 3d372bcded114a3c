"""What can befall a stream, in real servers: named, said, and healed by what the next run sends."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rescind.embedded import EmbeddedRedis, EmbeddedServer
from rescind_protocol import subjects
from rescind_publisher.sinks.base import Sink
from rescind_publisher.sinks.nats import NatsSink
from rescind_publisher.stream import wanted
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.faults import Fault
from rescind_subscriber.sources.base import Source
from rescind_subscriber.sources.nats import NatsSource
from rescind_subscriber.sources.redis import RedisSource
from rescind_subscriber.subscriber import Subscriber
from tests.fakes import nats as on_nats
from tests.fakes import redis as on_redis
from tests.fakes.fabric import make_trust
from tests.fakes.nats import FABRIC, STREAM, admin_server, api, linked
from tests.fakes.publishing import switched, target
from tests.fakes.waiting import WITHIN_S, wait_until

OFTEN = SubscriberConfig(
    heartbeat_s=0.1, retry_s=0.02, retry_most_s=0.2, reread_every_s=0.2, reports=False
)


class World:
    """One broker, its publisher's spool, and a subscriber."""

    def __init__(
        self, folder: Path, sink: Callable[[], Sink], source: Callable[[], Source]
    ) -> None:
        self.folder, self._sink, self._source = folder, sink, source

    @contextmanager
    def following(self) -> Iterator[Subscriber]:
        """Give a subscriber, with no memory on disk."""
        with Subscriber(make_trust(), lambda: [self._source()], config=OFTEN) as subscriber:
            yield subscriber

    def kill(self, *numbers: int) -> None:
        """Let a publisher run that kills these, and stays until the broker has all its spool."""
        with switched(self.folder, self._sink()) as switch:
            for number in numbers:
                assert switch.kill(target(number), timeout_s=WITHIN_S).durable
            with self.following() as late:  # a head covers what no broker lacks any more
                late.wait_fresh(WITHIN_S)


def dead(at: Subscriber, *numbers: int) -> bool:
    """Whether the view denies all of these targets."""
    table = at.view.published.table
    return all(table.get(target(number).digest) is not None for number in numbers)


def read_to_the_end(at: Subscriber) -> None:
    """Return when it has read twice more: the second began after all that was stored before."""
    before = at.status().reads.get("complete", 0)
    wait_until(lambda: at.status().reads.get("complete", 0) > before + 1, WITHIN_S)


async def befall(
    world: World, damage: Callable[[], Any], fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    """Damage what a subscriber has read; it names that, knows its kills, and is healed."""
    with world.following() as at:
        world.kill(1, 2, 3)
        wait_until(lambda: dead(at, 1, 2, 3), WITHIN_S)
        read_to_the_end(at)
        assert fault not in at.status().faults
        await damage()
        wait_until(lambda: at.status().faults.get(fault), WITHIN_S)
        assert any(line.startswith(f"{fault}: source ") for line in caplog.messages)
        assert dead(at, 1, 2, 3)
        world.kill(4)
        wait_until(lambda: dead(at, 1, 2, 3, 4), WITHIN_S)
        read_to_the_end(at)
        seen = at.status().faults[fault]
        read_to_the_end(at)
        assert at.status().faults[fault] == seen
        assert Fault.WRONG_SUM not in at.status().faults
    with world.following() as late:  # all of it is stored again
        wait_until(lambda: dead(late, 1, 2, 3, 4), WITHIN_S)


def on(server: EmbeddedServer, folder: Path) -> World:
    """Return a world around a NATS server."""
    return World(
        folder,
        lambda: NatsSink(FABRIC, on_nats.options(server, "publisher")),
        lambda: NatsSource(FABRIC, on_nats.options(server, "subscriber")),
    )


@pytest.mark.parametrize(
    ("garbage", "fault"), [(0, Fault.STREAM_REWOUND), (40, Fault.STREAM_REPLACED)]
)
async def test_a_stream_in_nats_made_anew(
    garbage: int,
    fault: Fault,
    nats: EmbeddedServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Empty, nothing lies at the cursor; grown beyond it by others' messages, other bytes do."""

    async def make_anew() -> None:
        async with linked(nats, "admin") as admin:
            await api(admin.link, f"STREAM.DELETE.{STREAM}")
            assert "error" not in await api(
                admin.link, f"STREAM.CREATE.{STREAM}", **wanted(FABRIC, 1)
            )
            await on_nats.store(admin.link, *(b"other %d" % at for at in range(garbage)))

    await befall(on(nats, tmp_path), make_anew, fault, caplog)


async def test_an_old_copy_of_a_nats_store(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The server is killed and comes back with yesterday's disk: behind the cursor."""
    server = admin_server(tmp_path)
    server.start()
    world = on(server, tmp_path)
    world.kill(100)
    server.stop()
    shutil.copytree(tmp_path / "store", tmp_path / "copy")
    server.start()

    async def restore() -> None:
        os.kill(server.pid, signal.SIGKILL)
        server.stop()
        shutil.rmtree(tmp_path / "store")
        (tmp_path / "copy").rename(tmp_path / "store")
        server.start()

    try:
        await befall(world, restore, Fault.STREAM_REWOUND, caplog)
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ([("DEL", "{key}"), ("DEL", on_redis.INDEX)], Fault.STREAM_REWOUND),
        (
            [("XTRIM", "{key}", "MINID", "9-0"), ("XADD", "{key}", "9-0", "x", "x")],
            Fault.STREAM_TRIMMED,
        ),
        ([("DEL", "{key}"), ("XADD", "{key}", "3-0", "event", "other")], Fault.STREAM_REPLACED),
    ],
    ids=["flushed", "trimmed", "other bytes"],
)
async def test_a_damaged_stream_in_redis(
    damage: list[tuple[str, ...]],
    fault: Fault,
    redis: EmbeddedRedis,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Flushed, trimmed beyond the cursor, or with other bytes at it: three names."""

    async def inflict() -> None:
        async with on_redis.wired(redis) as admin:
            for log in await admin.request("HGETALL", on_redis.INDEX):
                key = subjects.redis_log(FABRIC, log.decode())
                for command in damage:
                    await admin.request(*(word.replace("{key}", key) for word in command))

    world = World(
        tmp_path,
        lambda: on_redis.sink_of(redis),
        lambda: RedisSource(FABRIC, on_redis.options(redis, "subscriber")),
    )
    await befall(world, inflict, fault, caplog)
