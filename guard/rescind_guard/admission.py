"""`guard.admit`: work that ends when its badge is killed.

    async with guard.admit(token, tool="export") as decision:
        ...                        # cancelled when badge, agent, session, key or issuer is killed

    with guard.admit(token) as decision:
        answer = work()            # a thread cannot be cancelled; what it made is withheld

Cancelling is asyncio's, as of `asyncio.timeout`: the task that entered is cancelled where it waits,
the cancellation ends here and becomes `WorkEnded`. One that came from elsewhere goes on.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Protocol

from rescind_guard import forks
from rescind_guard.decision import Decision
from rescind_guard.inflight import End, Work
from rescind_protocol.errors import RescindError


class NotAdmitted(RescindError):
    """The badge was refused; `decision` says why. Its sentence may be shown to the caller."""

    code = "NOT_ADMITTED"

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.reason)
        self.decision = decision


class WorkEnded(NotAdmitted):
    """The work was admitted, and its badge was killed since, or expired; its result is withheld."""

    code = "WORK_ENDED"


class Watches(Protocol):
    """What an admission asks; `Guard` answers."""

    def check(
        self, token: str | None, *, tool: str | None = None, badge_map: str | None = None
    ) -> Decision:
        """Decide."""

    def recheck(self, decision: Decision) -> Decision:
        """Decide again."""

    def watch(self, decision: Decision, end: End, *, until_expiry: bool = False) -> Work:
        """Tell when it does not stand any more."""


class Admission:
    """One piece of work, entered once, by `with` or `async with`; gives the decision."""

    def __init__(
        self,
        guard: Watches,
        token: str | None,
        *,
        tool: str | None = None,
        badge_map: str | None = None,
        until_expiry: bool = False,
        on_end: Callable[[Decision], object] | None = None,
    ) -> None:
        self._guard, self._token, self._tool = guard, token, tool
        self._badge_map = badge_map
        self._until_expiry, self._on_end = until_expiry, on_end
        self._decision: Decision | None = None
        self._work: Work | None = None
        self._task: asyncio.Task[object] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._before = 0
        self._cancelled = False

    def __enter__(self) -> Decision:
        forks.seen()
        decision = self._decision = self._guard.check(
            self._token, tool=self._tool, badge_map=self._badge_map
        )
        # No longer needed, and nothing to leave in a traceback.
        self._token = self._badge_map = None
        if not decision:
            raise NotAdmitted(decision)
        self._work = self._guard.watch(decision, self._end, until_expiry=self._until_expiry)
        return decision

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        refusal = self._close()
        # Whoever interrupts the program shall be able to. The words of an error are data, too.
        if refusal is not None and (kind is None or issubclass(kind, Exception)):
            raise WorkEnded(refusal) from None

    async def __aenter__(self) -> Decision:
        self._task, self._loop = asyncio.current_task(), asyncio.get_running_loop()
        self._before = self._task.cancelling() if self._task is not None else 0
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._cancelled and self._task is not None:
            ours = self._task.uncancel() <= self._before
            if ours and kind is not None and issubclass(kind, asyncio.CancelledError):
                kind = None
        self.__exit__(kind, error, trace)

    def _close(self) -> Decision | None:
        """Return the refusal that holds now, or that ended the work before."""
        work, decision = self._work, self._decision
        if work is None or decision is None:
            return None
        work.close()
        if work.ended is not None:
            return work.ended
        now = self._guard.recheck(decision)
        return None if now else now

    def _end(self, refusal: Decision) -> None:
        """In the watcher's thread: cancel, tell."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nothing runs there any more
                self._loop.call_soon_threadsafe(self._cancel)
        if self._on_end is not None:
            self._on_end(refusal)

    def _cancel(self) -> None:
        """In the loop, where the task waits or has left the block."""
        left = self._work is not None and self._work.left
        if self._task is not None and not left and not self._cancelled:
            self._cancelled = True
            self._task.cancel()
