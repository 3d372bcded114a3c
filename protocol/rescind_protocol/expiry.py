"""When what expires: by log, then by second, so that a horizon finds its dues at once."""

from heapq import heappop, heappush


class Expiry:
    """Targets to look at again when the horizon of a log passes a time (unix seconds)."""

    def __init__(self) -> None:
        self._targets: dict[str, dict[int, list[bytes]]] = {}
        self._seconds: dict[str, list[int]] = {}

    def add(self, log: str, at: int, target: bytes) -> None:
        """Remember that something of `log` on `target` expires at `at`."""
        by_second = self._targets.setdefault(log, {})
        if at not in by_second:
            by_second[at] = []
            heappush(self._seconds.setdefault(log, []), at)
        by_second[at].append(target)

    def due(self, log: str, horizon: int) -> list[bytes]:
        """Take out the targets of everything that expires up to `horizon`."""
        seconds = self._seconds.get(log, [])
        found: list[bytes] = []
        while seconds and seconds[0] <= horizon:
            found += self._targets[log].pop(heappop(seconds))
        return found
