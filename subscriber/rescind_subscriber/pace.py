"""How long to wait after a reading that brought nothing: twice as long each time, up to a limit.

A kill that no broker has yet is named by a head every second: ten thousand subscribers that ask for
it every second would be the storm on the day of the outage.
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
