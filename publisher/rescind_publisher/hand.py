"""The hand-over of one request's events, and what its receipt is made of."""

import time
from collections.abc import Callable

from rescind_protocol.changes import RevocationId
from rescind_publisher.applied import Applied
from rescind_publisher.chain import Numbered
from rescind_publisher.gate import Gate
from rescind_publisher.plans import Plan
from rescind_publisher.receipts import Progress, Receipt
from rescind_publisher.sinks.base import Record

Post = Callable[..., None]
"""Call a plain function with these arguments on the loop."""
Prepare = Callable[[list[Record]], None]
Take = Callable[[list[Record], Progress], None]


class Hand:
    """Told by the ledger before the events of one request are committed, and after."""

    __slots__ = (
        "_gate",
        "_post",
        "_prepare",
        "_records",
        "_sinks",
        "_started",
        "_take",
        "accepted_ms",
        "progress",
    )

    def __init__(
        self, sinks: tuple[str, ...], post: Post, prepare: Prepare, take: Take, started: float
    ) -> None:
        """`prepare` and `take` are the drain's, on the loop; `started` by `time.perf_counter`."""
        self._sinks, self._post, self._started = sinks, post, started
        self._prepare, self._take = prepare, take
        self._gate = Gate()

    def stand_by(self) -> None:
        """Wake the loop: events are about to be signed."""
        self._post(self._send_when_committed)

    def signed(self, made: list[Numbered]) -> None:
        """Have the loop make these events ready: the commit follows."""
        self._records = [Record(each.event.log, each.event.seq, each.raw) for each in made]
        self._gate.signed()
        self.progress = Progress(self._sinks, len(made), self._started)

    def _send_when_committed(self) -> None:
        ready = self._gate.wait_signed()
        if ready:
            self._prepare(self._records)
        if self._gate.wait(ready=ready):
            try:
                self._take(self._records, self.progress)
            finally:
                self._gate.done()

    def committed(self) -> None:
        """Hand over, and note the time."""
        self.accepted_ms = (time.perf_counter() - self._started) * 1000
        self._gate.open()
        if self._gate.left and self._gate.claim():
            self._post(self._take, self._records, self.progress)

    def receipt(
        self, plan: Plan, made: list[Numbered], *, at: float, applied: Applied | None = None
    ) -> Receipt:
        """Return what is known now; `at` in unix seconds."""
        return Receipt(
            ids=tuple(
                RevocationId(each.event.log, each.event.seq, index)
                for each in made
                for index, _ in each.event.changes
            ),
            targets=tuple(dict.fromkeys(str(change.target) for change in plan.changes)),
            accepted_at=round(at, 3),
            accepted_ms=self.accepted_ms,
            sinks=self.progress.sinks(),
            ended=plan.ended,
            new_badges_from=plan.floor,
            warnings=plan.warnings,
            applied=applied,
        )
