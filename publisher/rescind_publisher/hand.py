"""The hand-over of one request's events, and what its receipt is made of."""

import time
from collections.abc import Callable

from rescind_protocol.changes import RevocationId
from rescind_publisher import repeats
from rescind_publisher.applied import Applied
from rescind_publisher.chain import Numbered
from rescind_publisher.drain import Drain
from rescind_publisher.plans import Plan
from rescind_publisher.receipts import Progress, Receipt
from rescind_publisher.roster import Roster
from rescind_publisher.sinks.base import Record
from rescind_publisher.tally import Tally, wanted

ANSWER_WITHIN_S = 0.005
"""What was sent at once is answered in a millisecond or two, and the answer wakes the loop.

To wake it before is a second waking, on a processor that whoever receives the kill may need.
"""

Post = Callable[..., None]
"""Call a plain function with these arguments on the loop."""


class Hand:
    """Told by the ledger when the events of one request are committed."""

    __slots__ = (
        "_drain",
        "_post",
        "_sinks",
        "_woken",
        "accepted_ms",
        "living",
        "made",
        "plan",
        "progress",
        "started",
    )
    plan: Plan
    """What was committed; this and the next are set by whoever planned it."""
    made: list[Numbered]
    """The events that answer the request, those of before among them."""

    def __init__(self, sinks: tuple[str, ...], post: Post, drain: Drain, started: float) -> None:
        """`drain` belongs to the loop that `post` reaches; `started` by `time.perf_counter`."""
        self._sinks, self._post, self._drain, self.started = sinks, post, drain, started
        self.living: list[Numbered] = []
        """Events of before whose kills cover a part of the request: the sinks may have them."""

    def found(self, living: list[Numbered]) -> None:
        """Know, before the commit, of events that are asked about beside the new ones."""
        self.living = living

    def committed(self, made: list[Numbered]) -> None:
        """Send what can be sent at once; wake the loop for the rest."""
        committed = time.perf_counter()
        new, old = _records(made), _records(self.living)
        sent = self._drain.send(new)
        self.accepted_ms = (committed - self.started) * 1000
        self.progress = Progress(self._sinks, len(new) + len(old), self.started)
        self._drain.leave([*old, *new], self.progress)
        self._woken = bool(old) or not sent
        if self._woken:
            self._post(self._drain.take_left)

    def wait(self, timeout_s: float) -> None:
        """Return when each sink holds everything or is known to be failing, or at the timeout."""
        if self._woken:
            self.progress.wait(timeout_s)
        elif not self.progress.wait(min(timeout_s, ANSWER_WITHIN_S)):
            self._post(self._drain.take_left)
            self.progress.wait(timeout_s - ANSWER_WITHIN_S)

    async def waited(self, timeout_s: float) -> None:
        """Wait as `wait` does, on the drain's loop."""
        if self._woken:
            await self.progress.waited(timeout_s)
        elif not await self.progress.waited(min(timeout_s, ANSWER_WITHIN_S)):
            self._drain.take_left()
            await self.progress.waited(timeout_s - ANSWER_WITHIN_S)

    def tally(self, roster: Roster) -> Tally:
        """Return a count of the subscribers that have applied it; it has to be closed."""
        return Tally(roster, wanted(each.event for each in self.made), self.started)

    def receipt(self, *, at: float, applied: Applied | None = None) -> Receipt:
        """Return what is known now; `at` in unix seconds."""
        plan, made = self.plan, self.made
        retirements = [RevocationId(m.event.log, m.event.seq, 0) for m in made if plan.retires]
        return Receipt(
            ids=(*repeats.ids_of(plan.changes, made), *retirements),
            in_force=tuple(
                RevocationId(each.event.log, each.event.seq, index)
                for each in self.living
                for index, _ in each.event.changes
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


def _records(made: list[Numbered]) -> list[Record]:
    return [Record(each.event.log, each.event.seq, each.raw) for each in made]
