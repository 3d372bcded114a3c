"""Trust versions on their way into brokers, and a publisher that goes by a newer one."""

import asyncio
from pathlib import Path

import pytest

from rescind_protocol import heads
from rescind_protocol import trust as trusts
from rescind_protocol.errors import TrustBroken
from rescind_protocol.subjects import TRUST_LOG
from rescind_protocol.trust import ALL_RIGHTS, Trust
from rescind_publisher import trust_post
from rescind_publisher.control_client import ControlClient
from rescind_publisher.errors import NotPermitted, QuotaExceeded
from rescind_publisher.requests import TrustRequest
from rescind_publisher.switch import KillSwitch
from tests.fakes.fabric import PUBLISHER, SECOND, make_trust, next_trust, trusted
from tests.fakes.publishing import publisher, target
from tests.fakes.sink import FakeSink
from tests.fakes.waiting import wait_until

FIRST = make_trust()
SECOND_VERSION = trusts.extend(FIRST, next_trust(FIRST))


def request(trust: Trust) -> TrustRequest:
    """Return what hands a trust over."""
    return TrustRequest(tuple(raw.decode() for raw in trust.raws))


def versions(sink: FakeSink) -> list[bytes]:
    """Return what a sink holds of the trust log."""
    numbers = [number for log, number in sink.stored if log == TRUST_LOG]
    assert numbers == sorted(numbers)
    return [raw for raw in sink.store if raw is not None and trusts.is_version(raw)]


def test_all_versions_are_stored_in_order_and_heads_name_the_newest(tmp_path: Path) -> None:
    """In every sink; a subscriber that was away finds those in between."""
    sinks = FakeSink("one"), FakeSink("two")
    engine = publisher(tmp_path, *sinks, control=tmp_path / "c" / "control.sock")
    with KillSwitch(engine) as switch:
        wait_until(lambda: all(sink.heads for sink in sinks))
        posted = ControlClient(tmp_path / "c" / "control.sock").post_trust(request(SECOND_VERSION))
        assert (posted.version, posted.sinks) == (2, {"one": "", "two": ""})
        for sink in sinks:
            assert versions(sink) == list(SECOND_VERSION.raws)
        wait_until(lambda: heads.authenticate(sinks[0].heads[-1], SECOND_VERSION).trust == 2)
        assert switch.kill(target()).ids


def test_what_is_stored_is_not_stored_again_and_what_was_lost_is(tmp_path: Path) -> None:
    """Each version is read back; one that is gone is sent again as a repair."""
    sink = FakeSink()
    engine = publisher(tmp_path, sink)
    with KillSwitch(engine):
        wait_until(lambda: sink.heads)
        engine.post_trust(request(SECOND_VERSION))
        engine.post_trust(request(SECOND_VERSION))
        assert len(versions(sink)) == 2
        sink.store[sink.store.index(SECOND_VERSION.raws[1])] = None
        engine.post_trust(request(SECOND_VERSION))
        assert versions(sink).count(SECOND_VERSION.raws[1]) == 1
        assert sink.attempts[-1] == (2, True)


def test_a_lying_store_is_asked_again(tmp_path: Path) -> None:
    """Its id for the bytes answers `duplicate`, and other bytes lie there (attack A4)."""
    sink = FakeSink()
    engine = publisher(tmp_path, sink)
    with KillSwitch(engine):
        wait_until(lambda: sink.heads)
        sink.store.append(b"garbage")
        sink.ids[FIRST.raws[0]] = len(sink.store) - 1
        engine.post_trust(request(FIRST))
        assert versions(sink) == [FIRST.raws[0]]


def test_a_sink_that_is_away_is_named(tmp_path: Path) -> None:
    """The version is gone by all the same."""
    sink = FakeSink()
    engine = publisher(tmp_path, sink)
    with KillSwitch(engine):
        wait_until(lambda: sink.heads)
        sink.down = True
        posted = engine.post_trust(request(SECOND_VERSION))
        assert posted.sinks["fake"]
        assert posted.version == 2


def test_a_sink_that_fails_unforeseen_or_never_answers_is_named_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended the looking for good, of all sinks, or held it up for ever."""
    monkeypatch.setattr(trust_post, "HOLD_TIMEOUT_S", 0.01)
    broken, silent, well = FakeSink("broken"), FakeSink("silent"), FakeSink("well")
    engine = publisher(tmp_path, broken, silent, well)
    with KillSwitch(engine):
        wait_until(lambda: all(sink.heads for sink in (broken, silent, well)))
        broken.broken, silent.hold = RuntimeError("a defect"), asyncio.Event()
        sinks = engine.post_trust(request(SECOND_VERSION)).sinks
        assert "unforeseen" in sinks["broken"]
        assert "no answer" in sinks["silent"]
        assert sinks["well"] == ""
        broken.broken = silent.hold = None
        monkeypatch.undo()
        assert not any(engine.post_trust(request(SECOND_VERSION)).sinks.values())
        assert versions(broken) == list(SECOND_VERSION.raws)


def test_another_history_is_refused(tmp_path: Path) -> None:
    """With the sentence of the chain."""
    other = trusts.extend(FIRST, next_trust(FIRST, keys={SECOND.kid: None}))
    engine = publisher(tmp_path, FakeSink(), trust=SECOND_VERSION)
    with KillSwitch(engine), pytest.raises(TrustBroken, match="two trust versions 2"):
        engine.post_trust(request(other))


def test_a_publisher_whose_key_is_revoked_accepts_nothing(tmp_path: Path) -> None:
    """Every subscriber would find it void: no receipt for that. Nor does it start again."""
    both = trusts.extend(FIRST, next_trust(FIRST, required=("soc-b",)))
    revoked = trusts.extend(both, next_trust(both, cuts={PUBLISHER.kid: {}}))
    engine = publisher(tmp_path, FakeSink())
    with KillSwitch(engine) as switch:
        switch.kill(target())
        engine.believe(revoked)
        with pytest.raises(NotPermitted, match="revoked"):
            switch.kill(target(2))
    with pytest.raises(NotPermitted, match="new spool"):
        publisher(tmp_path, FakeSink(), trust=revoked)


def test_a_new_quota_counts_at_once_and_an_older_version_does_not(tmp_path: Path) -> None:
    """Heard while it runs."""
    rights = ALL_RIGHTS.__class__(
        kill=ALL_RIGHTS.kill, reinstate=ALL_RIGHTS.reinstate, head=True, quota=1
    )
    less = trusts.extend(
        FIRST, next_trust(FIRST, keys={PUBLISHER.kid: trusted(PUBLISHER, "soc", rights)})
    )
    engine = publisher(tmp_path, FakeSink())
    with KillSwitch(engine) as switch:
        switch.kill(target(1))
        engine.believe(less)
        engine.believe(FIRST)
        with pytest.raises(QuotaExceeded):
            switch.kill(target(2))
