"""When to read again, and when to read all of it again.

After a reading that brought nothing: twice as long each time, up to a limit. A kill that no broker
has yet is named by a head every second: ten thousand subscribers that ask for it every second would
be the storm on the day of the outage.
"""


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
