"""What is in force: places by key and by actor for quotas, a sum by log for heads."""

from collections.abc import Iterable

from rescind_protocol import places
from rescind_protocol.changes import Revocation, RevocationId
from rescind_protocol.image import id_number
from rescind_protocol.rights import LOG_PREFIX_CHARS

_MODULUS = 2**128


class Live:
    """Counts of one state; belongs to its writer."""

    def __init__(self) -> None:
        self.count: dict[str, int] = {}
        """Places (`places`) by key: the first characters of the log id."""
        self.by_actor: dict[str, int] = {}
        """Places by who asked, where a state keeps that."""
        self._sums: dict[str, int] = {}
        self._unsummed: list[RevocationId] = []
        """A kill does not wait for a sum that heads alone need."""

    def held(self, log: str) -> int:
        """Return how many places the key of a log holds."""
        return self.count.get(log[:LOG_PREFIX_CHARS], 0)

    def add(self, revocation: Revocation) -> None:
        """Count one more."""
        self.note(revocation)
        self.add_counted(revocation.id.log, places.of(revocation.kill))

    def note(self, revocation: Revocation) -> None:
        """Take one into its log's sum; `add_counted` follows for many at once."""
        self._unsummed.append(revocation.id)
        if revocation.kill.actor is not None:
            self._count_actor(revocation.kill.actor, places.of(revocation.kill))

    def add_counted(self, log: str, count: int) -> None:
        """Count so many more places of a log that were noted."""
        key = log[:LOG_PREFIX_CHARS]
        self.count[key] = self.count.get(key, 0) + count

    def drop(self, revocation: Revocation) -> None:
        """Count one less."""
        name, count = revocation.id, places.of(revocation.kill)
        self.add_counted(name.log, -count)
        self._sums[name.log] = self._sums.get(name.log, 0) - id_number(name)
        if revocation.kill.actor is not None:
            self._count_actor(revocation.kill.actor, -count)

    def _count_actor(self, actor: str, count: int) -> None:
        left = self.by_actor.get(actor, 0) + count
        if left:
            self.by_actor[actor] = left
        else:
            del self.by_actor[actor]

    def sum(self, logs: Iterable[str]) -> int:
        """Sum, modulo 2^128, of the ids in these logs."""
        for name in self._unsummed:
            self._sums[name.log] = self._sums.get(name.log, 0) + id_number(name)
        self._unsummed.clear()
        return sum(self._sums.get(log, 0) for log in logs) % _MODULUS
