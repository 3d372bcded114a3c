"""Other bytes where an event of ours should lie, in a real Redis: garbage holds no kill up."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from rescind.embedded import EmbeddedRedis
from rescind_protocol import events, subjects
from rescind_protocol import trust as trusts
from rescind_protocol.changes import Kill
from rescind_protocol.trust import Trust
from rescind_publisher import engine as module
from rescind_publisher import metrics
from rescind_publisher.engine import Publisher
from rescind_publisher.receipts import Receipt
from rescind_publisher.requests import TrustRequest
from rescind_publisher.switch import KillSwitch
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.sources.redis import RedisSource
from rescind_subscriber.subscriber import Subscriber
from tests.fakes import redis as on_redis
from tests.fakes.fabric import FABRIC, NOW, PUBLISHER, SECOND, make_trust, next_trust
from tests.fakes.publishing import publisher, target
from tests.fakes.waiting import WITHIN_S, wait_until

SOON_S = 1.0


def add(server: EmbeddedRedis, key: str, seq: int, raw: bytes) -> None:
    """Put bytes at a number of a log's stream, as somebody with the right to write could."""

    async def say() -> Any:
        async with on_redis.wired(server) as admin:
            return await admin.request("XADD", key, f"{seq}-0", "event", raw)

    asyncio.run(say())


def other_second(log: str) -> bytes:
    """Return an event with number 2 of a log, signed by its own key: the spool was copied."""
    return events.make(
        (Kill(target=target(99)),),
        key=PUBLISHER,
        publisher="soc",
        fabric=FABRIC,
        log=log,
        seq=2,
        prev=events.GENESIS,
        at=int(NOW),
    )


def test_garbage_at_the_next_number_holds_no_kill_up(redis: EmbeddedRedis, tmp_path: Path) -> None:
    """The log goes on at a new key, all of it, and a subscriber of Redis alone has every kill."""
    with publisher(tmp_path, on_redis.sink_of(redis)) as engine:
        switch = KillSwitch(engine)
        log = switch.kill(target(1), timeout_s=WITHIN_S).ids[0].log
        add(redis, subjects.redis_log(FABRIC, log), 2, b"garbage")
        receipt = switch.kill(target(2), timeout_s=WITHIN_S)
        assert receipt.durable == ("redis",), receipt
        counted = engine.status().counters
        assert (counted[metrics.FOREIGN], counted[metrics.REWINDS]) == (1, 1)
        with following(redis) as subscriber:
            subscriber.wait_fresh(WITHIN_S)
            assert all(dead(subscriber, number) for number in (1, 2))


@pytest.mark.parametrize("judged", [True, False])
def test_a_true_fork_stays_refused(
    redis: EmbeddedRedis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    judged: bool,  # noqa: FBT001 - with the judgement, and without
) -> None:
    """What our own key has signed is left to people; without the judgement garbage is too."""
    if not judged:  # negative control: as before, whatever lies there is a fork
        monkeypatch.setattr(module, "is_fork", lambda *_, **__: True)
    with publisher(tmp_path, on_redis.sink_of(redis)) as engine:
        switch = KillSwitch(engine)
        log = switch.kill(target(1), timeout_s=WITHIN_S).ids[0].log
        found = other_second(log) if judged else b"garbage"
        add(redis, subjects.redis_log(FABRIC, log), 2, found)
        receipt = refused(switch)
        assert "other bytes lie at event 2" in str(receipt)
        wait_until(lambda: "a fork" in str(engine.status().sinks[0].problem))
        assert engine.status().counters[metrics.FOREIGN] == 0


@pytest.mark.parametrize("healed", [True, False])
def test_garbage_at_the_next_number_of_the_trust_log_holds_no_version_up(
    redis: EmbeddedRedis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    healed: bool,  # noqa: FBT001 - with the judgement, and without
) -> None:
    """The versions go on at a new key, by a publisher that knows of no move too."""
    first = make_trust()
    second = trusts.extend(first, next_trust(first))
    third = trusts.extend(second, next_trust(second))
    if not healed:  # negative control: as before, whatever lies there is the root's
        monkeypatch.setattr(Trust, "holds_root", lambda *_: True)
    with publisher(tmp_path / "one", on_redis.sink_of(redis)) as engine:
        wait_until(lambda: not any(post(engine, first).values()))
        add(redis, subjects.redis_log(FABRIC, subjects.TRUST_LOG), 2, b"garbage")
        problem = post(engine, second)["redis"]
        assert ("other bytes lie at event 2" in problem) == (not healed)
    if not healed:
        return
    with (
        publisher(tmp_path / "two", on_redis.sink_of(redis)) as another,
        following(redis) as subscriber,
    ):
        wait_until(lambda: not any(post(another, third).values()))
        wait_until(lambda: subscriber.trust.version == 3)


def test_what_the_root_has_signed_as_that_version_is_left_to_people(
    redis: EmbeddedRedis, tmp_path: Path
) -> None:
    """Two histories by one root: nobody but people can decide which is to be gone by."""
    first = make_trust()
    second = trusts.extend(first, next_trust(first))
    other = next_trust(first, keys={SECOND.kid: None})
    with publisher(tmp_path, on_redis.sink_of(redis)) as engine:
        wait_until(lambda: not any(post(engine, first).values()))
        add(redis, subjects.redis_log(FABRIC, subjects.TRUST_LOG), 2, other)
        assert "other bytes lie at event 2" in post(engine, second)["redis"]


def post(engine: Publisher, trust: Trust) -> dict[str, str]:
    """Have a publisher's sinks hold these versions; return what is wrong by sink."""
    said = TrustRequest(tuple(raw.decode() for raw in trust.raws))
    return engine.post_trust(said).sinks


def refused(switch: KillSwitch) -> Receipt:
    """Kill, and return a receipt that no sink has acknowledged."""
    receipt = switch.kill(target(2), timeout_s=SOON_S)
    assert receipt.pending == ("redis",), receipt
    return receipt


def following(server: EmbeddedRedis) -> Subscriber:
    """Return a subscriber of Redis alone."""
    return Subscriber(
        make_trust(),
        lambda: [RedisSource(FABRIC, on_redis.options(server, "subscriber"))],
        config=SubscriberConfig(heartbeat_s=0.1),
    )


def dead(subscriber: Subscriber, number: int) -> bool:
    """Whether the view denies this target."""
    return subscriber.view.published.table.get(target(number).digest) is not None
