"""`Publisher`: the engine behind the kill switch. A thread of its own with a loop of its own.

A request is signed and committed in the caller's thread, under the ledger's lock, and handed to
the loop; the loop sends it into the sinks, announces heads, and keeps house. A caller that goes
away, or a loop that is busy, takes nothing back from what was accepted.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError
from contextlib import closing, suppress
from typing import Any, Self, TypeVar

import msgspec
from msgspec.structs import replace

from rescind_guard.freshness import SystemClock
from rescind_protocol import trust as trusts
from rescind_protocol.changes import Change, Revocation
from rescind_protocol.clock import Clock
from rescind_protocol.errors import RescindError
from rescind_protocol.keys import SigningKey
from rescind_protocol.targets import Target
from rescind_protocol.trust import Trust
from rescind_publisher import metrics, plans, retiring
from rescind_publisher.acts import audited
from rescind_publisher.applied import Applied
from rescind_publisher.chain import Numbered, Voice, is_wide
from rescind_publisher.clock import checked
from rescind_publisher.config import PublisherConfig
from rescind_publisher.control import ControlServer
from rescind_publisher.drain import Drain
from rescind_publisher.errors import BadRequest, NotPermitted, NotRunning
from rescind_publisher.fleet import Fleet
from rescind_publisher.follower import Follower, KnowingFollower, SnapshotFollower
from rescind_publisher.forks import is_fork
from rescind_publisher.hand import Hand
from rescind_publisher.hearing import Hearing
from rescind_publisher.heartbeat import Heartbeat
from rescind_publisher.keeper import Keeper
from rescind_publisher.ledger import Ledger
from rescind_publisher.listeners.base import Listener
from rescind_publisher.metrics import Counters
from rescind_publisher.plans import Plan
from rescind_publisher.receipts import Progress, Receipt
from rescind_publisher.reclaim import Reclaimer
from rescind_publisher.requests import EndRequest, KillRequest, Order, RetireRequest, TrustRequest
from rescind_publisher.rights import check_approver, check_rights, expired, signer_of
from rescind_publisher.roll import Roll
from rescind_publisher.roster import Roster
from rescind_publisher.scrub import Scrubber
from rescind_publisher.shelf import Schedule
from rescind_publisher.sinks.base import Record, Sink
from rescind_publisher.spool import Spool
from rescind_publisher.status import SinkStatus, Status, TrustPosted
from rescind_publisher.trust_post import TrustPost
from rescind_subscriber.config import MISSED_HEADS

_log = logging.getLogger(__name__)
T = TypeVar("T")

_IDLE_POLL_S = 0.01


class Publisher:
    """Says kill in the name of one key. Thread-safe; one for each spool."""

    def __init__(
        self,
        config: PublisherConfig,
        *,
        key: SigningKey,
        trust: Trust,
        sinks: Sequence[Sink],
        approver: SigningKey | None = None,
        follower: Follower | None = None,
        listeners: Sequence[Listener] = (),
        clock: Clock | None = None,
    ) -> None:
        """Raise `NotPermitted` where the trust file does not know the keys; opens nothing yet."""
        self.config = config
        self.counters = Counters()
        self._signer = signer_of(trust, key, config)
        check_approver(trust, approver, self._signer)
        self._voice = Voice(
            key, config.publisher, config.fabric, self._signer.rights.quota, approver
        )
        self._trust, self._sinks, self._follower = trust, tuple(sinks), follower
        self._barred = ""
        """Why nothing is accepted any more, a sentence: the root has revoked the key."""
        self.roster = Roster()
        self._clock = clock or SystemClock()
        roll = Roll(config.roll) if config.roll is not None else None
        self._hearing = Hearing(self.roster, listeners, self.counters, self._clock, roll)
        self._running, self._pid = False, 0
        self.audited = audited(self, config.trail, self._clock)

    def __repr__(self) -> str:
        state = "running" if self._running else "not running"
        return f"<Publisher {self.config.publisher} of {self.config.fabric}: {state}>"

    # --- life ---

    def start(self) -> None:
        """Open the spool, then the sinks; a sink that is away is no reason to refuse kills.

        Raises `SpoolFailed` and its kind; `SinkRefused` where no sink is left.
        """
        if self._running:
            return
        spool = Spool(self.config.spool, fabric=self.config.fabric, kid=self._voice.key.kid)
        try:
            self._ledger = Ledger(spool, self._voice, self._trust, self._clock)
            self._spool, self._pid = spool, os.getpid()
            self._start_loop(spool)
        except BaseException:
            spool.close()
            raise

    def _start_loop(self, spool: Spool) -> None:
        self._drain = Drain(
            self._sinks,
            fetch=self._fetch,
            is_fork=self._is_fork,
            config=self.config,
            counters=self.counters,
        )
        for sink in self._sinks:
            self._drain.resume(sink.name, self._ledger.positions, spool.marks(sink.name))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="rescind-publisher", daemon=True)
        self._thread.start()
        self._running, self.roster.closed = True, False
        try:
            self._on_loop(self._begin())
        except BaseException:
            self.close()
            raise

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _begin(self) -> None:
        self._keeper = keeper = self._make_keeper()
        self._scrubber = Scrubber(
            self._drain.outlets,
            fetch=self._fetch,
            is_fork=self._is_fork,
            carried=keeper.carried if keeper is not None else _nothing_carried,
            config=self.config,
            clock=self._clock,
            counters=self.counters,
        )
        self._heartbeat = Heartbeat(
            self._ledger,
            self._drain,
            self.config,
            self.counters,
            move=self._move,
            shelved=keeper.shelved if keeper is not None else dict,
            fleet=lambda: self.roster.size,
            heed=self._heed,
        )
        self._reclaimer: Reclaimer | None = None
        if isinstance(self._follower, KnowingFollower):
            self._reclaimer = Reclaimer(
                self._ledger,
                self._drain.outlets,
                self._follower,
                kid=self._voice.key.kid,
                config=self.config,
                counters=self.counters,
            )
        self._trust_post = TrustPost(self._drain.outlets, self._trust)
        self._control: ControlServer | None = None
        if self.config.control is not None:
            self._control = ControlServer(self.audited, self.config.control)
            await self._control.start()
        self._hearing.start()
        await self._drain.start()
        self._heartbeat.start()
        if self._keeper is not None:
            self._keeper.start()
        self._scrubber.start()
        if self._reclaimer is not None:
            self._reclaimer.start()
        self._trust_post.start()

    def _make_keeper(self) -> Keeper | None:
        """Snapshots need a right of their own, and someone who follows what others say."""
        if not (self._signer.rights.snapshot and isinstance(self._follower, SnapshotFollower)):
            return None
        return Keeper(
            self._drain.outlets,
            follower=self._follower,
            voice=self._voice,
            trust=self._trust,
            clock=self._clock,
            schedule=Schedule(self.config.snapshot_every_s, self.config.snapshot_events),
            own_logs=lambda: dict(self._ledger.standing().logs),
            counters=self.counters,
        )

    def close(self) -> None:
        """Wait for what is under way, `close_timeout_s` at most, and stop; the spool keeps it."""
        if not self._running:
            return
        self._running = False
        self.roster.closed = True
        if self._pid != os.getpid():
            return  # after a fork, the thread, the sockets and the lock are the parent's
        try:
            self._on_loop(self._end())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._spool.close()

    async def _end(self) -> None:
        if self._control is not None:
            await self._control.stop()
        self._drain.catch_up(await asyncio.to_thread(lambda: self._ledger.positions))
        until = self._loop.time() + self.config.close_timeout_s
        while not self._drain.settled and self._loop.time() < until:  # noqa: ASYNC110 - many lanes
            await asyncio.sleep(_IDLE_POLL_S)
        await self._scrubber.stop()
        if self._keeper is not None:
            await self._keeper.stop()
        if self._reclaimer is not None:
            await self._reclaimer.stop()
        await self._trust_post.stop()
        await self._heartbeat.stop()
        await self._hearing.stop()
        await self._drain.stop()
        await self._heartbeat.save_marks()

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except CancelledError as error:
            raise NotRunning("the publisher was closed meanwhile") from error

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- requests ---

    def submit(self, order: Order, told: Callable[[Applied], None] | None = None) -> Receipt:
        """Do what is asked; return when the sinks have it, or after `order.timeout_s`.

        With `order.wait_s`, also when the subscribers have it, or after that; `told` hears of it.

        Raises `BadRequest`, `NothingLive`, `NotPermitted`, `QuotaExceeded`, `ClockWrong`,
        `SpoolFailed`, `NotRunning`: nothing was accepted then.
        """
        hand = self.accept(order)
        hand.wait(order.timeout_s)
        self._ledger.settle()
        if not order.wait_s:
            return self._receipt(hand)
        with closing(hand.tally(self.roster)) as tally:
            tally.wait(hand.started + order.wait_s, time.perf_counter, told)
            return self._receipt(hand, tally.applied(time.perf_counter()))

    def accept(self, order: Order) -> Hand:
        """Sign and commit what is asked, and hand it to the sinks; raises as `submit` does."""
        try:
            self._check_running()
            hand = self._hand(time.perf_counter())
            hand.plan, hand.made = self._accept(order, hand)
        except RescindError:
            self.counters.add(metrics.REFUSED)
            raise
        self.counters.add(metrics.ACCEPTED, len(hand.made) - len(hand.living))
        return hand

    async def finish(
        self, hand: Hand, order: Order | None, told: Callable[[Applied], None]
    ) -> Receipt:
        """Wait for what was accepted as `submit` does, on the loop of the publisher.

        Without an order it does not wait; a wait that is cancelled ends with what is known.
        """
        applied = None
        with suppress(asyncio.CancelledError):
            if order is not None:
                await hand.waited(order.timeout_s)
            self._loop.run_in_executor(None, self._ledger.settle)
            if order is not None and order.wait_s:
                with closing(hand.tally(self.roster)) as tally:
                    try:
                        until = hand.started + order.wait_s
                        await tally.waited(until, time.perf_counter, told)
                    finally:
                        applied = tally.applied(time.perf_counter())
        return self._receipt(hand, applied)

    def _receipt(self, hand: Hand, applied: Applied | None = None) -> Receipt:
        if not hand.progress.complete:
            self._forget(hand.made, hand.progress)
        return hand.receipt(at=self._clock.wall(), applied=applied)

    def _hand(self, started: float) -> Hand:
        return Hand(self.sink_names, self._post, self._drain, started)

    def _accept(self, order: Order, hand: Hand) -> tuple[Plan, list[Numbered]]:
        plan = self._plan(order)
        check_rights(plan, self._signer, approved=self._voice.approver is not None)
        if plan.retires:
            return plan, self._ledger.retire(plan.retires, hand.committed)
        share = order.share if isinstance(order, KillRequest) else None
        made = self._ledger.accept(plan.changes, hand.committed, found=hand.found, share=share)
        return plan, made

    def _move(self) -> None:
        """Say the kills of old logs again in the current one, where they are too many (blocks)."""
        follower = self._follower
        followed = follower.capture() if isinstance(follower, SnapshotFollower) else None
        hand = self._hand(time.perf_counter())
        made = self._ledger.move(followed, self._may_say, hand.committed)
        if made:
            self.counters.add(metrics.MOVED, len(made))
            _log.info("kills of old logs were said again in %d events", len(made))

    def _may_say(self, change: Change) -> bool:
        approved = self._voice.approver is not None
        return self._signer.rights.permit(change) and (approved or not is_wide(change))

    def _check_running(self) -> None:
        if not self._running:
            raise NotRunning("the publisher is not running")
        if self._barred:
            raise NotPermitted(self._barred)
        if self._pid != os.getpid():
            raise NotRunning("the publisher belongs to the process before the fork: start another")

    def _plan(self, order: Order) -> Plan:
        now = checked(self._clock)
        if isinstance(order, KillRequest):
            return plans.kill(order, now=now, horizon=self._ledger.horizon)
        if isinstance(order, RetireRequest):
            return self._plan_retirement(order)
        live, warnings = self._live(order)
        return plans.end(order, live, now=now, warnings=warnings)

    def _plan_retirement(self, order: RetireRequest) -> Plan:
        known = self._follower.known() if isinstance(self._follower, KnowingFollower) else None
        if known is None:
            raise BadRequest("no subscriber follows the others here: nobody knows where they stand")
        silent_s = MISSED_HEADS * self.config.heartbeat_s
        return retiring.plan(
            order, known, trust=self._trust, signer=self._signer, silent_s=silent_s
        )

    # --- trust ---

    def believe(self, trust: Trust) -> None:
        """Go by a newer version of the trust file from now on; from any thread."""
        if trust.version <= self._trust.version:
            return
        self._trust = trust
        try:
            self._signer = signer_of(trust, self._voice.key, self.config)
        except NotPermitted as error:
            self._barred = str(error)
            _log.critical("nothing is accepted any more: %s", error)
        else:
            quota = self._signer.rights.quota
            self._voice = msgspec.structs.replace(self._voice, quota=quota)
        if self._running:
            self._ledger.believe(trust, self._voice)
            if self._keeper is not None:
                self._keeper.believe(trust)

    def post_trust(self, request: TrustRequest) -> TrustPosted:
        """Go by newer versions of the trust file, and put all of them into the brokers.

        Raises `TrustBroken` and its kind where they do not follow from what is gone by.
        """
        if not self._running:
            raise NotRunning("the publisher is not running")
        raws = [version.encode("utf-8", "replace") for version in request.versions]
        newer = trusts.catch_up(self._trust, raws)
        self.believe(newer)
        posted = self._on_loop(self._post_within(newer, request.timeout_s))
        return TrustPosted(newer.version, posted)

    async def _post_within(self, trust: Trust, timeout_s: float) -> dict[str, str]:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._trust_post.post(trust)
        except TimeoutError:
            return dict.fromkeys(self.sink_names, "not in time; it is tried again")

    def _heed(self) -> None:
        """Hear what others have ended of our kills, and whether they have retired us (blocks)."""
        followed = (
            self._follower.capture() if isinstance(self._follower, SnapshotFollower) else None
        )
        if followed is not None:
            self._ledger.heed(followed)
        self._heed_retirement()

    def _heed_retirement(self) -> None:
        """Where others have taken us for gone, say our own again in a new log (blocks)."""
        if not isinstance(self._follower, KnowingFollower):
            return
        cuts = self._follower.retired(self._voice.key.kid)
        hand = self._hand(time.perf_counter())
        made = self._ledger.say_again(cuts, self._may_say, hand.committed)
        if made:
            _log.error(
                "this publisher was retired; what it said beyond was said again in %d events of "
                "log %s; give reinstatements again, and ask the root for a new key",
                len(made),
                self._ledger.log,
            )

    def _live(self, order: EndRequest) -> tuple[list[Revocation], tuple[str, ...]]:
        """Own kills by our own state, which is ahead; all others by the followed view."""
        own = list(self._ledger.live(order.target))
        if self._follower is None:
            return own, (
                "kills by other publishers are not known here: no subscriber follows them",
            )
        warnings: tuple[str, ...] = ()
        if not self._follower.wait_synced(order.timeout_s):
            warnings = ("the view is not complete: kills by other publishers may live on",)
        known = self._follower.known() if isinstance(self._follower, KnowingFollower) else None
        all_ours = known is not None and self._ledger.heard_all(known.positions.vector)
        followed = self._follower.view.published.table.get(order.target.digest)
        others = followed.revocations if followed else ()
        # Of our own the view may be behind. Where it is not, and shows a kill that we have ended,
        # what ended it is void: we were retired meanwhile.
        said = [r for r in others if all_ours or not self._ledger.has_seen(r.id)]
        return list({r.id: r for r in (*own, *said)}.values()), warnings

    def live(self, target: Target) -> tuple[Revocation, ...]:
        """Own kills in force on a target."""
        return self._ledger.live(target)

    def _forget(self, made: list[Numbered], progress: Progress) -> None:
        places = [(each.event.log, each.event.seq) for each in made]
        self._post(self._drain.forget, places, progress)

    def _post(self, call: Any, *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:  # the loop was closed meanwhile; the spool has it
            _log.warning("the publisher was closed: an accepted event waits in the spool")

    @property
    def sink_names(self) -> tuple[str, ...]:
        """Names of the sinks, in order."""
        return tuple(sink.name for sink in self._sinks)

    def status(self) -> Status:
        """How the publisher is now."""
        self._check_running()
        sinks = self._on_loop(self._sink_status())
        return Status(
            fabric=self.config.fabric,
            publisher=self.config.publisher,
            kid=self._voice.key.kid,
            pid=os.getpid(),
            log=self._ledger.log,
            live=self._ledger.live_count,
            logs=len(self._ledger.standing().logs),
            horizon=self._ledger.horizon,
            clock_jumped=self._ledger.jumped,
            sinks=sinks,
            counters=self.counters.read(),
            problem=self._heartbeat.problem or expired(self._signer, self._clock.wall()),
        )

    def fleet(self) -> Fleet:
        """Who the subscribers are, and how."""
        self._check_running()
        return self.roster.fleet(self._ledger.standing().logs, time.perf_counter())

    def forget(self, name: str) -> int:
        """Take subscribers off the roster that are gone for good; how many there were."""
        self._check_running()
        return self.roster.forget(name)

    def scrub(self) -> Status:
        """Begin to compare all that the sinks hold with the spool, and return how that stands.

        A sink's comparison that was asked for here has ended when its `done` has grown by one; by
        two where one was running.
        """
        self._check_running()
        status = self.status()
        self._post(self._scrubber.ask)
        return status

    async def _sink_status(self) -> tuple[SinkStatus, ...]:
        found, scrubs = self._drain.status(), self._scrubber.statuses()
        if self._keeper is not None:
            found = [self._keeper.add_status(each) for each in found]
        return tuple(replace(each, scrub=scrubs.get(each.name)) for each in found)

    def _is_fork(self, log: str, seq: int, raw: bytes) -> bool:
        return is_fork(log, seq, raw, trust=self._trust, kid=self._voice.key.kid)

    async def _fetch(self, log: str, after: int, limit: int) -> list[Record]:
        return await asyncio.to_thread(self._ledger.read, log, after, limit)


async def _nothing_carried() -> dict[str, int]:
    return {}
