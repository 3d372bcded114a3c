"""A state built anew, beside the one that serves, when a cut has made void what that one holds.

A state cannot forget: a void reinstatement has ended kills that nobody here knows any more. So:

1. the state that serves goes on: what it knows denies, what comes is joined into it as well
2. another one is built from nothing: from snapshots that hold nothing void, from all that is stored
3. it takes over when the required publishers' heads are covered by it, when every log that ends
   stands at its end, and when it has all that the old one had and that still counts; so no kill is
   lost for a moment
4. until then nothing makes the view fresh: kills that were ended by what is void may be missing
"""

from collections.abc import Callable
from math import inf

from rescind_protocol.changes import RevocationId
from rescind_protocol.image import Image
from rescind_protocol.join import Replica
from rescind_protocol.positions import START, Position
from rescind_protocol.trust import Trust


class Rebuild:
    """What is being built; used by the one thread that writes the view."""

    def __init__(self, make: Callable[..., Replica], trust: Trust, old: Replica) -> None:
        self._make, self._trust, self._old = make, trust, old
        self._forked: frozenset[str] = frozenset()
        self.pure = False
        """Whether a state from elsewhere is not to be merged: it may be of the wrong history."""
        self.replica = self._begin({})

    def _begin(self, retired: dict[str, dict[str, Position]]) -> Replica:
        # Not the old horizons either: a revoked key's snapshot may have set them, to end all kills.
        # Heads say the true ones every second.
        made = self._make(self._trust.cut, retired=retired, forked=self._forked)
        made.merge(self._split(made))
        return made

    def _split(self, made: Replica) -> Image:
        """Return the kills of logs with two histories that nothing cuts: a store may have one."""
        forked = {log for log in self._old.forked if made.cuts.of(log) is None}
        held = (r for _, e in self._old.table.items() for r in e.revocations) if forked else ()
        kills = tuple(each for each in held if each.id.log in forked)
        return Image(revocations=kills, forked=tuple(sorted(forked)))

    def restart(self) -> None:
        """Begin again with what was learned: retirements that came late, and histories that fork.

        What retires is itself an event of such a history: it is learned anew where one was chosen.
        """
        spoiled = self.replica
        forked = {log for log in spoiled.forked if spoiled.cuts.of(log) is not None}
        if forked - self._forked:
            self._forked |= forked
            self.pure = True
            self.replica = self._begin({})
        else:
            self.replica = self._begin(spoiled.cuts.retired)

    def has_all(self) -> bool:
        """Whether everything that the old state had, and that still counts, is in the new one."""
        logs = {*self._old.vector, *self._old.above}
        return all(map(self._has_log, logs))

    def _has_log(self, log: str) -> bool:
        new, cut = self.replica, self.replica.cuts.of(log)
        if cut is not None and cut.seq == 0:
            return True
        most = cut.seq if cut is not None else inf
        had = self._old.vector.get(log, START).seq
        above = (seq for seq in self._old.above.get(log, ()) if seq <= most)
        return new.vector.get(log, START).seq >= min(had, most) and all(
            new.seen(RevocationId(log, seq, 0)) for seq in above
        )


def complete(replica: Replica, trust: Trust) -> bool:
    """Whether every log that ends stands at its end: a cut is a log's last head (I4)."""
    ends = [*trust.cuts(), *replica.cuts.retirements()]
    return all(replica.completes(log, at) for log, at in ends)
