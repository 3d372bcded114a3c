"""A publisher that was started many times, on a real nats-server: heads stay small, kills stay."""

from pathlib import Path

import pytest

from rescind.embedded import EmbeddedServer
from rescind_protocol import heads
from rescind_protocol.errors import TooLarge
from rescind_publisher import heartbeat, moving
from rescind_publisher import ledger as ledger_module
from rescind_publisher.sinks.nats import NatsSink
from rescind_publisher.switch import KillSwitch
from tests.fakes.fabric import FABRIC
from tests.fakes.nats import options
from tests.fakes.publishing import publisher, target
from tests.fakes.shelves import cold, writing
from tests.fakes.waiting import wait_until

RUNS = 12


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds so small that a dozen runs are beyond them."""
    monkeypatch.setattr(moving, "OLD_LOGS", 4)
    monkeypatch.setattr(moving, "LEAVE", 2)
    monkeypatch.setattr(heartbeat, "MOVE_EVERY_HEADS", 3)
    monkeypatch.setattr(heartbeat, "REVIEW_EVERY_HEADS", 3)
    monkeypatch.setattr(ledger_module, "SPENT_LOGS_HEADED", 1)


def run_often(nats: EmbeddedServer, folder: Path) -> None:
    """Start a publisher, kill for good, stop; many times over."""
    for number in range(RUNS):
        engine = publisher(folder, NatsSink(FABRIC, options(nats, "publisher")))
        with KillSwitch(engine) as switch:
            assert switch.kill(target(number), timeout_s=15).durable == ("nats",)


@pytest.mark.usefixtures("small")
def test_many_starts_end_in_few_logs(nats: EmbeddedServer, tmp_path: Path) -> None:
    """Everything stays denied: for who followed, for who starts by snapshot, for who reads all."""
    run_often(nats, tmp_path)
    with cold(nats) as follower:
        engine = publisher(
            tmp_path,
            NatsSink(FABRIC, options(nats, "publisher")),
            follower=follower,
            snapshot_every_s=0.1,
            snapshot_events=1,
        )
        denied = [target(n).digest for n in range(RUNS)]
        with KillSwitch(engine) as switch:
            wait_until(lambda: engine.status().logs <= 2 + 1 + 1, 30)
            wait_until(lambda: len(engine._ledger.positions) <= 2 + 1 + 1, 30)
            for snapshots in (True, False):
                with cold(nats, snapshots=snapshots) as at:
                    at.wait_fresh(15)
                    assert all(at.view.published.table.get(each) for each in denied)
            for number in range(RUNS):
                switch.retract(target(number), timeout_s=15)
            with cold(nats) as at:
                at.wait_fresh(15)
                wait_until(lambda: not len(at.view.published.table))
    with writing(nats, tmp_path) as (_, again):  # and its own state is the same after a restart
        assert all(not again.live(target(n)) for n in range(RUNS))


@pytest.mark.usefixtures("small")
def test_heads_that_became_too_large_recover(
    nats: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any head nobody is fresh, so nothing is waited for. Control: as it was, for ever."""
    run_often(nats, tmp_path)
    monkeypatch.setattr(heads, "MAX_HEAD_BYTES", 1000)
    with writing(nats, tmp_path) as (_, engine):
        with pytest.raises(TooLarge):
            engine._ledger.head()
        monkeypatch.setattr(moving, "CROWDED", 6)
        wait_until(lambda: len(engine._ledger.standing().logs) <= 2 + 1 + 1, 30)
        assert engine._ledger.head()
        with cold(nats) as at:
            at.wait_fresh(15)
            assert all(at.view.published.table.get(target(n).digest) for n in range(RUNS))
