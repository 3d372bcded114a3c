"""A gate between a commit and the loop that will send it.

Waking a loop costs as much as sending a kill. So the loop is woken just before the commit and
stands at the gate while the disk works; then the event leaves without a turn of the loop. The loop
stands for a few milliseconds at most: a slow disk is no reason to hold up heads and acks.
"""

import threading

STAND_BY_S = 0.005
"""Longer than an ordinary fsync, far below anything that the loop has a deadline for."""
STEP_ASIDE_S = 0.001
"""How long the committing thread leaves the interpreter to the loop, whose turn it is then."""


class Gate:
    """Opened once, by the thread that commits; passed once, by the loop or in its stead."""

    __slots__ = ("_done", "_opened", "_passed", "left")

    def __init__(self) -> None:
        self._opened, self._passed, self._done = (threading.Lock() for _ in range(3))
        self._opened.acquire()
        self._done.acquire()
        self.left = False
        """Whether the loop went away before the gate was opened."""

    def open(self) -> None:
        """Let the loop pass: the events are committed. Returns when it has, or has gone away."""
        self._opened.release()
        if not self.left:
            self._done.acquire(timeout=STEP_ASIDE_S)

    def wait(self) -> bool:
        """Stand at the gate, on the loop; whether to pass."""
        if not self._opened.acquire(timeout=STAND_BY_S):
            self.left = True
            if not self._opened.acquire(blocking=False):  # opened since: nobody else would pass
                return False
        return self.claim()

    def done(self) -> None:
        """Tell the committing thread that the events were sent."""
        self._done.release()

    def claim(self) -> bool:
        """Whether the caller is the one to pass; true once."""
        return self._passed.acquire(blocking=False)
