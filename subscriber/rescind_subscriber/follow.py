"""The loop around the reconcile step: sources in, checkpoints out. Knows no source by name.

1. remember: the local snapshot, if there is one
2. start every source; each hears live from then on, at core speed
3. whenever a source is (re)connected, a gap shows, a head is not covered, or some minutes have
   passed: read what the source stores, from the cursor to its end. What is heard meanwhile is
   joined at once; the order does not matter (I2). So replay meets live without a gap, and the
   heads prove it. Without a cursor, or where the stream no longer has what is missing, a snapshot
   comes first, if the source stores any
4. save the local snapshot from time to time, and at the end

Any task that ends by surprise, and any event whose joining fails, ends all of it: the owner starts
anew, loudly. A reader that dies quietly while health stays green is the fault this shape excludes.
What such an end leaves behind is not saved: an event may be half joined, marked and without effect.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from math import inf

from rescind_guard.metrics import Counter
from rescind_guard.view import View
from rescind_protocol.clock import Clock
from rescind_protocol.errors import Malformed
from rescind_protocol.image import Image
from rescind_protocol.join import Replica
from rescind_protocol.trust import Trust
from rescind_subscriber.capture import Captured
from rescind_subscriber.checkpoint import Checkpoint, CheckpointFile
from rescind_subscriber.cold import ColdStart
from rescind_subscriber.collector import collector_off
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.errors import Rewound, SourceRefused, SourceUnavailable
from rescind_subscriber.faults import Fault, Faults
from rescind_subscriber.known import Known
from rescind_subscriber.memory import Memory, State, image_of, positions_of
from rescind_subscriber.pace import Pace, Rescan
from rescind_subscriber.reconcile import Reconciler
from rescind_subscriber.report_loop import ReportLoop
from rescind_subscriber.reporting import Condition
from rescind_subscriber.sources.base import Cursor, Reporter, SnapshotStore, Source
from rescind_subscriber.states import Observed, derive
from rescind_subscriber.tasks import end, jitter, raise_end, stop_source, within, within_each
from rescind_subscriber.vigil import Vigil

log = logging.getLogger("rescind.subscriber")

SLICE = 64
"""Stored events joined at a time: some milliseconds of signatures, then live ones have a turn."""
READ_SILENCE_S = 30.0
"""A reading without one more batch for so long is given up: a half-open socket says nothing."""


class Follower:
    """Follows any set of sources and joins them into one view; is the `Feed` of its sources.

    For one run: `open`, then `run`, both on the thread that writes the view.
    """

    def __init__(
        self,
        trust: Trust,
        sources: Sequence[Source],
        view: View,
        *,
        clock: Clock,
        config: SubscriberConfig,
        file: CheckpointFile | None,
        faults: Faults | None = None,
    ) -> None:
        self.faults = faults or Faults(clock)
        self.reconciler = Reconciler(trust, view, clock, self.faults)
        if config.reasons:
            self.reconciler.replica = Replica(trust.cut)
        self.sources = {source.name: source for source in sources}
        if len(self.sources) < len(sources):
            raise Malformed("two sources have one name: give each its own")
        self.cursors: dict[str, Cursor] = {}
        self.links: dict[str, str] = dict.fromkeys(self.sources, "starting")
        """Why each source is not linked; "" when it is."""
        self.refused: dict[str, SourceRefused] = {}
        self.reads = Counter()
        self.paces = {name: Pace(config.retry_s, config.retry_most_s) for name in self.sources}
        self._rescans = {
            name: Rescan(config.reread_every_s * jitter(0.5, 1.5)) for name in self.sources
        }
        self.cold = ColdStart(trust, self.faults, self.reconciler.joined.usable)
        self._unread: dict[str, str] = {}
        self._all_again: set[str] = set()
        """Sources to be read from their very beginning, whatever cursor a snapshot names."""
        self._want_snapshot = dict.fromkeys(self.sources, False)
        """Sources that store less than is missing, as far as known."""
        self._refuted: dict[str, set[Cursor]] = {name: set() for name in self.sources}
        """Cursors at which other bytes lie, or none."""
        self._rereads = 0
        self._unnamed = 0
        """How often a reading was asked for by what `Reconciler.missing` does not name."""
        self._read_once: set[str] = set()
        """Sources that were read to their ends."""
        self._fabric = trust.fabric
        self._view = view
        self._config = config
        self._memory = Memory(file, trust, config.snapshot_every_s, self.faults)
        self._vigil = Vigil(self.observed, self.faults, config.heartbeat_s)
        self._due = {name: asyncio.Event() for name in self.sources}
        self._back = {name: asyncio.Event() for name in self.sources}
        self.reporting: ReportLoop | None = None
        if config.reports:
            self.reporting = self.reconciler.witness = ReportLoop(
                config.name,
                view.passed,
                [source for source in sources if isinstance(source, Reporter)],
                self._condition,
                clock=clock,
                every_s=config.report_every_s,
                ended=self._memory.ended,
            )
        self._clock = clock
        self._started = clock.boot()
        self._failure: Exception | None = None
        self._failed = asyncio.Event()

    @property
    def away(self) -> int:
        """How many sources do not serve us now: not connected, or not readable."""
        links, unread = dict(self.links), dict(self._unread)
        return sum(1 for name, why in links.items() if why or name in unread)

    @property
    def trouble(self) -> dict[str, str]:
        """What is wrong besides links, by kind; a sentence each."""
        found = {f"read {name}": why for name, why in list(self._unread.items())}
        if self._memory.trouble:
            found["snapshot"] = self._memory.trouble
        if self.reconciler.unreadable is not None:
            found["unreadable"] = self.reconciler.unreadable
        if self.reconciler.joined.rebuilding:
            found["rebuild"] = "what was held is void in part; it is built anew, and not proven yet"
        if self._holds_too_little():
            found["start"] = (
                f"heads name events that {' and '.join(self.sources)} no longer holds: it has the "
                "newest ones only; follow a source beside it that has all (bundle, nats, redis)"
            )
        return found | self.silent(self._config.lagging_after_s)

    def _holds_too_little(self) -> bool:
        """Whether a first start cannot end: all was read, events are missing, nobody has more."""
        if self.reconciler.ever_fresh or not self.reconciler.missing:
            return False
        more = any(isinstance(source, SnapshotStore) for source in self.sources.values())
        return not more and self._read_once >= set(self.sources)

    def silent(self, longer_than_s: float) -> dict[str, str]:
        """Return a sentence for each required publisher that was not heard for so long.

        Nothing is fresh without them, however many others are heard.
        """
        since_start = self._clock.boot() - self._started
        ages, required = self.reconciler.head_ages(), self.reconciler.joined.required
        return {
            f"publisher {name}": _silence(name, ages.get(name))
            for name in required
            if (since_start if (age := ages.get(name)) is None else age) > longer_than_s
        }

    # --- the feed ---

    def heard(self, _source: str, raw: bytes) -> None:
        """Take a live event."""
        self._take(self.reconciler.event, raw)

    def heard_head(self, _source: str, raw: bytes) -> None:
        """Take a head; one that is not covered says that a tail was lost."""
        self._take(self.reconciler.head, raw)

    def linked(self, source: str) -> None:
        """Know a source as connected and subscribed."""
        self.links[source] = ""
        self.refused.pop(source, None)
        self.paces[source].reset()
        self._due[source].set()
        self._back[source].set()
        if self.reporting is not None:
            self.reporting.linked()

    def unlinked(self, source: str, why: str) -> None:
        """Know a source as deaf."""
        why = why or "not connected"
        before, self.links[source] = self.links[source], why
        if not before:
            self.faults.note(Fault.SOURCE_LOST, f"source {source}: {why}", about=source)
        elif before != why:
            log.warning("source %s: %s", source, why)

    def spread_s(self) -> float:
        """Return over how many seconds the fleet spreads its connections to a lost server."""
        return self.reporting.step.return_s if self.reporting is not None else 0.0

    def _take(self, step: Callable[[bytes], bool], raw: bytes) -> None:
        """Join one message; a failure ends the follower, and until it has, nothing is joined."""
        if self._failure is not None:
            return
        try:
            missing = step(raw)
        except Exception as error:  # noqa: BLE001 - `run` raises it
            self._fail(error)
        else:
            self._notice_reread()
            if missing:
                self._unnamed += not self.reconciler.missing
                for due in self._due.values():
                    due.set()

    def _notice_reread(self) -> None:
        """Where the reconciler must see everything again, no cursor and no snapshot holds."""
        if self._rereads == self.reconciler.joined.rereads:
            return
        self._rereads = self.reconciler.joined.rereads
        self._memory.trust = self.reconciler.joined.trust.digest
        self.cold.begin(self.reconciler.joined.trust)
        self.cursors.clear()
        self.reads.add("reread")
        for name, due in self._due.items():
            self.paces[name].reset()
            self._back[name].set()
            due.set()

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._failed.set()

    # --- the loop ---

    def open(self) -> None:
        """Become the view's writer and remember: from here on what was known is denied (I3)."""
        self._view.claim()
        try:
            self._remember()
        except BaseException:
            self.close()
            raise

    def _remember(self) -> None:
        known = image_of(self._view.published.table)
        with collector_off():
            kept = self._memory.load(self.reporting.run_id if self.reporting is not None else "")
            sound = True
            if kept is not None:
                sound = self.reconciler.joined.usable(kept.image, kept.read_by)
                self.reconciler.joined.oldest_trust = kept.read_by
                self.reconciler.replica.merge(kept.image)
                self.reconciler.remember_heads(kept.newest_heads, kept.newest_counts)
                if kept.trust == self._memory.trust:  # others' events were skipped, not read
                    self.cursors.update(kept.cursors)
            for kills in (known, self._memory.others()):
                if kills is not None and (kills.revocations or kills.floors):
                    self.reconciler.replica.merge(kills)
                    sound = sound and not self._may_be_void(kills)
        self.reconciler.publish_replica()
        if not sound:
            self.reconciler.rebuild()
        self._notice_reread()

    def _may_be_void(self, known: Image) -> bool:
        """Whether some of it is of logs that end somewhere: a table does not say from which side.

        What was in force before a crash goes on to be, and the state is built anew beside it.
        """
        cuts = self.reconciler.replica.cuts
        logs = {r.id.log for r in known.revocations} | {floor.log for floor in known.floors}
        return any(cuts.of(log) is not None for log in logs)

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until `stop`; raises whatever ended a part of it by surprise."""
        tasks = [asyncio.create_task(self._follow(s), name=n) for n, s in self.sources.items()]
        tasks.append(asyncio.create_task(self._memory.keep(self._state), name="snapshot"))
        tasks.append(asyncio.create_task(self._raise_failure(), name="feed"))
        tasks.append(asyncio.create_task(self._vigil.run(), name="vigil"))
        if self.reporting is not None:
            tasks.append(asyncio.create_task(self.reporting.run(), name="reports"))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((stopped, *tasks), return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    raise_end(task)
            if self.reporting is not None and await self.reporting.goodbye():
                self._memory.goodbye()
        finally:
            await end([stopped, *tasks])
            await asyncio.gather(*map(stop_source, self.sources.values()))
        await self._memory.save(self._state())

    def close(self) -> None:
        """Give up the view and the local snapshot."""
        self._memory.release()
        self._view.release()

    def abandon(self) -> None:
        """In the child after a fork: let go of the parent's lock; touch nothing else of it."""
        self._memory.release()

    async def _raise_failure(self) -> None:
        await self._failed.wait()
        if self._failure is not None:
            raise self._failure

    async def _follow(self, source: Source) -> None:
        while True:
            try:
                await source.start(self)
                break
            except SourceRefused as error:
                self.refused[source.name] = error
                self.unlinked(source.name, str(error))
                await asyncio.sleep(self._config.retry_most_s)
        await self._keep_reading(source)

    async def _keep_reading(self, source: Source) -> None:
        due, back = self._due[source.name], self._back[source.name]
        pace, loop = self.paces[source.name], asyncio.get_running_loop()
        while True:
            free = loop.time()
            await within(self._config.reread_every_s * jitter(0.5, 1.5), due)
            asked_after = loop.time() - free
            due.clear()
            back.clear()
            if await self._read(source):
                pace.reset()
            else:
                # Nothing new: what is missing is not stored yet, or the source is away. Not
                # longer than until it is linked again: then it may well have what we miss.
                await within(pace.wait_s(asked_after) * jitter(0.5, 1.0), back)

    async def _read(self, source: Source) -> bool:
        """Read a source from its cursor to its end; return whether that brought anything new."""
        name, new = source.name, 0
        before, rereads, unnamed = self.reconciler.held_back, self._rereads, self._unnamed
        try:
            await self._begin(source)
            async for batch in within_each(READ_SILENCE_S, source.read(self.cursors.get(name))):
                new += await self._join(batch.events)
                if self._rereads != rereads:
                    return True  # from the beginning, by other rules
                # Never beyond an event that could not be joined (I10, quota, gap): it must be
                # read again, by a newer version, or when there is room for it.
                if self.reconciler.held_back == before:
                    self.cursors[name] = batch.cursor
        except Rewound as error:
            self._rewind(name, error)
        except (SourceUnavailable, TimeoutError) as error:
            self.reads.add("unavailable")
            why = self._unread[name] = str(error) or f"{name}: the store was silent in mid-reading"
            self.faults.note(Fault.STORE_UNREADABLE, why, about=name)
            self._due[name].set()
        else:
            self.reads.add("complete")
            self._read_once.add(name)
            self._unread.pop(name, None)
            relinked = self._back[name].is_set()
            if not (relinked or self.reconciler.missing or self._unnamed > unnamed):
                self._due[name].clear()  # what a head asked for meanwhile came with this reading
            self._want_snapshot[name] = not new and self.reconciler.missing
            if self._want_snapshot[name] and isinstance(source, SnapshotStore):
                self._due[name].set()  # what is missing is not stored there: a snapshot may have it
            if new and self.reconciler.held_back > before:
                self._due[name].set()  # what came may have made room, or closed the gap
            self._rescan(name)
        return new > 0

    def _rescan(self, name: str) -> None:
        """What is missing and does not come may lie before the cursor: read from the beginning."""
        now_s = asyncio.get_running_loop().time()
        if self._rescans[name].due(now_s, missing=self.reconciler.missing):
            self.reads.add("rescan")
            self._all_again.add(name)
            self.faults.note(
                Fault.STILL_MISSING,
                f"source {name}: events are missing still; reading it from its beginning",
                about=name,
            )
            self.cursors.pop(name, None)
            self._due[name].set()

    async def _begin(self, source: Source) -> None:
        """Take a snapshot where there is no cursor to read on from, or reading does not suffice."""
        name = source.name
        if not isinstance(source, SnapshotStore):
            return
        if (name in self.cursors or self._config.reads_all) and not self._want_snapshot[name]:
            return
        try:
            taken = await self.cold.take(name, source)
        except SourceUnavailable as error:
            # The events may be there all the same; the snapshot is asked for again if it is needed.
            self.cold.counts.add("unavailable")
            log.warning("source %s: its snapshots cannot be read: %s", name, error)
            return
        if taken is None:
            return
        if taken.image is not None:
            self._merge(taken.image)
        cursor = taken.cursor
        if name in self._all_again:
            self._all_again.discard(name)
        elif name not in self.cursors and cursor and cursor not in self._refuted[name]:
            self.cursors[name] = cursor

    def _merge(self, image: Image) -> None:
        try:
            self.reconciler.merge(image)
            self._notice_reread()
        except Exception as error:
            self._fail(error)
            raise

    def _rewind(self, name: str, error: Rewound) -> None:
        """Start over, from a snapshot or the beginning; nothing that was applied is taken back."""
        self.reads.add("rewound")
        self.faults.note(error.fault, f"source {name}: {error}; reading it again", about=name)
        cursor = self.cursors.pop(name, None)
        if cursor is not None:
            self._refuted[name].add(cursor)
        self._due[name].set()

    async def _join(self, raws: list[bytes]) -> int:
        new = 0
        for start in range(0, len(raws), SLICE):
            try:
                new += self.reconciler.batch(raws[start : start + SLICE])
            except Exception as error:
                self._fail(error)
                raise
            self._notice_reread()
            await asyncio.sleep(0)
        return new

    def known(self) -> Known:
        """Return the positions and heads of this moment, and what may be missing of them."""
        joined = self.reconciler.joined
        problems = [f"{name}: {why}" for name, why in self.links.items() if why]
        problems += self._unread.values()
        problems += [
            f"{name} was not read yet" for name in self.sources if name not in self._read_once
        ]
        if joined.rebuilding:
            problems.append("the state is being built anew")
        return Known(positions_of(joined.target), self.reconciler.heard(), tuple(problems))

    def capture(self) -> Captured | None:
        """Return the state of this moment, None where it may not be relied upon."""
        if self._failure is not None or self.reconciler.unreadable is not None:
            return None
        replica, joined = self.reconciler.replica, self.reconciler.joined
        if joined.rebuilding:
            return None
        return Captured(positions_of(replica), replica.table, dict(self.cursors), joined.read_by)

    def observed(self) -> Observed:
        """Return what the state is derived from."""
        return Observed(
            age_s=self._view.published.age_s(self._clock.wall(), self._clock.boot()),
            stale_after_s=self._config.stale_after_s,
            lagging_after_s=self._config.lagging_after_s,
            ever_fresh=self.reconciler.ever_fresh,
            away=self.away,
        )

    def _condition(self) -> Condition:
        seen, vector = self.observed(), self.reconciler.replica.vector
        return Condition(
            str(derive(seen)),
            None if seen.age_s == inf else seen.age_s,
            {log: at.seq for log, at in vector.items()},
        )

    def _state(self) -> State:
        if self._failure is not None:
            raise self._failure
        table = self.reconciler.replica.table
        return State(
            (self._view.published.generation, dict(self.cursors)),
            Checkpoint(
                self._fabric,
                self._memory.trust,
                positions_of(self.reconciler.replica),
                dict(self.cursors),
                self.reconciler.newest_heads(),
                self.reconciler.joined.read_by,
                newest_counts=self.reconciler.newest_counts(),
            ),
            table,
        )


def _silence(name: str, age_s: float | None) -> str:
    heard = "none was heard since the start" if age_s is None else f"the last is {age_s:.0f} s old"
    return (
        f"no head of the required publisher {name!r} comes: {heard}; without it everything here is "
        "stale within 5 minutes: start it, or mend its way to the brokers; if it is gone for good, "
        f"`rescind retire {name}` on another publisher's host"
    )
