"""The demo's subscriber says everything that it applied, also what a replay brings at once."""

from types import SimpleNamespace
from typing import cast

from rescind.demo import wire
from rescind.demo.sidecar import obey
from rescind.sidecar import Sidecar
from rescind_protocol.changes import Kill
from rescind_subscriber.listeners import Applied, Merged, OnApplied
from tests.fakes.fabric import Log
from tests.fakes.following import victim


class Quick:
    """A subscriber that has replayed before whoever started it is back."""

    def __init__(self, *applied: Applied) -> None:
        self.on_applied: OnApplied = []
        self._applied = applied

    def replay(self) -> None:
        """Apply what there is."""
        for each in self._applied:
            for listener in self.on_applied:
                listener(each)

    def wait_fresh(self, timeout_s: float) -> None:
        """Be fresh."""


def said_by(*applied: Applied) -> list[wire.Applied]:
    """Return what a sidecar says that applies these while it starts."""
    quick = Quick(*applied)
    sidecar = cast("Sidecar", SimpleNamespace(subscriber=quick, start=quick.replay))
    said: list[wire.Report] = []
    obey(sidecar, [wire.Follow()], said.append)
    return [each for each in said if isinstance(each, wire.Applied)]


def test_a_replay_that_is_over_at_once_is_reported() -> None:
    """Whoever listens after the start misses it, and the demo says that nothing was replayed."""
    log = Log()
    [said] = said_by(log.event(Kill(target=victim(1))))
    assert [said.has((log.id, seq)) for seq in (0, 1, 2)] == [False, True, False]


def test_a_kill_inside_a_snapshot_is_reported() -> None:
    """The guard denies by it, however it came."""
    said = said_by(Merged({"log": (range(1, 4), range(7, 8))}))
    found = [seq for seq in range(10) if any(each.has(("log", seq)) for each in said)]
    assert found == [1, 2, 3, 7]
    assert not said[0].has(("another", 1))
