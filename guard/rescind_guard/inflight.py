"""Work in flight under a view, and the one thread that ends what is killed.

Nothing here is asked by time: the view's writer says that something changed, the watcher looks at
every piece of work once, and whoever runs the work is told. A thousand streams cost one thread.
It starts with the first work and ends when there has been none for `LINGER_S`.

Work is put down first and looked at after that: a kill applied in between is seen by one or the
other. What the watcher sees stays: a kill that is forgotten later (I8) has ended the work by then.
"""

import logging
from collections.abc import Callable
from math import inf

from rescind_guard import native
from rescind_guard.codes import Code, Outcome
from rescind_guard.decision import Decision

log = logging.getLogger(__name__)

LINGER_S = 5.0
"""How long the thread waits for more work: a start costs 0.1 ms, an idle thread nothing."""

SOON_S = 0.05
"""No look sooner than this after the last, for a clock that stands still."""

Look = Callable[[], Decision | None]
"""→ the refusal that ends the work, None while it may go on. What it raises ends the work."""
End = Callable[[Decision], object]
"""Told once, in the watcher's thread; what it raises is logged."""
BROKEN = Decision(
    Outcome.CANNOT_TELL, Code.REVOCATION_CHECK_FAILED, "the badge could not be looked at again"
)


class Work:
    """One piece of work. `close` it when it is done; nobody is told of anything from then on."""

    __slots__ = ("_end", "_flight", "_left_s", "_look", "ended", "left")

    def __init__(
        self,
        flight: "InFlight",
        look: Look,
        end: End,
        left_s: Callable[[], float] | None,
    ) -> None:
        self._flight, self._look, self._end, self._left_s = flight, look, end, left_s
        self.ended: Decision | None = None
        """The refusal that ended it."""
        self.left = False
        """Whether whoever did it has said that it is done."""

    def close(self) -> None:
        """Say that it is done."""
        self.left = True
        self._flight.remove(self)

    def look(self) -> float:
        """End the work if it is to end; return the seconds until time alone may end it."""
        if self.ended is None and (refusal := self._refusal()) is not None:
            self.ended = refusal
            if self._flight.remove(self):
                tell(self._end, refusal)
        return inf if self._left_s is None or self.ended else max(SOON_S, self._left_s())

    def _refusal(self) -> Decision | None:
        """Look; one that cannot be looked at is ended, and keeps nobody from looking at others."""
        try:
            return self._look()
        except Exception:
            log.exception("work in flight could not be looked at, and is ended")
            return BROKEN

    @property
    def timed(self) -> bool:
        """Whether time alone may end it."""
        return self._left_s is not None


def tell(end: End, refusal: Decision) -> None:
    """Say that work is to end; whatever that raises, the next one is told too."""
    try:
        end(refusal)
    except KeyboardInterrupt:
        raise
    except BaseException:  # a CancelledError or SystemExit would end the watcher of all others
        log.exception("what is to end killed work failed")


class InFlight:
    """All work under one view. Any thread may add and remove."""

    __slots__ = ("_changed", "_run_id", "_thread", "_works")

    def __init__(self) -> None:
        self._works: dict[Work, None] = {}
        self._changed = native.Bell()
        self._thread: native.Thread | None = None
        self._run_id: object = None
        """Of the thread that is to go on; any other ends."""

    def __len__(self) -> int:
        return len(self._works)

    def add(self, look: Look, end: End, left_s: Callable[[], float] | None = None) -> Work:
        """Watch work until it is closed; `end` may be called before this returns."""
        work = Work(self, look, end, left_s)
        self._works[work] = None
        thread = self._thread
        if thread is None or not thread.is_alive():  # after a fork it is not
            self._start()
        work.look()
        if work.timed:
            self._changed.ring()
        return work

    def remove(self, work: Work) -> bool:
        """Watch it no more; return whether it was watched. One of two that ask is told yes."""
        return self._works.pop(work, self) is not self

    def changed(self) -> None:
        """Have everything looked at; for the view's writer, which does not wait for it."""
        if self._works:
            self._changed.ring()

    def unwatched(self, end: End) -> Work:
        """Return work that nothing ends."""
        return Work(self, lambda: None, end, None)

    def clear(self) -> None:
        """Forget everything: after a fork it is the parent's work."""
        self._works, self._changed, self._thread = {}, native.Bell(), None
        self._run_id = None

    def _start(self) -> None:
        # Two at once start two threads; both look, one of them is told to end the work.
        self._run_id = mine = object()
        self._thread = native.start(lambda: self._run(mine), "rescind-inflight")

    def _run(self, mine: object) -> None:
        left_s = 0.0
        while self._run_id is mine:
            woken = self._changed.wait(min(left_s, LINGER_S))
            if woken or left_s <= LINGER_S:
                left_s = min((work.look() for work in list(self._works)), default=inf)
            elif not self._works:
                self._thread = None  # first this, then the look: who adds does it the other way
                if self._works:
                    self._start()
                return
