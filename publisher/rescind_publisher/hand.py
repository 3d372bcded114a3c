"""The hand-over of one request's events, and what its receipt is made of."""

import time
from collections.abc import Callable

from rescind_protocol.changes import RevocationId
from rescind_publisher.chain import Numbered
from rescind_publisher.plans import Plan
from rescind_publisher.receipts import Progress, Receipt


class Hand:
    """Called once, by the ledger, when the events are committed."""

    __slots__ = ("_post", "_sinks", "_started", "accepted_ms", "progress")

    def __init__(
        self,
        sinks: tuple[str, ...],
        post: Callable[[list[Numbered], Progress], None],
        started: float,
    ) -> None:
        """`post` gives events to the loop; `started` by `time.perf_counter`."""
        self._sinks, self._post, self._started = sinks, post, started

    def __call__(self, made: list[Numbered]) -> None:
        """Note the time and hand over."""
        self.accepted_ms = (time.perf_counter() - self._started) * 1000
        self.progress = Progress(self._sinks, len(made), self._started)
        self._post(made, self.progress)

    def receipt(self, plan: Plan, made: list[Numbered], *, at: float) -> Receipt:
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
        )
