"""Stores that somebody changes while they are used: seen without a kill, said, left as they are."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rescind.embedded import EmbeddedRedis, EmbeddedServer
from rescind_protocol import subjects
from rescind_publisher import metrics
from rescind_publisher.drain import Outlet
from rescind_publisher.engine import Publisher
from rescind_publisher.sinks.nats import NatsSink
from rescind_publisher.stream import wanted
from rescind_publisher.switch import KillSwitch
from tests.fakes import redis as on_redis
from tests.fakes.fabric import FABRIC
from tests.fakes.nats import STREAM, api, linked, options
from tests.fakes.publishing import publisher, target
from tests.fakes.waiting import WITHIN_S, wait_until

OFTEN_S = 0.02
"""A look at the stores comes with every 30th head."""


def problem(engine: Publisher) -> str:
    """Return what is wrong with the only sink, "" if nothing is."""
    return engine.status().sinks[0].problem or ""


def redis_says(server: EmbeddedRedis, *words: str) -> Any:
    """Do something on Redis as its administrator."""

    async def say() -> Any:
        async with on_redis.wired(server) as admin:
            return await admin.request(*words)

    return asyncio.run(say())


@pytest.fixture
def engine(redis: EmbeddedRedis, tmp_path: Path) -> Iterator[Publisher]:
    """Give a publisher into Redis that has stored one kill."""
    with publisher(tmp_path, on_redis.sink_of(redis), heartbeat_s=OFTEN_S) as running:
        assert KillSwitch(running).kill(target(1), timeout_s=WITHIN_S).durable == ("redis",)
        yield running


CHANGES = [
    (
        ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"),
        ("CONFIG", "SET", "maxmemory-policy", "noeviction"),
        "set `maxmemory-policy noeviction`",
    ),
    (
        ("CONFIG", "SET", "appendonly", "no"),
        ("CONFIG", "SET", "appendonly", "yes"),
        "set `appendonly yes`",
    ),
    (("ACL", "SETUSER", "publisher", "-publish"), ("ACL", "SETUSER", "publisher", "+publish"), ""),
    (("ACL", "SETUSER", "publisher", "-xrange"), ("ACL", "SETUSER", "publisher", "+xrange"), ""),
    (("ACL", "SETUSER", "publisher", "-info"), ("ACL", "SETUSER", "publisher", "+info"), ""),
]


@pytest.mark.parametrize(("change", "back", "says"), CHANGES, ids=" ".join)
def test_a_redis_that_is_changed_while_it_is_used(
    redis: EmbeddedRedis,
    engine: Publisher,
    change: tuple[str, ...],
    back: tuple[str, ...],
    says: str,
) -> None:
    """A setting that would lose kills, a right taken away: no kill has to come for it to show."""
    assert problem(engine) == ""
    redis_says(redis, *change)
    wait_until(lambda: (says or "gives us too few rights") in problem(engine), WITHIN_S)
    redis_says(redis, *back)
    wait_until(lambda: problem(engine) == "", WITHIN_S)


def test_without_the_look_a_changed_setting_stays_unseen(
    redis: EmbeddedRedis, engine: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: the settings were looked at on connecting, and never again."""

    async def nothing(self: Outlet, _sink: object) -> None:
        self._checking = False

    async def unchecked(_server: object) -> None:
        """Take every server: a busy machine may lose a connection, and a new one is looked at."""

    monkeypatch.setattr(Outlet, "_check", nothing)
    monkeypatch.setattr("rescind_publisher.sinks.redis.check", unchecked)
    redis_says(redis, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    heads = engine.status().counters[metrics.HEADS]
    wait_until(lambda: engine.status().counters[metrics.HEADS] > heads + 70, WITHIN_S)
    assert problem(engine) == ""


@pytest.mark.parametrize("what", ["log", "index"])
def test_another_type_at_our_key_is_seen_and_left_alone(
    redis: EmbeddedRedis, engine: Publisher, what: str
) -> None:
    """One sentence names the key, what lies there stays, and all is sent once it is gone."""
    log = engine.status().log
    key = on_redis.INDEX if what == "index" else subjects.redis_log(FABRIC, log)
    redis_says(redis, "DEL", key)
    redis_says(redis, "SET", key, "precious")
    receipt = KillSwitch(engine).kill(target(2), timeout_s=1.0)
    assert receipt.pending == ("redis",)
    wait_until(lambda: key in problem(engine), WITHIN_S)
    assert redis_says(redis, "GET", key) == b"precious"
    redis_says(redis, "DEL", key)
    wait_until(lambda: problem(engine) == "" and engine.status().sinks[0].pending == 0, WITHIN_S)


def nats_says(server: EmbeddedServer, verb: str, **payload: Any) -> None:
    """Call the JetStream API as the administrator, who may."""

    async def say() -> dict[str, Any]:
        async with linked(server, "admin") as admin:
            return await api(admin.link, verb, **payload)

    assert "error" not in asyncio.run(say())


@pytest.fixture
def on_nats(nats: EmbeddedServer, tmp_path: Path) -> Iterator[Publisher]:
    """Give a publisher into NATS that has stored one kill."""
    sink = NatsSink(FABRIC, options(nats, "publisher"))
    with publisher(tmp_path, sink, heartbeat_s=OFTEN_S) as running:
        assert KillSwitch(running).kill(target(1), timeout_s=WITHIN_S).durable == ("nats",)
        yield running


def test_a_stream_that_is_changed_while_it_is_used(
    nats: EmbeddedServer, on_nats: Publisher
) -> None:
    """The setting that would lose kills is named; kills go on; set back, all is well again."""
    nats_says(nats, f"STREAM.UPDATE.{STREAM}", **wanted(FABRIC, 1) | {"max_age": 10**14})
    wait_until(lambda: "max_age is" in problem(on_nats), WITHIN_S)
    assert KillSwitch(on_nats).kill(target(2), timeout_s=WITHIN_S).durable == ("nats",)
    nats_says(nats, f"STREAM.UPDATE.{STREAM}", **wanted(FABRIC, 1))
    wait_until(lambda: problem(on_nats) == "", WITHIN_S)


def test_a_stream_that_is_deleted_is_made_again_and_filled(
    nats: EmbeddedServer, on_nats: Publisher
) -> None:
    """Without any kill: the look makes the stream, finds it empty, and sends everything."""
    nats_says(nats, f"STREAM.DELETE.{STREAM}")
    wait_until(lambda: on_nats.status().counters[metrics.REWINDS] == 1, WITHIN_S)
    wait_until(lambda: problem(on_nats) == "" and on_nats.status().sinks[0].pending == 0, WITHIN_S)


FOREIGN: list[dict[str, Any]] = [
    {"subjects": ["orders.>"]},
    {"subjects": [subjects.logs(FABRIC)], "retention": "workqueue"},
]


@pytest.mark.parametrize("config", FOREIGN, ids=["other subjects", "other rules"])
def test_a_foreign_stream_at_our_name(
    nats: EmbeddedServer, on_nats: Publisher, config: dict[str, Any]
) -> None:
    """Somebody else's stream is refused with the settings that are wrong, and not changed."""
    asyncio.run(replace_stream(nats, config))
    wait_until(lambda: f"the stream {STREAM} would lose kills" in problem(on_nats), WITHIN_S)

    async def info() -> dict[str, Any]:
        async with linked(nats, "admin") as admin:
            return await api(admin.link, f"STREAM.INFO.{STREAM}")

    found = asyncio.run(info())["config"]
    assert {name: found[name] for name in config} == config


async def replace_stream(server: EmbeddedServer, config: dict[str, Any]) -> None:
    """Put another stream in the place of ours, which the publisher may make again in between."""
    async with linked(server, "admin") as admin:
        made: dict[str, Any] = {"error": "not made yet"}
        while "error" in made:
            await api(admin.link, f"STREAM.DELETE.{STREAM}")
            made = await api(admin.link, f"STREAM.CREATE.{STREAM}", name=STREAM, **config)
