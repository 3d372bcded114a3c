"""A gate between a commit and the loop that will send it.

Waking a loop costs as much as sending a kill. So the loop is woken while the event is signed,
writes down what it will send while the disk works, and stands at the gate; then the event leaves
without a turn of the loop. The loop stands for a few milliseconds at most: a slow disk is no reason
to hold up heads and acks.
"""

import threading

STAND_BY_S = 0.005
"""Longer than an ordinary fsync, far below anything that the loop has a deadline for."""
STEP_ASIDE_S = 0.001
"""How long the committing thread leaves the interpreter to the loop, whose turn it is then."""


class Gate:
    """Opened once, by the thread that commits; passed once, by the loop or in its stead."""

    __slots__ = ("_done", "_opened", "_passed", "_signed", "left")

    def __init__(self) -> None:
        self._signed, self._opened = threading.Lock(), threading.Lock()
        self._passed, self._done = threading.Lock(), threading.Lock()
        for lock in (self._signed, self._opened, self._done):
            lock.acquire()
        self.left = False
        """Whether the loop went away before the gate was opened."""

    def signed(self) -> None:
        """Say that the events are signed: they can be made ready."""
        self._signed.release()

    def wait_signed(self) -> bool:
        """Wait for that, on the loop; False if it takes too long, or they were refused."""
        return self._signed.acquire(timeout=STAND_BY_S)

    def open(self) -> None:
        """Let the loop pass: the events are committed. Returns when it has, or has gone away."""
        self._opened.release()
        if not self.left:
            self._done.acquire(timeout=STEP_ASIDE_S)

    def wait(self, *, ready: bool = True) -> bool:
        """Stand at the gate, on the loop, if there is something to stand for; whether to pass."""
        if not self._opened.acquire(timeout=STAND_BY_S if ready else 0):
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
