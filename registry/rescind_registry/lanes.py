"""Threads for requests, by what is asked: neither a wait nor a stranger is before a kill."""

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

from rescind_registry.errors import Busy

T = TypeVar("T")


class Lane:
    """A number of threads; requests beyond it wait in order, a number of them at most."""

    def __init__(self, name: str, threads: int, waiting: float = float("inf")) -> None:
        self._limiters: RunVar[CapacityLimiter] = RunVar(name)
        self._threads, self._waiting = threads, waiting

    def _limiter(self) -> CapacityLimiter:
        """Return that of the loop that asks: each server has one of its own."""
        found = self._limiters.get(None)
        if found is None:
            found = CapacityLimiter(self._threads)
            self._limiters.set(found)
        return found

    @property
    def free(self) -> bool:
        """Whether a thread is free now."""
        return self._limiter().available_tokens > 0

    async def run(self, call: Callable[[], T]) -> T:
        """Call in a thread; raises `Busy` where too many wait for one already."""
        limiter = self._limiter()
        if limiter.statistics().tasks_waiting >= self._waiting:
            raise Busy("too many ask for this at once: nothing was done, try again later")
        return await to_thread.run_sync(call, limiter=limiter)


KILLS = Lane("kills", 64)
"""A kill holds its thread until the brokers have it, two seconds at most."""
WAITS = Lane("waits", 64)
"""Kills that wait for the subscribers; where no thread is free they are done and do not wait."""
TOKENS = Lane("tokens", 8)
"""Who asks: before every request that is not public."""
STRANGERS = Lane("strangers", 2, waiting=256)
"""Requests that anybody may make. So few, for all threads share one processor's time."""
OTHERS = Lane("others", 32)
