"""One publisher's key on two hosts: a machine that was cloned, a backup that was started."""

import copy
from unittest.mock import patch

import pytest

from rescind_protocol import heads
from rescind_protocol.changes import Kill
from rescind_protocol.limits import MAX_STALENESS_S
from rescind_publisher.ledger import Ledger
from rescind_subscriber.owed import Owed
from tests.fakes.hosts import Hosts
from tests.fakes.publishing import target


class Cloned(Hosts):
    """The publisher's host, and a clone of it whose clock is some seconds off."""

    def __init__(self, behind_s: float = 0.0) -> None:
        super().__init__()
        self.accept((Kill(target=target(1)),))
        self.beat(3)
        self.spools = [self.spool, copy.deepcopy(self.spool)]
        self.ledgers = []
        for each in self.spools:
            self.spool = each
            self.start_publisher()
            self.ledgers.append(self.ledger)
        self.behind_s = behind_s

    def both_beat(self, beats: int) -> None:
        """Let both sign heads, half a second apart."""
        for _ in range(beats):
            for number, ledger in enumerate(self.ledgers):
                self.pass_s(0.5)
                self.publisher.offset_s = -self.behind_s * number
                ledger.step_horizon()
                self.hear(ledger.head())
                self.publisher.offset_s = 0.0

    def lose(self, ledger: Ledger, number: int) -> bytes:
        """Accept a kill that reaches nobody yet; return its event."""
        return ledger.accept((Kill(target=target(number)),), lambda _: None)[0].raw


@pytest.mark.parametrize("behind_s", [0.0, 5.0, 30.0])
def test_what_either_host_names_is_owed(behind_s: float) -> None:
    """The view is not fresh without the other's kill, also where that one's clock is behind."""
    cloned = Cloned(behind_s)
    cloned.both_beat(10)
    assert cloned.age_s < 2
    raw = cloned.lose(cloned.ledgers[1], 2)
    cloned.both_beat(10)
    assert cloned.age_s >= 9
    cloned.stored.append(raw)
    cloned.at.batch([raw])
    cloned.both_beat(1)
    assert cloned.age_s < 2
    assert cloned.view.published.table.get(target(2).digest)


def test_by_the_newest_head_alone_the_view_would_be_fresh() -> None:
    """Negative control: for ever, without the other's kill."""
    with patch.object(Owed, "logs", lambda *_: {}):
        cloned = Cloned(5.0)
        cloned.lose(cloned.ledgers[1], 2)
        cloned.both_beat(100)
        assert cloned.age_s < 2


def test_a_host_that_is_gone_is_owed_no_longer_than_the_limit() -> None:
    """What a dead host's disk has taken with it makes nobody stale for longer."""
    cloned = Cloned()
    cloned.lose(cloned.ledgers[1], 2)
    cloned.both_beat(3)
    cloned.ledger = cloned.ledgers[0]
    cloned.beat(int(MAX_STALENESS_S) - 10)
    assert cloned.age_s > MAX_STALENESS_S / 2
    cloned.beat(20)
    assert cloned.age_s < 2


@pytest.mark.parametrize("behind_s", [0.0, 5.0])
def test_two_hosts_are_an_alarm_that_names_both(
    behind_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    """Before either has killed anything: each names the log of its run."""
    cloned = Cloned(behind_s)
    cloned.both_beat(20)
    assert cloned.at.faults.counts.read()["two_hosts"] > 0
    said = next(r.getMessage() for r in caplog.records if r.getMessage().startswith("two_hosts"))
    assert all(ledger.log in said for ledger in cloned.ledgers)


def test_one_host_that_starts_again_and_closes_logs_is_no_alarm() -> None:
    """Logs come and go, and none comes back; heads may come twice and out of order."""
    hosts = Hosts()
    heard: list[bytes] = []
    for number in range(4):
        hosts.start_publisher()
        hosts.accept((Kill(target=target(number), expires_at=int(hosts.time.now) + 30),))
        for _ in range(30):
            hosts.pass_s(5)
            hosts.ledger.step_horizon()
            heard.append(hosts.ledger.head())
            hosts.hear(heard[-1])
            hosts.hear(heard[-2 if len(heard) > 1 else -1])
        with patch("rescind_publisher.ledger.SPENT_LOGS_HEADED", 0):
            hosts.ledger.review(hosts.ledger.positions)
    assert "two_hosts" not in hosts.at.faults.counts.read()
    assert hosts.age_s < 1
    assert len(heads.authenticate(heard[-1], hosts.trust).logs) < 4
