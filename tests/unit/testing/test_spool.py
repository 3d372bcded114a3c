"""The spool in memory keeps what it committed, and only that."""

import pytest

from rescind.testing.clock import HostClock, Time
from rescind.testing.keys import FABRIC, key_of, trust_of
from rescind.testing.spool import MemorySpool
from rescind_protocol.changes import Kill
from rescind_protocol.targets import agent
from rescind_publisher.chain import Numbered, Voice
from rescind_publisher.errors import SpoolFailed
from rescind_publisher.ledger import Ledger

KILL = Kill(target=agent("did:web:acme.example:x7"))


def ledger(spool: MemorySpool) -> Ledger:
    """Return a real ledger over the spool."""
    voice = Voice(key_of("p0"), "p0", FABRIC, 10)
    return Ledger(spool, voice, trust_of(("p0",)), HostClock(Time()))


def test_a_new_ledger_finds_what_was_committed() -> None:
    """Events are heard of as they are committed, before they are handed over."""
    order: list[str] = []
    spool = MemorySpool(lambda _: order.append("committed"))

    def hand_over(_: list[Numbered]) -> None:
        order.append("handed over")
        raise KeyboardInterrupt  # the process dies here

    with pytest.raises(KeyboardInterrupt):
        ledger(spool).accept((KILL,), hand_over)
    assert order == ["committed", "handed over"]
    assert [r.kill for r in ledger(spool).live(KILL.target)] == [KILL]


@pytest.mark.parametrize("late", [False, True])
def test_a_commit_that_fails_accepts_nothing_and_uses_no_number_twice(*, late: bool) -> None:
    """Whether it lies there nevertheless or not: the ledger goes on in a new log."""
    committed: list[Numbered] = []
    spool = MemorySpool(committed.extend)
    spool.fails, spool.fails_late = "the disk is full", late
    at = ledger(spool)
    before = at.log
    with pytest.raises(SpoolFailed, match="the disk is full"):
        at.accept((KILL,), lambda _: None)
    assert committed == []
    assert list(spool.positions()) == ([before] if late else [])
    at.accept((KILL,), lambda _: None)
    assert at.log != before
    assert [each.event.log for each in committed] == [at.log]
