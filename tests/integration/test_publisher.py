"""The publisher on a real nats-server: durable, down, killed between spool and ack."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from rescind.embedded import EmbeddedServer
from rescind_protocol.changes import RevocationId
from rescind_protocol.heads import Position
from rescind_protocol.targets import Target
from rescind_publisher.async_switch import AsyncKillSwitch
from rescind_publisher.engine import Publisher
from rescind_publisher.errors import SinkRefused, SpoolFailed, SpoolInUse
from rescind_publisher.receipts import Receipt, State
from rescind_publisher.sinks.nats import NatsSink
from rescind_publisher.switch import KillSwitch
from rescind_subscriber.sources.nats import NatsSource
from rescind_subscriber.subscriber import Subscriber
from tests.fakes.fabric import FABRIC, SECOND, make_trust
from tests.fakes.nats import STREAM, Watched, admin_server, api, linked, options
from tests.fakes.publishing import publisher, target
from tests.fakes.waiting import wait_until
from tests.faults.processes import freeze
from tests.unit.publisher.test_spool import full_disk

TRUST = make_trust()


def engine(tmp_path: Path, server: EmbeddedServer, **changes: Any) -> Publisher:
    """Return a publisher on the server, not started."""
    return publisher(tmp_path, NatsSink(FABRIC, options(server, "publisher")), **changes)


@contextmanager
def following(server: EmbeddedServer) -> Iterator[Subscriber]:
    """Give a subscriber with an empty view."""
    source = options(server, "subscriber")
    with Subscriber(TRUST, lambda: [NatsSource(FABRIC, source)]) as subscriber:
        yield subscriber


def killed(subscriber: Subscriber, *targets: Target) -> bool:
    """Whether the subscriber's view denies all of them."""
    table = subscriber.view.published.table
    return all(table.get(one.digest) is not None for one in targets)


def test_a_kill_is_durable_and_applied(nats: EmbeddedServer, tmp_path: Path) -> None:
    """The receipt says durable, every subscriber has it, and the head proves the view complete."""
    with KillSwitch(engine(tmp_path, nats)) as switch, following(nats) as subscriber:
        subscriber.wait_fresh(15)
        receipt = switch.kill(target(), reason_admin="INC-412", timeout_s=15)
        assert receipt.durable == ("nats",), receipt
        wait_until(lambda: killed(subscriber, target()))
        found = subscriber.view.published.table.get(target().digest)
        assert found is not None
        assert tuple(r.id for r in found.revocations) == receipt.ids


@contextmanager
def busy(publisher: Publisher) -> Iterator[None]:
    """Keep the publisher's loop from doing anything meanwhile."""
    standing, go_on = threading.Event(), threading.Event()

    def stand() -> None:
        standing.set()
        go_on.wait()

    publisher._loop.call_soon_threadsafe(stand)
    standing.wait()
    try:
        yield
    finally:
        go_on.set()


def test_a_kill_does_not_wait_for_a_busy_loop(nats: EmbeddedServer, tmp_path: Path) -> None:
    """The thread that commits it sends it; the loop confirms it when it is there again.

    The control: a kill right behind it, for which nothing was armed, waits for the loop.
    """
    publisher = engine(tmp_path, nats)
    with KillSwitch(publisher) as switch, following(nats) as subscriber:
        subscriber.wait_fresh(15)
        assert switch.kill(target(0), timeout_s=15).durable
        with busy(publisher):
            assert not switch.kill(target(1), timeout_s=0).durable
            assert not switch.kill(target(2), timeout_s=0).durable
            wait_until(lambda: killed(subscriber, target(1)))
            assert not killed(subscriber, target(2))
        assert switch.kill(target(3), timeout_s=15).durable
        wait_until(lambda: killed(subscriber, target(2), target(3)))
        wait_until(lambda: publisher.status().sinks[0].pending == 0)


def test_what_an_interrupt_left_behind_is_sent_with_the_next_heartbeat(
    nats: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was committed, so it is accepted, whoever was told of it; nothing else asks for it."""
    publisher = engine(tmp_path, nats)
    with KillSwitch(publisher) as switch, following(nats) as subscriber:
        subscriber.wait_fresh(15)
        assert switch.kill(target(0), timeout_s=15).durable
        monkeypatch.setattr(publisher._drain, "send", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            switch.kill(target(1))
        wait_until(lambda: killed(subscriber, target(1)))


def test_a_broker_that_is_down(nats: EmbeddedServer, tmp_path: Path) -> None:
    """Accepted and pending while it is away; stored, once, when it is back."""
    with KillSwitch(engine(tmp_path, nats)) as switch:
        nats.stop()
        receipts = [switch.kill(target(n), timeout_s=15) for n in range(3)]
        assert all(receipt.pending == ("nats",) for receipt in receipts)
        assert "PENDING: no broker has it yet" in str(receipts[0])
        nats.start()
        with following(nats) as subscriber:
            wait_until(lambda: killed(subscriber, *(target(n) for n in range(3))), 30)


def test_a_broker_that_comes_back_empty(nats: EmbeddedServer, tmp_path: Path) -> None:
    """A store that was lost is filled again from the spool, and a new subscriber has every kill."""
    with KillSwitch(engine(tmp_path, nats)) as switch:
        receipts = [switch.kill(target(n), timeout_s=15) for n in range(3)]
        assert all(receipt.durable == ("nats",) for receipt in receipts)
        nats.stop()
        shutil.rmtree(tmp_path / "store")
        nats.start()
        switch.kill(target(3), timeout_s=0)
        with following(nats) as subscriber:
            wait_until(lambda: killed(subscriber, *(target(n) for n in range(4))), 30)


def test_a_broker_that_is_not_there_at_the_start(tmp_path: Path) -> None:
    """A kill is accepted before any broker was ever seen, and reaches the one that comes."""
    server = admin_server(tmp_path)
    server.start()
    server.stop()
    with KillSwitch(engine(tmp_path, server, connect_timeout_s=0.05)) as switch:
        assert switch.kill(target()).pending == ("nats",)
        with server, following(server) as subscriber:
            wait_until(lambda: killed(subscriber, target()), 30)


CHILD = """
import sys
from pathlib import Path
from rescind_publisher.sinks.nats import NatsSink
from rescind_publisher.switch import KillSwitch
from rescind_subscriber.nats_link import NatsOptions
from tests.fakes.fabric import FABRIC
from tests.fakes.publishing import publisher, target

sink = NatsSink(FABRIC, NatsOptions(url=sys.argv[2], inbox_prefix="_INBOX_pub"))
with KillSwitch(publisher(Path(sys.argv[1]), sink)) as switch:
    print(switch.kill(target(0), timeout_s=15).durable, flush=True)
    sys.stdin.readline()
    for number in range(1, 21):
        print(switch.kill(target(number), timeout_s=0).ids[0].seq, flush=True)
    sys.stdin.read()
"""


@contextmanager
def child(tmp_path: Path, server: EmbeddedServer) -> Iterator[subprocess.Popen[str]]:
    """Run a publisher in a process of its own, killed at the end whatever happens."""
    command = [sys.executable, "-c", CHILD, str(tmp_path), server.url_for("publisher")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    """Return the next line that the child prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    """Let the child go on."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


async def stored(admin: Watched) -> int:
    """Return how many events the stream holds."""
    state = (await api(admin.link, f"STREAM.INFO.{STREAM}"))["state"]
    return int(state["messages"])


async def test_a_publisher_killed_between_spool_and_ack(
    nats: EmbeddedServer, tmp_path: Path
) -> None:
    """Every kill with a receipt is in the stream after the restart, once, and in its old log."""
    with child(tmp_path, nats) as process:
        assert said(process) == "('nats',)"
        freeze(nats.pid)  # no ack can come
        tell(process)
        assert [said(process) for _ in range(20)] == [str(n) for n in range(2, 22)]
        process.kill()
        process.wait()
    os.kill(nats.pid, signal.SIGKILL)  # and nothing that was on the way arrives
    nats.stop()
    nats.start()
    async with linked(nats, "admin") as admin:
        assert await stored(admin) == 1  # negative control: without the spool these are lost
        async with AsyncKillSwitch(engine(tmp_path, nats)) as switch:
            assert (await switch.kill(target(99), timeout_s=15)).durable == ("nats",)
            running = switch.switch._engine
            assert isinstance(running, Publisher)
            await asyncio.to_thread(wait_until, lambda: not running.status().sinks[0].pending)
            assert await stored(admin) == 22
            assert {at.seq for at in positions(running).values()} == {21, 1}


def positions(running: Publisher) -> dict[str, Position]:
    """Return where the logs in the spool stand."""
    return running._ledger.positions


def test_a_second_process_on_one_spool(nats: EmbeddedServer, tmp_path: Path) -> None:
    """It is told which process holds the spool."""
    with child(tmp_path, nats) as process:
        said(process)
        with pytest.raises(SpoolInUse, match=f"is in use by process {process.pid}"):
            engine(tmp_path, nats).start()


def test_a_full_disk_accepts_nothing(nats: EmbeddedServer, tmp_path: Path) -> None:
    """No receipt while the disk is full; the switch works again when there is room."""
    with KillSwitch(engine(tmp_path, nats)) as switch:
        switch.kill(target(1), timeout_s=15)
        size = max(p.stat().st_size for p in (tmp_path / "spool").iterdir())
        with full_disk(size + 10), pytest.raises(SpoolFailed, match="was not accepted"):
            switch.kill(target(2))
        assert switch.kill(target(3), timeout_s=15).durable == ("nats",)


def test_wrong_credentials_are_said(nats: EmbeddedServer, tmp_path: Path) -> None:
    """The start fails with a sentence, not with a retry for ever."""
    wrong = options(nats, "publisher", url=nats.url_for("publisher").replace(":p", ":x"))
    with pytest.raises(SinkRefused):
        publisher(tmp_path, NatsSink(FABRIC, wrong), connect_timeout_s=15.0).start()


async def test_many_callers_over_the_wire(
    nats: EmbeddedServer, admin: Watched, tmp_path: Path
) -> None:
    """200 kills side by side are 200 events in the stream, all of them durable."""
    async with AsyncKillSwitch(engine(tmp_path, nats)) as switch:
        calls = (switch.kill(target(n), timeout_s=30) for n in range(200))
        receipts: list[Receipt] = await asyncio.gather(*calls)
        assert {r.sinks["nats"].state for r in receipts} == {State.DURABLE}
        assert await stored(admin) == 200


def test_one_publisher_ends_the_kills_of_another(nats: EmbeddedServer, tmp_path: Path) -> None:
    """The followed view names what the other one killed; both views agree afterwards."""
    with (
        following(nats) as follower,
        KillSwitch(engine(tmp_path / "a", nats, follower=follower)) as first,
        KillSwitch(engine(tmp_path / "b", nats, key=SECOND, publisher="soc-b")) as second,
    ):
        ids: set[RevocationId] = set(second.kill(target(), timeout_s=15).ids)
        wait_until(lambda: killed(follower, target()))
        receipt = first.reinstate(target(), timeout_s=15)
        assert set(receipt.ended) == ids
        assert receipt.warnings == ()
        wait_until(lambda: not _revocations(follower))


def _revocations(subscriber: Subscriber) -> object:
    found = subscriber.view.published.table.get(target().digest)
    return found.revocations if found else ()
