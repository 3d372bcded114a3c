"""`Subscriber`: keeps a guard's view by following sources, in a thread of its own.

A thread even in async programs: a loop that a handler blocks for three seconds is a kill switch
deaf for three seconds. After `fork` the child notices at once: its view keeps every kill it knew,
is stale, and gets a follower of its own.
"""

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeVar

from rescind_guard import forks, native
from rescind_guard.exposition import Family
from rescind_guard.freshness import SystemClock
from rescind_guard.view import View
from rescind_protocol.clock import Clock
from rescind_protocol.errors import RescindError
from rescind_protocol.positions import Position
from rescind_protocol.trust import Trust
from rescind_subscriber import loops
from rescind_subscriber.capture import Captured
from rescind_subscriber.checkpoint import CheckpointFile
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.errors import SourceRefused, SourceUnavailable, TrustUnkept
from rescind_subscriber.faults import Fault, Faults
from rescind_subscriber.follow import Follower
from rescind_subscriber.known import Known
from rescind_subscriber.listeners import OnApplied, Relay
from rescind_subscriber.metrics import families
from rescind_subscriber.report_loop import send_through
from rescind_subscriber.sources.base import Reporter, Source
from rescind_subscriber.status import Status, status_of
from rescind_subscriber.trust_file import TrustKept

log = logging.getLogger("rescind.subscriber")

T = TypeVar("T")

RESTART_WAIT_S = 1.0
STOP_WITHIN_S = 10.0
CAPTURE_WITHIN_S = 5.0
_POLL_S = 0.005

Sources = Callable[[], Sequence[Source]]
"""Makes the sources anew: after a fork or a crash old connections are of no use."""


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
        self.on_applied: OnApplied = []
        """Called with each event after its swap, and once with what a snapshot brought (`Merged`).

        On the writer's thread; must not block.
        """
        self.relay: Relay | None = None
        """What hands on what was joined here; to be set before the start."""
        self.trust = trust
        """Whom it goes by: the trust given, or a newer one that was heard of since."""
        self.on_trust: list[Callable[[Trust], None]] = []
        """Called with each newer trust, on the writer's thread; must not block."""
        self._kept = TrustKept(state_dir)
        self._sources = sources
        self._state_dir = state_dir
        self._clock = clock or SystemClock()
        self._mode = loop
        self._ever_fresh = False
        self._faults = Faults(self._clock)
        self._reset()
        forks.tell(self)

    def _reset(self) -> None:
        self._follower: Follower | None = None
        self._thread: native.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._stopping = native.Flag()
        self._opened = native.Flag()
        """Set when the local snapshot is in the view, or the thread has ended."""
        self._crash = ""

    def __repr__(self) -> str:
        now = self.status()
        age = "never fresh" if now.age_s is None else f"fresh {now.age_s:.1f} s ago"
        away = [f"{name}: {why}" for name, why in now.sources.items() if why]
        return f"<Subscriber {now.state}, {age}, {now.targets} targets{', '.join(['', *away])}>"

    # --- life ---

    def start(self) -> Self:
        """Start the thread; returns when what a restart remembers is in the view (I7).

        The view is stale until proven fresh. Raises what making the sources raises.
        """
        self._launch()
        self._opened.wait()
        return self

    def _launch(self, *, forked: bool = False) -> None:
        if self._mode != "thread":
            raise RescindError('this subscriber runs on its caller\'s loop: use "async with"')
        if self._thread is None:
            self._follower = self._make_follower()
            self._thread = native.start(self._thread_main, "rescind", early=forked)

    def stop(self) -> None:
        """Stop following and save the local snapshot; the view stays as it is, and ages."""
        thread = self._thread
        if thread is not None:
            self._stopping.set()
            self._opened.wait(STOP_WITHIN_S)
            if self._loop is not None and self._stop is not None:
                with contextlib.suppress(RuntimeError):  # its loop has ended by itself
                    self._loop.call_soon_threadsafe(self._stop.set)
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
            return await asyncio.to_thread(self.start)
        self._follower = self._make_follower()
        self._task = asyncio.create_task(self._keep_following(), name="rescind")
        await asyncio.sleep(0)  # it opens before it waits for anything
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
        """Run the loop; what ends even that (a SystemExit, without a word) ends no following."""
        stopping, opened = self._stopping, self._opened
        while not stopping.is_set():
            try:
                loops.run(self._keep_following())
            except BaseException as error:
                log.critical("the subscriber's loop ended; it starts again", exc_info=True)
                self._note_crash(error)
                opened.set()
                stopping.wait(RESTART_WAIT_S)
        opened.set()

    async def _keep_following(self) -> None:
        """Run a follower, and another one if it crashes: loudly, and stale from that moment."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        while not (self._stop.is_set() or self._stopping.is_set()):
            try:
                self._follower = self._follower or self._make_follower()
                await self._follow(self._follower, self._stop)
            except Exception as error:
                log.exception("the subscriber crashed; it starts again")
                self._note_crash(error)
                self._opened.set()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RESTART_WAIT_S):
                        await self._stop.wait()

    async def _follow(self, follower: Follower, stop: asyncio.Event) -> None:
        follower.open()
        try:
            self._crash = ""
            self._opened.set()
            await follower.run(stop)
        except BaseException:
            self.view.distrust()
            raise
        finally:
            self._ever_fresh = self._ever_fresh or follower.reconciler.ever_fresh
            follower.close()

    def _make_follower(self) -> Follower:
        file = CheckpointFile(self._state_dir, self.config.name) if self._state_dir else None
        self._recall_trust()
        follower = Follower(
            self.trust,
            self._sources(),
            self.view,
            clock=self._clock,
            config=self.config,
            file=file,
            faults=self._faults,
        )
        follower.reconciler.on_applied = self.on_applied
        follower.reconciler.relay = self.relay
        follower.reconciler.joined.on_trust = [self._keep_trust, self._believe, *self.on_trust]
        return follower

    def _recall_trust(self) -> None:
        """Go by the newest trust of this host; raises `TrustBroken` where there are two histories.

        One that cannot be read or kept is no reason to hear nothing: heads name what is newer.
        """
        try:
            self.trust = self._kept.newest(self.trust)
        except TrustUnkept as error:
            self._say_unkept(f"{error}; trust version {self.trust.version} is gone by")
        self._keep_trust(self.trust)

    def _keep_trust(self, trust: Trust) -> None:
        try:
            self._kept.keep(trust)
        except TrustUnkept as error:
            self._say_unkept(f"{error}; a restart will not remember trust version {trust.version}")

    def _say_unkept(self, sentence: str) -> None:
        self._faults.note(Fault.TRUST_UNKEPT, sentence, level=logging.ERROR)

    def _believe(self, trust: Trust) -> None:
        self.trust = trust

    def _note_crash(self, error: BaseException) -> None:
        self._follower = None
        self._crash = f"it crashed and starts again: {error!r}"
        self._faults.note(Fault.CRASHED, f"the subscriber: {self._crash}", level=logging.ERROR)

    def forked(self) -> None:
        """In the parent: one that has judged no call yet may be there for its children alone."""
        loop, follower = self._loop, self._follower
        reporting = follower.reporting if follower is not None else None
        if loop is not None and reporting is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(reporting.hush, self.view.has_judged)

    def after_fork(self) -> None:
        """In the child: stale at once, with every kill known so far, and a thread of its own."""
        running, follower = self._thread is not None or self._task is not None, self._follower
        self.view.release()
        self.view.claim()
        self.view.distrust()
        self.view.release()
        self.view.passed.clear()
        self.view.inflight.clear()
        if follower is not None:
            follower.abandon()
            # Kept for ever: as these die they would close the parent's sockets, and take them
            # out of the epoll set that both processes share.
            _left_behind.append((follower, self._loop, self._task))
        self._ever_fresh = False
        self._faults = Faults(self._clock)
        self._reset()
        if running and self._mode == "thread":
            self._launch(forked=True)  # without waiting: a fork must not hang

    # --- questions, from any thread ---

    def status(self) -> Status:
        """Return where the subscription stands now."""
        return status_of(
            self.view,
            self._follower,
            clock=self._clock,
            config=self.config,
            ever_fresh=self._ever_fresh,
            crash=self._crash,
            faults=self._faults.counts.read(),
        )

    def metrics(self) -> list[Family]:
        """Return this subscriber's metrics as they are now, for a scrape."""
        return families(self.status())

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

    def capture(self, *, proven: bool = True) -> Captured | None:
        """Return the followed state, as of one moment, if the view is fresh; else None.

        `proven`: False for what is known, fresh or not. Blocks for that moment; not to be called on
        the subscriber's own loop.
        """
        return self._ask(Follower.capture) if self.fresh or not proven else None

    def known(self) -> Known | None:
        """Return positions and heads of one moment, proven or not; None while it starts anew.

        Blocks as `capture` does.
        """
        return self._ask(Follower.known)

    def retired(self, key: str) -> Mapping[str, Position]:
        """Return where the logs of a key end that was retired, nothing if it was not."""
        return self._ask(lambda at: at.reconciler.joined.target.cuts.ends_of(key)) or {}

    def digest_of(self, log: str, seq: int) -> bytes | None:
        """Return the digest of an event that was applied, None where it is too long ago."""
        return self._ask(lambda follower: follower.reconciler.replica.digest_of(log, seq))

    def _ask(self, question: Callable[[Follower], T]) -> T | None:
        """Ask the follower on its own loop, between two messages."""
        loop, follower = self._loop, self._follower
        if loop is None or follower is None:
            return None

        async def ask() -> T:
            return question(follower)

        work = ask()
        try:
            return asyncio.run_coroutine_threadsafe(work, loop).result(CAPTURE_WITHIN_S)
        except (TimeoutError, RuntimeError, concurrent.futures.CancelledError):
            work.close()  # it is ending, or starting anew
            return None

    def hand_on_report(self, name: str, raw: bytes) -> None:
        """Send another subscriber's report on, as far as the sources carry reports; not waited for.

        For a node that others follow through. From any thread; lost where nothing runs.
        """
        loop, follower = self._loop, self._follower
        if loop is None or follower is None:
            return
        sources = [source for source in follower.sources.values() if isinstance(source, Reporter)]
        work = send_through(sources, name, raw)
        try:
            asyncio.run_coroutine_threadsafe(work, loop)
        except RuntimeError:  # the loop has ended
            work.close()

    def _is_fresh_by(self, deadline: float, timeout_s: float) -> bool:
        follower = self._follower
        if self.fresh:
            return True
        refused = list(follower.refused.values()) if follower is not None else []
        if follower is not None and len(refused) == len(follower.sources) > 0:
            raise SourceRefused("; ".join(map(str, refused)))
        if self._clock.boot() >= deadline:
            raise SourceUnavailable(f"not fresh within {timeout_s:g} s: {self._why_not()}")
        return False

    def _why_not(self) -> str:
        now = self.status()
        reasons = [f"{name}: {why}" for name, why in now.sources.items() if why]
        reasons += now.trouble.values()
        if not reasons and not now.heads:
            reasons = ["connected, but no publisher's head was heard: is a publisher running?"]
        elif not reasons and self._follower is not None:
            unproven = self._follower.reconciler.unproven()
            reasons = [f"no head of publisher {name!r} proves it yet" for name in unproven]
            reasons = reasons or [f"heads heard: {now.heads}"]
        return "; ".join(reasons)


_left_behind: list[object] = []
