"""The calls that were allowed last, so that a kill can say how many came before it.

A bounded ring, one append a call and no lock: `deque.append` is one atomic step, with or without a
GIL. It belongs to the view, for all guards of a view tell the same subscriber. It decides nothing.
"""

from collections import deque
from collections.abc import Collection, Iterable
from itertools import islice

from rescind_guard.decision import Decision
from rescind_protocol.limits import MAX_PASSED_STEPS
from rescind_protocol.reports import Passed, round_up

REMEMBERED_CALLS = 8192
"""About 1 MB. A service with 1000 calls a second remembers eight seconds of them."""
_COPY_ATTEMPTS = 8

Call = tuple[float, Decision]
"""CLOCK_BOOTTIME seconds, and the decision that allowed the call."""


class PassedCalls:
    """A ring of calls. Any thread may append, any may ask."""

    __slots__ = ("_ring", "append")

    def __init__(self, size: int = REMEMBERED_CALLS) -> None:
        self._ring: deque[Call] = deque(maxlen=size)
        self.append = self._ring.append
        """Take one allowed call; the oldest makes room."""

    def __len__(self) -> int:
        return len(self._ring)

    def clear(self) -> None:
        """Forget every call: after a fork they are the parent's to tell of."""
        self._ring.clear()

    def _copy(self) -> list[Call] | None:
        """Return the calls, oldest first; None if others append faster than they can be copied."""
        for _ in range(_COPY_ATTEMPTS):
            try:
                return list(self._ring)
            except RuntimeError:  # appended to meanwhile: only where there is no GIL
                continue
        return None

    def before(self, kills: Iterable[tuple[float, Collection[bytes]]]) -> list[Passed]:
        """Return for each kill (boot seconds of its application, digests) what had passed.

        A call counts if the kill names any of its badge's targets. One pass over the ring for all.
        """
        asked, calls = list(kills), self._copy()
        if calls is None:
            return [Passed((), 0) for _ in asked]
        full = len(calls) == self._ring.maxlen
        wanted = frozenset().union(*(digests for _, digests in asked))
        hits = [call for call in calls if _touches(call[1], wanted)]
        return [
            Passed(
                _steps(hits, at, digests),
                max(0, int((at - calls[0][0]) * 1000)) if full else None,
            )
            for at, digests in asked
        ]


def _touches(decision: Decision, digests: Collection[bytes]) -> bool:
    claims = decision.claims
    named = decision.hops if claims is None else (claims, *decision.hops)
    return any(target in digests for each in named for target in each.targets)


def _steps(
    calls: Iterable[Call], applied_at: float, digests: Collection[bytes]
) -> tuple[tuple[int, int], ...]:
    """Return (age in ms, calls), newest first; what does not fit counts with the last step."""
    counts: dict[int, int] = {}
    for at, decision in calls:
        if at <= applied_at and _touches(decision, digests):
            age_ms = round_up((applied_at - at) * 1000)
            counts[age_ms] = counts.get(age_ms, 0) + 1
    steps = sorted(counts.items())
    kept, rest = steps[:MAX_PASSED_STEPS], islice(steps, MAX_PASSED_STEPS, None)
    more = sum(count for _, count in rest)
    if more:  # rather too young, and counted, than left out
        kept[-1] = (kept[-1][0], kept[-1][1] + more)
    return tuple(kept)
