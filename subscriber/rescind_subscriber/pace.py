"""When to read again, when to read all of it again, and when to connect again.

After a reading that brought nothing: twice as long each time, up to a limit. A kill that no broker
has yet is named by a head every second: ten thousand subscribers that ask for it every second would
be the storm on the day of the outage.

After a lost connection: at a random moment of a window that is as wide as the fleet is large. Those
who come when the server has no time are given up on by their own deadline, and come again: a server
that is asked faster than it can answer would answer nobody in time, for ever.
"""

import random
from collections.abc import Callable

RECONNECT_FIRST_S = 0.1
"""Within so long a fleet of 500 or less comes back to a server that was there all the time."""
RECONNECT_MOST_S = 0.3
"""The same after many attempts: with the half second of one that hangs, a fault that is over is
noticed within a second."""


class Pace:
    """The waits of one source's reader, in seconds."""

    def __init__(self, first_s: float, most_s: float) -> None:
        self.next_s = first_s
        self._first_s, self._most_s = first_s, most_s

    def wait_s(self, since_asked_s: float) -> float:
        """Return the next wait; `since_asked_s`: how long nobody had asked for the reading."""
        if since_asked_s > self._most_s:  # a new reason, not the old one again
            self.reset()
        wait_s, self.next_s = self.next_s, min(2 * self.next_s, self._most_s)
        return wait_s

    def reset(self) -> None:
        """Begin anew: something came, or the source is back."""
        self.next_s = self._first_s


class Redial:
    """The waits of one link before it connects again, in seconds.

    `spread_s`: over how long the whole fleet spreads its connections to a server that it has lost.
    """

    def __init__(
        self,
        spread_s: Callable[[], float] = float,
        *,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._spread_s, self._uniform = spread_s, uniform
        self._pace = Pace(RECONNECT_FIRST_S, RECONNECT_MOST_S)

    def wait_s(self, up_s: float) -> float:
        """Return the next wait; `up_s`: how long the last connection served, 0 if there was none.

        One that was lost soon counts as a failure: a server that accepts and then drops is in need.
        """
        scale = max(1.0, self._spread_s() / RECONNECT_FIRST_S)
        return self._uniform(0.0, scale * self._pace.wait_s(up_s / scale))


class Rescan:
    """When to give a cursor up: all behind it is read, and what is missing has not come for long.

    Then it may lie before the cursor: a store that once left an event out, or handed damaged bytes
    out for it, moved the cursor past it. Nothing but a reading from the beginning finds it again.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._since: float | None = None

    def due(self, now_s: float, *, missing: bool) -> bool:
        """Tell it of a complete reading; `missing`: whether something is known to be, still."""
        if not missing:
            self._since = None
        elif self._since is None:
            self._since = now_s
        elif now_s - self._since >= self._after_s:
            self._since = now_s
            return True
        return False
