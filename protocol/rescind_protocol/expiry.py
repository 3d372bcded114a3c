"""When what expires: by log, then by second, so that a horizon finds its dues at once."""

from heapq import heappop, heappush

from rescind_protocol.changes import RevocationId


class Expiry:
    """What to look at again when the horizon of a log passes a time (unix seconds).

    Each due names its kill, so that it is found among however many of the same target.
    """

    def __init__(self) -> None:
        self._dues: dict[str, dict[int, list[bytes | RevocationId | None]]] = {}
        """Targets and kills in turn: a pair for each would be half of what a kill costs."""
        self._seconds: dict[str, list[int]] = {}

    def add(self, log: str, at: int, target: bytes, name: RevocationId | None) -> None:
        """Remember that a kill on `target` expires at `at`, or, without a name, the log's floor."""
        by_second = self._dues.setdefault(log, {})
        if at not in by_second:
            by_second[at] = []
            heappush(self._seconds.setdefault(log, []), at)
        by_second[at] += (target, name)

    def due(self, log: str, horizon: int) -> list[tuple[bytes, RevocationId | None]]:
        """Take out everything that expires up to `horizon`, with its target."""
        seconds = self._seconds.get(log, [])
        found: list[bytes | RevocationId | None] = []
        while seconds and seconds[0] <= horizon:
            found += self._dues[log].pop(heappop(seconds))
        return list(zip(found[::2], found[1::2], strict=True))  # type: ignore[arg-type]  # in turn
