"""`Subscriber`: keeps a guard's view by following sources, in a thread of its own.

A thread even in async programs: a loop that a handler blocks for three seconds is a kill switch
deaf for three seconds. After `fork` the child notices at once: its view keeps every kill it knew,
is stale, and gets a follower of its own.
"""

import asyncio
import contextlib
import logging
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import msgspec

from rescind_guard.freshness import SystemClock
from rescind_guard.view import View
from rescind_protocol.clock import Clock
from rescind_protocol.errors import RescindError
from rescind_protocol.events import Event
from rescind_protocol.trust import Trust
from rescind_subscriber.checkpoint import CheckpointFile
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.errors import SourceRefused, SourceUnavailable
from rescind_subscriber.follow import Follower
from rescind_subscriber.sources.base import Source
from rescind_subscriber.states import Observed, State, derive

log = logging.getLogger("rescind.subscriber")

RESTART_WAIT_S = 1.0
STOP_WITHIN_S = 10.0
_POLL_S = 0.005

Sources = Callable[[], Sequence[Source]]
"""Makes the sources anew: after a fork or a crash old connections are of no use."""


class Status(msgspec.Struct, frozen=True):
    """Where a subscription stands, for people and for health checks."""

    state: State
    age_s: float | None
    """Age of the proof of freshness; None: never proven."""
    seconds_until_stale: float
    generation: int
    targets: int
    sources: dict[str, str]
    """Why each source is not linked; "" when it is."""
    trouble: dict[str, str]
    events: dict[str, int]
    heads: dict[str, int]
    reads: dict[str, int]


class Subscriber:
    """Follows the fabric; `view` is what a `Guard` reads. Use as (async) context manager."""

    def __init__(
        self,
        trust: Trust,
        sources: Sources,
        *,
        view: View | None = None,
        config: SubscriberConfig | None = None,
        state_dir: Path | None = None,
        clock: Clock | None = None,
        loop: Literal["thread", "caller"] = "thread",
    ) -> None:
        self.view = view or View()
        self.config = config or SubscriberConfig()
        self.on_applied: list[Callable[[Event], None]] = []
        """Called with each event after its swap, on the writer's thread; must not block."""
        self._trust = trust
        self._sources = sources
        self._state_dir = state_dir
        self._clock = clock or SystemClock()
        self._mode = loop
        self._ever_fresh = False
        self._reset()
        _every.add(self)

    def _reset(self) -> None:
        self._follower: Follower | None = None
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._started = threading.Event()

    def __repr__(self) -> str:
        now = self.status()
        age = "never fresh" if now.age_s is None else f"fresh {now.age_s:.1f} s ago"
        away = [f"{name}: {why}" for name, why in now.sources.items() if why]
        return f"<Subscriber {now.state}, {age}, {now.targets} targets{', '.join(['', *away])}>"

    # --- life ---

    def start(self) -> Self:
        """Start the thread; returns at once, the view is stale until proven fresh."""
        if self._mode != "thread":
            raise RescindError('this subscriber runs on its caller\'s loop: use "async with"')
        if self._thread is None:
            self._thread = threading.Thread(target=self._thread_main, name="rescind", daemon=True)
            self._thread.start()
            self._started.wait()
        return self

    def stop(self) -> None:
        """Stop following and save the local snapshot; the view stays as it is, and ages."""
        loop, stop, thread = self._loop, self._stop, self._thread
        if thread is not None and loop is not None and stop is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(stop.set)
            thread.join(STOP_WITHIN_S)
            if thread.is_alive():
                log.error("the subscriber did not stop within %.0f s", STOP_WITHIN_S)
        self._reset()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        if self._mode == "thread":
            return self.start()
        self._task = asyncio.create_task(self._keep_following(), name="rescind")
        await asyncio.sleep(0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._mode == "thread":
            await asyncio.to_thread(self.stop)
        elif self._task is not None and self._stop is not None:
            self._stop.set()
            await self._task
            self._reset()

    def _thread_main(self) -> None:
        asyncio.run(self._keep_following())

    async def _keep_following(self) -> None:
        """Run a follower, and another one if it crashes: loudly, and stale from that moment."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        while not self._stop.is_set():
            self._follower = follower = self._make_follower()
            self._started.set()
            try:
                await follower.run(self._stop)
            except Exception:
                log.exception("the subscriber crashed; it starts again")
                self._distrust()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), RESTART_WAIT_S)

    def _make_follower(self) -> Follower:
        file = CheckpointFile(self._state_dir, self.config.name) if self._state_dir else None
        follower = Follower(
            self._trust,
            self._sources(),
            self.view,
            clock=self._clock,
            config=self.config,
            file=file,
        )
        follower.reconciler.on_applied = self.on_applied
        return follower

    def _distrust(self) -> None:
        self.view.claim()
        self.view.distrust()
        self.view.release()

    def after_fork(self) -> None:
        """In the child: stale at once, with every kill known so far, and a thread of its own."""
        running = self._thread is not None or self._task is not None
        self.view.release()
        self._distrust()
        self._ever_fresh = False
        self._reset()
        if running and self._mode == "thread":
            self.start()

    # --- questions, from any thread ---

    def status(self) -> Status:
        """Return where the subscription stands now."""
        at, follower = self.view.published, self._follower
        age = at.age_s(self._clock.wall(), self._clock.boot())
        self._ever_fresh = self._ever_fresh or age < inf
        links = dict(follower.links) if follower else {}
        trouble = dict(follower.trouble) if follower else {"thread": "not running"}
        if follower is not None and follower.reconciler.unreadable:
            trouble["unreadable"] = follower.reconciler.unreadable
        observed = Observed(
            age_s=age,
            stale_after_s=self.config.stale_after_s,
            lagging_after_s=self.config.lagging_after_s,
            ever_fresh=self._ever_fresh,
            unlinked=sum(1 for why in links.values() if why),
        )
        return Status(
            state=derive(observed),
            age_s=None if age == inf else age,
            seconds_until_stale=max(0.0, self.config.stale_after_s - age),
            generation=at.generation,
            targets=len(at.table),
            sources=links,
            trouble=trouble,
            events=follower.reconciler.events.read() if follower else {},
            heads=follower.reconciler.heads.read() if follower else {},
            reads=follower.reads.read() if follower else {},
        )

    @property
    def fresh(self) -> bool:
        """Whether the view is proven and within the limit."""
        age = self.view.published.age_s(self._clock.wall(), self._clock.boot())
        return age < self.config.stale_after_s

    def wait_fresh(self, timeout_s: float = 5.0) -> None:
        """Block until the view is fresh; `SourceRefused` or `SourceUnavailable` say why not."""
        deadline = self._clock.boot() + timeout_s
        poll = threading.Event()
        while not self._is_fresh_by(deadline, timeout_s):
            poll.wait(_POLL_S)

    async def wait_fresh_async(self, timeout_s: float = 5.0) -> None:
        """Do as `wait_fresh` without blocking the caller's loop."""
        await asyncio.to_thread(self.wait_fresh, timeout_s)

    def wait_synced(self, timeout_s: float) -> bool:
        """Return whether the view was proven complete within the time."""
        try:
            self.wait_fresh(timeout_s)
        except (SourceRefused, SourceUnavailable):
            return False
        return True

    def _is_fresh_by(self, deadline: float, timeout_s: float) -> bool:
        follower = self._follower
        if self.fresh:
            return True
        if follower is not None and len(follower.refused) == len(follower.sources) > 0:
            raise next(iter(follower.refused.values()))
        if self._clock.boot() >= deadline:
            raise SourceUnavailable(f"not fresh within {timeout_s:g} s: {self._why_not()}")
        return False

    def _why_not(self) -> str:
        now = self.status()
        reasons = [f"{name}: {why}" for name, why in now.sources.items() if why]
        reasons += now.trouble.values()
        if not reasons and not now.heads:
            reasons = ["connected, but no publisher's head was heard: is a publisher running?"]
        elif not reasons:
            reasons = [f"heads heard: {now.heads}"]
        return "; ".join(reasons)


_every: "weakref.WeakSet[Subscriber]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for subscriber in list(_every):
        subscriber.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
