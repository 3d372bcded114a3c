"""The keeper: writes signed snapshots of the followed state into every sink that stores them.

1. look at what lies in the sink: our own snapshots, each read back whole, count; nothing else does
2. take the followed state, where it is proven fresh and holds everything that we have accepted
3. where one is due, write it into the free slot, parts first, statement last
4. read it back; only then it counts, and the one before the last gives its slot to the next

A snapshot says what *others* have killed as well, so it takes a right of its own. It is never on
the way of a kill: a store that fails is tried again a while later, and counted.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from rescind_protocol import snapshots
from rescind_protocol.clock import Clock
from rescind_protocol.encoding import b64url_encode
from rescind_protocol.errors import Malformed, RescindError
from rescind_protocol.heads import Position
from rescind_protocol.image import Image
from rescind_protocol.snapshots import Body, Place
from rescind_protocol.trust import Trust
from rescind_publisher import metrics, shelf
from rescind_publisher.chain import Voice
from rescind_publisher.drain import Outlet
from rescind_publisher.errors import SinkRefused, SinkUnavailable
from rescind_publisher.follower import Captured, SnapshotFollower
from rescind_publisher.lane import limited
from rescind_publisher.metrics import Counters
from rescind_publisher.shelf import Kept, Schedule
from rescind_publisher.sinks.base import SnapshotSink
from rescind_publisher.status import SinkStatus
from rescind_subscriber.cold import Readable, readable
from rescind_subscriber.sources.base import Cursor

_log = logging.getLogger(__name__)
T = TypeVar("T")

LOOK_EVERY_S = 5.0
"""Between two looks at whether a snapshot is due."""
REST_S = 30.0
"""After a failure."""
WITHIN_S = 300.0
"""For one snapshot into one sink and back: at a million revocations it has some 300 MB."""


class Shelf:
    """One sink's snapshots of ours."""

    def __init__(self, outlet: Outlet, store: SnapshotSink) -> None:
        self.outlet, self.store = outlet, store
        self.kept: tuple[Kept, ...] | None = None
        """Those read back, the newest first; None: not looked yet."""
        self.problem = ""
        self.rest_until = 0.0
        """Not to be bothered before, by the loop's clock."""

    @property
    def have(self) -> tuple[Kept, ...]:
        """Those read back, as far as known."""
        return self.kept or ()


class Keeper:
    """Keeps two snapshots in every sink; on the publisher's loop, the work in threads."""

    def __init__(
        self,
        outlets: Sequence[Outlet],
        *,
        follower: SnapshotFollower,
        voice: Voice,
        trust: Trust,
        clock: Clock,
        schedule: Schedule,
        own_logs: Callable[[], dict[str, Position]],
        counters: Counters,
    ) -> None:
        self.shelves = [Shelf(o, o.sink) for o in outlets if isinstance(o.sink, SnapshotSink)]
        self._follower, self._voice, self._trust = follower, voice, trust
        self._clock, self._schedule = clock, schedule
        self._own_logs, self._counters = own_logs, counters
        self._task: asyncio.Task[None] | None = None

    def believe(self, trust: Trust) -> None:
        """Sign by a newer trust from now on; its readers take what was written by it at once."""
        self._trust = trust

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def stop(self) -> None:
        """Write nothing more; what is half written is no snapshot."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self) -> None:
        while True:
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - logged; the next look may do better
                _log.exception("no snapshot was written")
            await asyncio.sleep(min(LOOK_EVERY_S, self._schedule.every_s / 4))

    def shelved(self) -> dict[str, int]:
        """Return up to which number two snapshots in every sink carry each log."""
        return shelf.shelved(each.have for each in self.shelves)

    async def carried(self) -> dict[str, int]:
        """Return the same as `shelved`; a sink that was not looked at yet is, first."""
        new = [each for each in self.shelves if each.kept is None and each.outlet.ready]
        await asyncio.gather(*map(self._survey, new))
        return self.shelved()

    def add_status(self, sink: SinkStatus) -> SinkStatus:
        """Return a sink's status with what is known of its snapshots."""
        for each in self.shelves:
            if each.store.name == sink.name:
                place = shelf.trimmable(each.have)
                return msgspec.structs.replace(
                    sink,
                    snapshots=len(each.have),
                    trimmable=place.position if place else None,
                    snapshot_problem=each.problem or None,
                )
        return sink

    async def look(self) -> None:
        """Look once, at every sink at once."""
        now = asyncio.get_running_loop().time()
        ready = [each for each in self.shelves if each.outlet.ready and now >= each.rest_until]
        await asyncio.gather(*map(self._survey, ready))
        captured = await asyncio.to_thread(self._capture)
        if captured is None:
            return
        wanting = [each for each in ready if self._is_due(each, captured)]
        if not wanting:
            return
        image = await asyncio.to_thread(captured.image)
        body = await asyncio.to_thread(snapshots.body_of, image)
        await asyncio.gather(*(self._write(each, image, body, captured) for each in wanting))

    def _is_due(self, each: Shelf, captured: Captured) -> bool:
        if each.kept is None:
            return False
        return shelf.due(
            each.kept,
            captured.positions,
            self._clock.wall(),
            self._schedule,
            cursor=each.store.name in captured.cursors,
        )

    def _capture(self) -> Captured | None:
        """Return the followed state, if it is proven and has all that we have accepted."""
        logs = self._own_logs()
        captured = self._follower.capture()
        if captured is None or not shelf.carries(captured.positions, logs):
            return None
        return captured

    # --- one sink ---

    async def _survey(self, each: Shelf) -> None:
        """Find out what lies there: at the start, and whether it still does."""
        try:
            found = await self._within(each, self._own(each))
            if each.kept is None:
                each.kept = await self._within(each, self._read_back(each, found))
            lying = {(one.place, one.statement) for one in found}
            each.kept = tuple(k for k in each.kept if (k.place, k.statement) in lying)
        except (SinkUnavailable, SinkRefused) as error:
            self._note_failure(each, error)

    async def _own(self, each: Shelf) -> list[Readable]:
        listed = await each.store.list_snapshots()
        mine = [one for one in listed if one.place.startswith(shelf.writer(self._voice.key.kid))]
        return readable(mine, self._trust)

    async def _read_back(self, each: Shelf, found: Sequence[Readable]) -> tuple[Kept, ...]:
        """Return the newest that are whole."""
        whole: list[Kept] = []
        for one in found:
            parts = await each.store.read_snapshot(one.place, one.statement.size)
            try:
                image = await asyncio.to_thread(snapshots.assemble, one.statement, parts)
            except Malformed:
                continue  # half written, or damaged: its slot is the next to be written
            whole.append(shelf.kept(one.place, one.statement, image))
            if len(whole) == shelf.KEEP:
                break
        return tuple(whole)

    async def _write(self, each: Shelf, image: Image, body: Body, captured: Captured) -> None:
        """Write one, and count it when it was read back."""
        have = each.have[: shelf.KEEP]
        place = shelf.next_place(self._voice.key.kid, have)
        manifest = self._sign(body, captured.trust, captured.cursors.get(each.store.name))
        try:
            await self._within(each, each.store.write_snapshot(place, body.parts, manifest))
            new = [one for one in await self._within(each, self._own(each)) if one.place == place]
            back = await self._within(each, self._read_back(each, new))
        except (SinkUnavailable, SinkRefused) as error:
            self._note_failure(each, error)
            return
        if not back or new[0].statement.sha256 != body.sha256:
            self._note_failure(each, SinkUnavailable(f"{each.store.name}: other bytes came back"))
            return
        self._counters.add(metrics.SNAPSHOTS)
        each.problem = ""
        each.kept = (shelf.kept(place, new[0].statement, image), *have)[: shelf.KEEP]

    def _sign(self, body: Body, trust: int, cursor: Cursor | None) -> bytes:
        voice = self._voice
        place = None if cursor is None else Place(cursor.position, b64url_encode(cursor.digest))
        return snapshots.sign(
            body,
            key=voice.key,
            publisher=voice.publisher,
            fabric=voice.fabric,
            trust=trust,
            at=int(self._clock.wall()),
            cursor=place,
        )

    async def _within(self, each: Shelf, call: Awaitable[T]) -> T:
        return await limited(call, each.store.name, WITHIN_S)

    def _note_failure(self, each: Shelf, error: RescindError) -> None:
        self._counters.add(metrics.SNAPSHOT_FAILURES)
        if each.problem != str(error):
            _log.error("no snapshot in %s: %s", each.store.name, error)
        each.problem = str(error)
        each.rest_until = asyncio.get_running_loop().time() + REST_S
