"""How many revocations are in force: by key for its quota, by log as the sum that heads name."""

from collections.abc import Iterable

from rescind_protocol.changes import RevocationId
from rescind_protocol.image import id_number
from rescind_protocol.rights import LOG_PREFIX_CHARS

_MODULUS = 2**128


class Live:
    """Counts of one state; belongs to its writer."""

    def __init__(self) -> None:
        self.count: dict[str, int] = {}
        """By key: the first characters of the log id."""
        self._sums: dict[str, int] = {}
        self._unsummed: list[RevocationId] = []
        """A kill does not wait for a sum that heads alone need."""

    def held(self, log: str) -> int:
        """Return how many the key of a log holds."""
        return self.count.get(log[:LOG_PREFIX_CHARS], 0)

    def add(self, name: RevocationId) -> None:
        """Count one more."""
        self.note(name)
        self.add_counted(name.log, 1)

    def note(self, name: RevocationId) -> None:
        """Take one into its log's sum; `add_counted` follows for many at once."""
        self._unsummed.append(name)

    def add_counted(self, log: str, count: int) -> None:
        """Count so many more of a log that were noted."""
        key = log[:LOG_PREFIX_CHARS]
        self.count[key] = self.count.get(key, 0) + count

    def drop(self, name: RevocationId) -> None:
        """Count one less."""
        self.add_counted(name.log, -1)
        self._sums[name.log] = self._sums.get(name.log, 0) - id_number(name)

    def sum(self, logs: Iterable[str]) -> int:
        """Sum, modulo 2^128, of the ids in these logs."""
        for name in self._unsummed:
            self._sums[name.log] = self._sums.get(name.log, 0) + id_number(name)
        self._unsummed.clear()
        return sum(self._sums.get(log, 0) for log in logs) % _MODULUS
