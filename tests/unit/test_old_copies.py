"""A spool restored from an older copy: views are fresh again, its kills can be ended."""

import copy
from collections.abc import AsyncIterator
from pathlib import Path
from unittest.mock import patch

import pytest

from rescind_guard.view import View
from rescind_protocol import events
from rescind_protocol.changes import Kill
from rescind_protocol.digests import Digests
from rescind_protocol.heads import Position
from rescind_protocol.image import Image
from rescind_protocol.join import Replica
from rescind_protocol.limits import RECENT_DIGESTS
from rescind_publisher import copies
from rescind_publisher.engine import Publisher
from rescind_publisher.ledger import Ledger
from rescind_publisher.reclaim import lacking
from rescind_publisher.sinks.base import Record
from rescind_publisher.spool import Spool
from rescind_publisher.switch import KillSwitch
from rescind_subscriber.known import Heard, Known
from rescind_subscriber.reconcile import Reconciler
from tests.fakes.clock import FakeClock
from tests.fakes.fabric import FABRIC, PUBLISHER, Log, head_of, make_trust
from tests.fakes.hosts import Hosts
from tests.fakes.publishing import VOICE, publisher, target
from tests.fakes.sink import FakeSink
from tests.fakes.waiting import wait_until


def restored(lost: int) -> Hosts:
    """Return a fabric whose publisher goes on with a spool that lacks the newest events."""
    hosts = Hosts()
    for number in range(3):
        hosts.accept((Kill(target=target(number)),))
    hosts.beat(3)
    older = copy.deepcopy(hosts.spool)
    for number in range(lost):
        hosts.accept((Kill(target=target(10 + number)),))
    hosts.beat(3)
    hosts.spool = older
    hosts.start_publisher()
    return hosts


@pytest.mark.parametrize("lost", [1, 5, RECENT_DIGESTS + 3])
def test_a_sidecar_that_was_started_again_is_fresh(lost: int) -> None:
    """Its head names an event of long ago, whose digest no snapshot has: reading proves it."""
    hosts = restored(lost)
    hosts.start_guard(remember=True)
    hosts.beat(3)
    assert hosts.age_s < 1
    assert hosts.view.published.table.get(target(10 + lost - 1).digest)


def test_without_reading_again_it_never_is() -> None:
    """Negative control: bytes that were applied once are looked at no more."""
    with patch.object(Digests, "read_again", lambda *_, **__: None):
        hosts = restored(5)
        hosts.start_guard(remember=True)
        hosts.beat(100)
        assert hosts.age_s > 1e9


@pytest.mark.parametrize("order", [1, -1])
def test_a_thiefs_event_in_its_place_proves_nothing(order: int) -> None:
    """Read again in whatever order, the chain from what is known leads back to the true one."""
    log = Log()
    for number in range(3):
        log.write(Kill(target=target(number)))
    thief = log.branch(2)
    for number in range(10, 13):
        thief.write(Kill(target=target(number)))
    at, trust = Replica(), make_trust()
    at.merge(Image(vector={thief.id: thief.position}))
    true, false = head_of(log), head_of(thief.branch(3))
    assert not at.covers(true)
    assert not at.covers(false)
    for _ in range(2):
        for raw in [*log.raws, *thief.raws][::order]:
            if raw not in log.raws[2:]:
                at.apply(events.authenticate(raw, trust))
    assert at.covers(false)
    assert not at.covers(true)
    assert at.contradicts(true) == log.id


# --- at the publisher ---


class Holding(FakeSink):
    """A sink that can show what it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Record] = []

    async def contents(self, log: str) -> AsyncIterator[list[Record]]:
        """Yield what lies there, and garbage beside it."""
        for record in self.held:
            yield [Record(log, record.seq, b"garbage"), record]


class Following:
    """A follower that has applied all that a log holds."""

    def __init__(self, *raws: bytes) -> None:
        self.view = View()
        self.view.claim()
        self.at = Reconciler(make_trust(), self.view, FakeClock())
        self.at.batch(raws)

    def wait_synced(self, _timeout_s: float) -> bool:
        """Say that all is known."""
        return True

    def known(self) -> Known:
        """Return where the logs stand."""
        return Known(Image(vector=dict(self.at.replica.vector)), {}, ())

    def retired(self, _key: str) -> dict[str, Position]:
        """Nobody was."""
        return {}


def older_copy(tmp_path: Path, *raws: bytes) -> None:
    """Write a spool that holds these events."""
    spool = Spool(tmp_path / "spool", fabric=FABRIC, kid=PUBLISHER.kid)
    ledger = Ledger(spool, VOICE, make_trust(), FakeClock())
    log = Log().id
    ledger.adopt(log, {number: [raw] for number, raw in enumerate(raws, 1)})
    assert ledger.positions[log].seq == len(raws)
    spool.close()


def opened(tmp_path: Path, *, held: int, kept: int) -> tuple[Publisher, Holding, Log]:
    """Return a publisher whose broker holds more of a log than its spool."""
    log = Log()
    raws = [log.write(Kill(target=target(number))) for number in range(held)]
    older_copy(tmp_path, *raws[:kept])
    sink = Holding()
    sink.held = [Record(log.id, seq, raw) for seq, raw in enumerate(raws, 1)]
    return publisher(tmp_path, sink, follower=Following(*raws)), sink, log


@pytest.mark.parametrize("kept", [1, 3])
def test_what_the_brokers_hold_of_an_own_log_is_taken_back(
    tmp_path: Path, kept: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Loudly; heads name it again, and its kills can be ended."""
    engine, _, log = opened(tmp_path, held=5, kept=kept)
    with KillSwitch(engine) as switch:
        wait_until(lambda: engine._ledger.positions[log.id] == log.position)
        assert len(engine._ledger.live(target(4))) == 1
        assert switch.retract(target(4)).ended == (log.branch(4).next_id(),)
        assert engine.counters.read()["rescind_publisher_taken_back_events_total"] == 5 - kept
    assert "this spool is an older copy" in caplog.text


def test_a_kill_that_the_spool_forgot_can_be_ended_at_once(tmp_path: Path) -> None:
    """Own state has not seen it: what the follower knows of it counts."""
    engine, sink, log = opened(tmp_path, held=5, kept=3)
    sink.held.clear()  # nothing to take back
    with KillSwitch(engine) as switch:
        assert switch.retract(target(4)).ended == (log.branch(4).next_id(),)


def test_only_what_is_chained_and_signed_is_taken_back() -> None:
    """Garbage, a gap, another log's event and another history's end it."""
    log, trust = Log(), make_trust()
    raws = [log.write(Kill(target=target(number))) for number in range(4)]
    at = log.cut(1)
    other = log.branch(1)
    fork = other.write(Kill(target=target(9)))
    assert [n.raw for n in copies.following(log.id, at, {2: [raws[1]], 4: [raws[3]]}, trust)] == [
        raws[1]
    ]
    found = {2: [b"garbage", fork, raws[1]], 3: [raws[3]]}
    assert copies.following(log.id, at, found, trust)[0].raw == fork  # signed: the first one read
    assert copies.following(log.id, at, {2: [b"garbage", raws[2]]}, trust) == []


def test_logs_of_a_host_that_is_alive_are_not_taken() -> None:
    """Nor the current one, those that were dropped, those of two histories, those of others."""
    mine, twin = Log(), Log(run="run 2")
    for log in (mine, twin):
        log.write(Kill(target=target(1)))
    vector = {mine.id: mine.position, twin.id: twin.position, "other-log": Position(3, bytes(32))}
    how = {"kid": PUBLISHER.kid, "publisher": "soc"}

    def found(known: Known, *not_these: str) -> dict[str, int]:
        return lacking(known, {}, not_these=not_these, **how)

    assert found(Known(Image(vector=vector), {}, ())) == {mine.id: 1, twin.id: 1}
    alive = {"soc": Heard(head_of(mine), 0.0, frozenset({twin.id}))}
    assert found(Known(Image(vector=vector), alive, ())) == {mine.id: 1}
    assert found(Known(Image(vector=vector), alive, ()), mine.id) == {}
    forked = Image(vector=vector, forked=(mine.id,))
    assert found(Known(forked, alive, ())) == {}
