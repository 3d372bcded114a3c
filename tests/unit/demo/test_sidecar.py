"""The demo's subscriber says everything that it applied, also what a replay brings at once."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from rescind.demo import wire
from rescind.demo.sidecar import obey
from rescind.sidecar import Sidecar


class Quick:
    """A subscriber that has replayed before whoever started it is back."""

    def __init__(self) -> None:
        self.on_applied: list[Callable[[Any], None]] = []

    def replay(self) -> None:
        """Apply one event."""
        for listener in self.on_applied:
            listener(SimpleNamespace(log="log", seq=1))

    def wait_fresh(self, timeout_s: float) -> None:
        """Be fresh."""


def test_a_replay_that_is_over_at_once_is_reported() -> None:
    """Whoever listens after the start misses it, and the demo says that nothing was replayed."""
    quick = Quick()
    sidecar = cast("Sidecar", SimpleNamespace(subscriber=quick, start=quick.replay))
    said: list[wire.Report] = []
    obey(sidecar, [wire.Follow()], said.append)
    assert [(each.log, each.seq) for each in said if isinstance(each, wire.Applied)] == [("log", 1)]
