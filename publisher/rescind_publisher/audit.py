"""Comparing what a sink holds of one log with the spool. The pure step; no I/O, no clock."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from rescind_publisher.sinks.base import Record

MAX_FORKS = 16
"""Forked events that are named; one is reason enough to look at all."""


class Audit:
    """One log in one sink; a bit an event, so that a million take 125 KB."""

    def __init__(self, log: str, upto: int, is_fork: Callable[[str, int, bytes], bool]) -> None:
        """Events 1 to `upto` must be there; later ones are on their way."""
        self.log, self.upto = log, upto
        self.forks: set[int] = set()
        """Numbers at which another event lies that our own key has signed."""
        self.foreign = 0
        """How often something lay there that is none of our events."""
        self._is_fork = is_fork
        self._seen = bytearray(upto // 8 + 1)

    def take(self, held: Sequence[Record], kept: Mapping[int, bytes]) -> None:
        """Compare what the sink holds with what the spool has at the same numbers."""
        for record in held:
            if kept.get(record.seq) == record.raw:
                self._note(record.seq)
            elif not self._is_fork(self.log, record.seq, record.raw):
                self.foreign += 1
            elif len(self.forks) < MAX_FORKS:
                self.forks.add(record.seq)

    def _note(self, seq: int) -> None:
        if 0 < seq <= self.upto:
            self._seen[seq // 8] |= 1 << seq % 8

    def missing(self, carried: int = 0) -> Iterator[int]:
        """Yield the numbers of the events that the sink does not hold, the lowest first.

        A front up to `carried`, which snapshots in the sink carry, may have been trimmed; where
        nothing is left of a log, it was not trimmed but lost.
        """
        first = next((seq for seq in range(1, self.upto + 1) if self._holds(seq)), 1)
        for seq in range(min(first, carried + 1), self.upto + 1):
            if not self._holds(seq):
                yield seq

    def _holds(self, seq: int) -> bool:
        return bool(self._seen[seq // 8] & 1 << seq % 8)


def runs(seqs: Iterable[int]) -> list[tuple[int, int]]:
    """Return numbers as runs (first, how many), so that each run is one reading of the spool."""
    found: list[tuple[int, int]] = []
    for seq in sorted(set(seqs)):
        if found and sum(found[-1]) == seq:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((seq, 1))
    return found
