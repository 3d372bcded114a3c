"""The hand-over of one request's events, and what its receipt is made of."""

import time
from collections.abc import Callable

from rescind_protocol.changes import RevocationId
from rescind_publisher.applied import Applied
from rescind_publisher.chain import Numbered
from rescind_publisher.drain import Drain
from rescind_publisher.gate import Gate
from rescind_publisher.plans import Plan
from rescind_publisher.receipts import Progress, Receipt
from rescind_publisher.sinks.base import Record

Post = Callable[..., None]
"""Call a plain function with these arguments on the loop."""


class Hand:
    """Told by the ledger before the events of one request are committed, and after."""

    __slots__ = (
        "_drain",
        "_gate",
        "_post",
        "_records",
        "_sinks",
        "_started",
        "accepted_ms",
        "progress",
    )

    def __init__(self, sinks: tuple[str, ...], post: Post, drain: Drain, started: float) -> None:
        """`drain` belongs to the loop that `post` reaches; `started` by `time.perf_counter`."""
        self._sinks, self._post, self._drain, self._started = sinks, post, drain, started
        self._gate = Gate()

    def signed(self, made: list[Numbered]) -> None:
        """Wake the loop, to make these events ready: the commit follows."""
        self._records = [Record(each.event.log, each.event.seq, each.raw) for each in made]
        self.progress = Progress(self._sinks, len(made), self._started)
        self._post(self._take_when_committed)

    def _take_when_committed(self) -> None:
        self._drain.prepare(self._records)
        if self._gate.stand():
            try:
                self._drain.take(self._records, self.progress)
            finally:
                self._gate.done()

    def committed(self) -> None:
        """Send, or have the loop send; and note the time."""
        self.accepted_ms = (time.perf_counter() - self._started) * 1000
        self._gate.open(self._send)
        if self._gate.left and self._gate.claim():
            self._post(self._drain.take, self._records, self.progress)

    def _send(self) -> None:
        self._drain.send(self._records)

    def receipt(
        self, plan: Plan, made: list[Numbered], *, at: float, applied: Applied | None = None
    ) -> Receipt:
        """Return what is known now; `at` in unix seconds."""
        return Receipt(
            ids=tuple(
                RevocationId(each.event.log, each.event.seq, index)
                for each in made
                for index in range(max(1, len(each.event.changes)))
            ),
            targets=(
                *dict.fromkeys(str(change.target) for change in plan.changes),
                *(f"publisher {retired.publisher}" for retired in plan.retires),
            ),
            accepted_at=round(at, 3),
            accepted_ms=self.accepted_ms,
            sinks=self.progress.sinks(),
            ended=plan.ended,
            new_badges_from=plan.floor,
            warnings=plan.warnings,
            applied=applied,
        )
