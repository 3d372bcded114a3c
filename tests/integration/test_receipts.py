"""Said is done (I9): real subscriber processes, a real server, and who has applied a kill."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import nats as nats_py
import pytest
from msgspec.structs import replace

from rescind.embedded import EmbeddedRedis, EmbeddedServer
from rescind_guard.freshness import SystemClock
from rescind_protocol import reports, subjects
from rescind_publisher import hearing, metrics
from rescind_publisher.applied import Applied
from rescind_publisher.engine import Publisher
from rescind_publisher.listeners.nats import NatsListener
from rescind_publisher.listeners.redis import RedisListener
from rescind_publisher.sinks.nats import NatsSink
from rescind_publisher.sinks.redis import RedisSink
from rescind_publisher.switch import KillSwitch
from rescind_subscriber.errors import SourceRefused
from rescind_subscriber.nats_link import NatsOptions
from rescind_subscriber.reporting import Reporting
from rescind_subscriber.sources.nats import NatsSource
from rescind_subscriber.sources.redis import RedisSource
from rescind_subscriber.subscriber import Subscriber
from tests.fakes.fabric import FABRIC, make_trust
from tests.fakes.fleet import Fleet
from tests.fakes.nats import admin_server, linked, options
from tests.fakes.publishing import publisher, target
from tests.fakes.redis import FABRIC as REDIS_FABRIC
from tests.fakes.redis import options as redis_options
from tests.fakes.redis import wired
from tests.fakes.reporting import report
from tests.fakes.sidecar import CONFIG
from tests.fakes.waiting import WITHIN_S, until, wait_until
from tests.faults.processes import freeze

COUNT = 12
WAIT_S = 30.0


@contextmanager
def switching(
    tmp_path: Path, server: EmbeddedServer, **changes: Any
) -> Iterator[tuple[KillSwitch, Publisher]]:
    """Give a kill switch whose publisher listens to reports, and the publisher."""
    at = options(server, "publisher")
    listeners = [NatsListener(FABRIC, at)]
    engine = publisher(tmp_path, NatsSink(FABRIC, at), listeners=listeners, **changes)
    with KillSwitch(engine) as switch:
        yield switch, engine


def known(engine: Publisher) -> list[str]:
    """Return the names on the roster."""
    return [member.name for member in engine.fleet().members]


def reached(engine: Publisher) -> list[str]:
    """Return the names of those that are not out of reach."""
    return [member.name for member in engine.fleet().members if not member.unreachable]


def test_who_has_applied_a_kill(nats: EmbeddedServer, tmp_path: Path) -> None:
    """All twelve have it; then one is frozen and one dead, and the two are named."""
    everybody = [f"eu-{n + 1}" for n in range(COUNT)]
    with (
        switching(tmp_path, nats) as (switch, engine),
        Fleet(nats.url_for("subscriber"), COUNT, report_every_s=0.5) as fleet,
    ):
        wait_until(lambda: known(engine) == everybody)

        # 1. all of them, with the calls that passed before one of them knew
        assert fleet["eu-3"].ask("call 5") == 5
        first = switch.kill(target(7), wait_s=WAIT_S).applied
        assert first is not None
        assert (first.complete, first.done, first.known) == (True, COUNT, COUNT)
        assert fleet["eu-3"].ask("call 5") == 0
        assert {each.name for each in first.exposed} <= {"eu-3"}
        assert first.calls in (0, 5)  # 5 unless a slow machine put the kill long after them
        assert not first.at_least

        # 2. one cannot answer, one is gone; progress is told meanwhile
        fleet["eu-7"].signal(signal.SIGSTOP)
        fleet["eu-9"].signal(signal.SIGKILL)
        told: list[Applied] = []
        second = switch.kill(target(8), wait_s=1.0, told=told.append).applied
        assert second is not None
        assert [each.name for each in second.missing] == ["eu-7", "eu-9"]
        assert (second.complete, second.done) == (False, COUNT - 2)
        assert "; not yet: eu-7" in str(second)
        assert [each.done for each in told] == sorted(each.done for each in told)

        # 3. silent for too long, they are out of reach, and nobody waits for them
        rest = [name for name in everybody if name not in ("eu-7", "eu-9")]
        wait_until(lambda: reached(engine) == rest)
        third = switch.kill(target(9), wait_s=WAIT_S).applied
        assert third is not None
        assert [(each.name, each.unreachable) for each in third.missing] == [
            ("eu-7", True),
            ("eu-9", True),
        ]
        assert "eu-7 (unreachable since " in str(third)

        # 4. the frozen one goes on, catches up, and says so
        fleet["eu-7"].signal(signal.SIGCONT)
        wait_until(lambda: reached(engine) == sorted([*rest, "eu-7"], key=everybody.index))
        wait_until(lambda: all(m.lag == 0 for m in engine.fleet().members if m.name == "eu-7"))
    assert engine.counters.read()[metrics.REPORT_FLOODS] == 0


def test_control_without_reports_nobody_is_known(
    nats: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: the kill is applied all the same, and the receipt claims nothing."""
    monkeypatch.setattr(NatsSource, "report", _send_nothing)
    with switching(tmp_path, nats) as (switch, _), following(nats, "mute") as mute:
        mute.wait_fresh(15)
        applied = switch.kill(target(), wait_s=1.0).applied
        wait_until(lambda: mute.view.published.table.get(target().digest))
    assert applied is not None
    assert (applied.complete, applied.known) == (False, 0)


async def _send_nothing(*_: object) -> None:
    """Do as a source whose reports are lost."""


@contextmanager
def following(server: EmbeddedServer, name: str) -> Iterator[Subscriber]:
    """Give a subscriber in this process."""
    at = options(server, "subscriber")
    config = replace(CONFIG, name=name)
    with Subscriber(make_trust(), lambda: [NatsSource(FABRIC, at)], config=config) as subscriber:
        yield subscriber


def test_one_that_stops_says_goodbye(nats: EmbeddedServer, tmp_path: Path) -> None:
    """It is nobody to wait for, at once."""
    with switching(tmp_path, nats) as (_, engine):
        with following(nats, "short"):
            wait_until(lambda: known(engine) == ["short"])
        wait_until(lambda: known(engine) == [])


def reporting_of(subscriber: Subscriber) -> Reporting:
    """Return its reporting step."""
    assert subscriber._follower is not None
    assert subscriber._follower.reporting is not None
    return subscriber._follower.reporting.step


def test_without_nats_reports_come_through_redis(
    nats: EmbeddedServer, redis: EmbeddedRedis, tmp_path: Path
) -> None:
    """NATS is frozen: the kill and what is said of it take the other way."""
    at, beside = options(nats, "publisher"), redis_options(redis, "publisher")
    engine = publisher(
        tmp_path,
        NatsSink(FABRIC, at),
        RedisSink(FABRIC, beside),
        listeners=[NatsListener(FABRIC, at), RedisListener(FABRIC, beside)],
    )
    by_nats, by_redis = options(nats, "subscriber"), redis_options(redis, "subscriber")
    guard = Subscriber(
        make_trust(),
        lambda: [NatsSource(FABRIC, by_nats), RedisSource(FABRIC, by_redis)],
        config=replace(CONFIG, name="eu-1"),
    )
    with KillSwitch(engine) as switch, guard:
        guard.wait_fresh(15)
        wait_until(lambda: known(engine) == ["eu-1"])
        assert nats.pid is not None
        freeze(nats.pid)
        try:
            applied = switch.kill(target(), timeout_s=0.1, wait_s=WAIT_S).applied
        finally:
            os.kill(nats.pid, signal.SIGCONT)
    assert applied is not None
    assert applied.complete, str(applied)


async def test_on_redis_a_subscriber_may_publish_reports_only(redis: EmbeddedRedis) -> None:
    """Not events, not heads, not to another fabric; and it cannot hear others' reports."""
    own, other = subjects.redis_reports(REDIS_FABRIC), subjects.redis_reports("other")
    live, heads = subjects.redis_live(REDIS_FABRIC), subjects.redis_heads(REDIS_FABRIC)
    async with wired(redis, "subscriber") as wire:
        assert await wire.request("PUBLISH", own, "x") == 0
        refused = (*(("PUBLISH", to, "x") for to in (live, heads, other)), ("SUBSCRIBE", own))
        for command in refused:
            with pytest.raises(SourceRefused, match="too few rights"):
                await wire.request(*command)


def test_a_publisher_that_starts_learns_who_is_there(nats: EmbeddedServer, tmp_path: Path) -> None:
    """Its first head names a log that nobody knew: everybody reports, without waiting."""
    with switching(tmp_path, nats), following(nats, "eu-1") as one:
        one.wait_fresh(15)
        step = reporting_of(one)
        wait_until(lambda: step.sent and step.due_at - SystemClock().boot() > 10)
        (tmp_path / "second").mkdir()
        with switching(tmp_path / "second", nats) as (_, another):
            wait_until(lambda: known(another) == ["eu-1"])
            wait_until(lambda: step.fleet == 1)


def test_a_server_that_refuses_reports_is_named(tmp_path: Path) -> None:
    """A publisher without the right to listen says so, and kills all the same."""
    right = '            "rescind.*.report.*"\n'
    with (
        admin_server(tmp_path, (right, "")) as server,
        switching(tmp_path, server) as (switch, engine),
    ):
        wait_until(lambda: engine.roster.problem)
        receipt = switch.kill(target(), timeout_s=15, wait_s=0.2)
        assert receipt.durable == ("nats",)
        assert "ermissions" in str(receipt.applied)


def test_a_server_that_takes_no_reports_is_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A subscriber without the right to report hears kills all the same, on one connection."""
    right = (
        '            "rescind.*.report.*"    # one user for all: any may report under any name\n'
    )
    with (
        admin_server(tmp_path, (right, "")) as server,
        switching(tmp_path, server) as (switch, engine),
        following(server, "eu-1") as mute,
    ):
        mute.wait_fresh(15)
        wait_until(lambda: "reports are not sent" in caplog.text)
        for number in range(5):
            switch.kill(target(number), timeout_s=15)
        wait_until(lambda: all(mute.view.published.table.get(target(n).digest) for n in range(5)))
        (source,) = mute._follower.sources.values()  # type: ignore[union-attr]
        assert isinstance(source, NatsSource)
        assert source._link.reconnects == 0
        assert mute.status().sources == {"nats": ""}
        assert known(engine) == []


def test_a_flood_of_reports_is_cut_off(
    nats: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sends as fast as he can delays no kill, and then reports are heard again."""
    count, allowed_per_s = 5000, 200  # a flood on a machine, too, that sends a hundredth of it
    monkeypatch.setattr(hearing, "PAUSE_S", 0.2)
    monkeypatch.setattr(hearing, "Allowance", partial(hearing.Allowance, allowed_per_s))
    with switching(tmp_path, nats) as (switch, engine), following(nats, "eu-1"):
        wait_until(lambda: known(engine) == ["eu-1"])
        asyncio.run(flood(options(nats, "subscriber"), count))
        wait_until(lambda: engine.counters.read()[metrics.REPORT_FLOODS])
        assert switch.kill(target(), timeout_s=WITHIN_S).durable == ("nats",)
        taken = engine.counters.read()
        assert taken[metrics.REPORTS] + taken[metrics.REPORTS_REFUSED] < count
        wait_until(lambda: engine.roster.problem is None)
        applied = switch.kill(target(8), wait_s=WAIT_S).applied
        assert applied is not None
        assert "eu-1" not in {each.name for each in applied.missing}


async def flood(at: NatsOptions, count: int) -> None:
    """Send so many reports of one invented subscriber."""
    client = await nats_py.connect(at.url, inbox_prefix="_INBOX_sub")
    raw, subject = reports.make(report("liar", next_ms=1)), subjects.report(FABRIC, "liar")
    for _ in range(count):
        await client.publish(subject, raw)
    await client.flush()
    await client.close()


async def test_a_report_goes_to_publishers_only(nats: EmbeddedServer) -> None:
    """Guards cannot listen to each other's reports, and a publisher can send none."""
    async with linked(nats, "subscriber") as guard, linked(nats, "publisher") as switch:
        heard: list[bytes] = []
        await switch.link.listen(subjects.reports(FABRIC), lambda _, raw, __: heard.append(raw))
        await switch.link.flush()
        await guard.link.listen(subjects.reports(FABRIC), lambda *_: None)
        await guard.link.publish(subjects.report(FABRIC, "eu-1"), b"mine")
        await guard.link.flush()
        await switch.link.publish(subjects.report(FABRIC, "eu-1"), b"forged")
        await switch.link.flush()
        await until(lambda: heard and guard.problems and switch.problems)
        assert heard == [b"mine"]
        assert "subscription" in guard.problems[0]
        assert "publish" in switch.problems[0]
