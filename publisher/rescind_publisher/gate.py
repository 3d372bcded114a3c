"""A gate between a commit and the loop that looks after what is sent.

Waking a loop costs as much as sending a kill. So the loop is woken when the event is signed, writes
down what will be sent while the disk works, and stands at the gate. While it stands there, the
committing thread may do what is the loop's alone otherwise: it sends by itself, and lets the loop
pass. The loop stands for a few milliseconds at most: a slow disk is no reason to hold up heads and
acks.
"""

import threading
from collections.abc import Callable

STAND_BY_S = 0.005
"""Longer than an ordinary fsync, far below anything that the loop has a deadline for."""
SENDING_S = 1.0
"""Far longer than one write to a socket; it ends where an interrupt cut that short."""
STEP_ASIDE_S = 0.001
"""How long the committing thread leaves the interpreter to a loop that comes late."""


class Gate:
    """Opened once, by the thread that commits; passed once, by the loop or in its stead."""

    __slots__ = ("_done", "_opened", "_passed", "_standing", "_turn", "left")

    def __init__(self) -> None:
        self._opened, self._done = threading.Lock(), threading.Lock()
        self._passed, self._turn = threading.Lock(), threading.Lock()
        self._opened.acquire()
        self._done.acquire()
        self._standing = False
        self.left = False
        """Whether the loop went away before the gate was opened."""

    def open(self, send: Callable[[], None]) -> None:
        """Let the loop pass: the events are committed. `send` is called if it stands there now.

        Else this returns when the loop has passed, or has gone away.
        """
        if self._standing and self._turn.acquire(blocking=False):
            try:
                send()
            finally:
                self._opened.release()
            return
        self._opened.release()
        if not self.left:
            self._done.acquire(timeout=STEP_ASIDE_S)

    def stand(self) -> bool:
        """Stand at the gate, on the loop; return whether to pass."""
        self._standing = True
        if not self._opened.acquire(timeout=STAND_BY_S):
            if not self._turn.acquire(blocking=False):
                self._opened.acquire(timeout=SENDING_S)  # the other thread sends at this moment
                return self.claim()
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
