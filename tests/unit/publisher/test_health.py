"""What of a publisher is not green: no head is signed, or its heads freshen nobody."""

from pathlib import Path

import msgspec

from rescind_protocol import trust
from rescind_publisher.rights import expired
from rescind_publisher.switch import KillSwitch
from tests.fakes.clock import FakeClock
from tests.fakes.fabric import NOW, PUBLISHER, ROOT, make_trust, trust_file
from tests.fakes.publishing import publisher, target
from tests.fakes.sink import FakeSink
from tests.fakes.waiting import wait_until


def ending(not_after: int) -> trust.Trust:
    """Return a trust in which the publisher's key ends."""
    file = trust_file()
    keys = tuple(msgspec.structs.replace(key, not_after=not_after) for key in file.keys)
    signed = trust.sign(msgspec.structs.replace(file, keys=keys), ROOT)
    return trust.read(signed, root=ROOT.public, fabric=file.aud)


def test_a_key_that_ends_while_it_is_used_is_said(tmp_path: Path) -> None:
    """Kills still count and are accepted; that views go stale stands in the status."""
    clock = FakeClock()
    with publisher(tmp_path, FakeSink(), trust=ending(int(NOW) + 100), clock=clock) as engine:
        assert engine.status().problem is None
        clock.pass_s(101)
        assert "views go stale" in str(engine.status().problem)
        assert KillSwitch(engine).kill(target(1), timeout_s=15).durable == ("fake",)


def test_a_key_without_an_end_has_not_expired() -> None:
    """Negative control."""
    assert expired(make_trust().signers[PUBLISHER.kid], 2.0**40) is None


def test_a_clock_that_is_behind_is_said(tmp_path: Path) -> None:
    """Not in the log alone: the status has the sentence, until the clock is set right."""
    clock = FakeClock()
    with publisher(tmp_path, FakeSink(), clock=clock) as engine:
        wait_until(lambda: engine._ledger.horizon > 0)
        clock.wall_s -= 3600
        wait_until(lambda: engine.status().problem is not None)
        assert "this host's clock is 35" in str(engine.status().problem)
        clock.wall_s += 3600
        wait_until(lambda: engine.status().problem is None)
