"""Virtual time: one true time, a queue of what happens next, and each host's own idea of it."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

START = 1_800_000_000.0
"""Where virtual time begins, unix seconds."""


class Time:
    """The true time and what is going to happen. Nothing here waits."""

    __slots__ = ("_count", "_queue", "now")

    def __init__(self, now: float = START) -> None:
        self.now = now
        self._queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def after(self, seconds: float, call: Callable[..., None], *args: Any) -> None:
        """Let something happen in so many seconds; equal times keep their order."""
        self._count += 1
        heappush(self._queue, (self.now + seconds, self._count, call, args))

    def run(self, until: float) -> None:
        """Let everything happen that is due up to `until`, unix seconds."""
        queue = self._queue
        while queue and queue[0][0] <= until:
            self.now, _, call, args = heappop(queue)
            call(*args)
        self.now = until


class HostClock:
    """One host's clocks: the wall clock is off by `offset_s`, the boot clock never jumps.

    A test sets `offset_s` to let the wall clock jump, and calls `reboot` to start the host again.
    """

    __slots__ = ("_booted", "_time", "offset_s")

    def __init__(self, time: Time, offset_s: float = 0.0) -> None:
        self._time = time
        self._booted = time.now - 1000.0
        self.offset_s = offset_s

    def reboot(self, offset_s: float = 0.0) -> None:
        """Start the host again: its boot clock begins at 0, its wall clock as far off as said."""
        self._booted = self._time.now
        self.offset_s = offset_s

    def wall(self) -> float:
        """Unix seconds, as this host has them."""
        return self._time.now + self.offset_s

    def boot(self) -> float:
        """Seconds since boot; goes on while the host is suspended."""
        return self._time.now - self._booted
