"""A limit on failures for each address: a good token or a good proof is never slowed down by it.

So nothing asks whether an address is over its limit before it has judged what was said: behind a
proxy all have one address, and a stranger's bad tokens would keep every agent from its next badge.
"""

import threading
from collections import OrderedDict

from rescind_registry.errors import TooManyFailures

MOST = 20
"""Failures of one address within the window."""
WINDOW_S = 60.0
MAX_ADDRESSES = 10_000
"""Beyond it the one that failed longest ago is forgotten: memory is bounded."""


class Failures:
    """Counts in fixed windows; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def failed(self, address: str, now: float) -> None:
        """Count a failure; raises `TooManyFailures` once there are too many."""
        with self._lock:
            since, count = self._counts.pop(address, (now, 0))
            if not 0 <= now - since < WINDOW_S:
                since, count = now, 0
            count += 1
            self._counts[address] = (since, count)
            if len(self._counts) > MAX_ADDRESSES:
                self._counts.popitem(last=False)
        self._check(since, count, now)

    def _check(self, since: float, count: int, now: float) -> None:
        if count >= MOST:
            wait_s = max(1, int(since + WINDOW_S - now) + 1)
            raise TooManyFailures(f"too many failures from your address: wait {wait_s} s", wait_s)
