"""A simulated subscriber: the real reconciler, view, guard and local snapshot; a model of its loop.

The loop is that of `rescind_subscriber.follow`: read from the cursor when linked, when a gap shows,
when a head is not covered, and from time to time.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any

from rescind.testing.badges import issuers
from rescind.testing.clock import HostClock, Time
from rescind.testing.keys import FABRIC
from rescind.testing.sim.brokers import Read, StreamBroker
from rescind.testing.sim.network import Network
from rescind.testing.sim.parts import Parts
from rescind_guard import Guard, View
from rescind_guard.freshness import Rule
from rescind_protocol.errors import Malformed
from rescind_protocol.trust import Trust
from rescind_subscriber.capture import Captured
from rescind_subscriber.checkpoint import Checkpoint, encode
from rescind_subscriber.memory import positions_of
from rescind_subscriber.pace import Rescan
from rescind_subscriber.sources.base import Cursor

TIMEOUT_S = 2.0
REREAD_BEATS = 4
RESCAN_SHARE = 0.6
"""Of the freshness limit: 180 of 300 s, as a real one does."""
_ISSUERS = issuers()


class Disk(StrEnum):
    """What a subscriber finds on its disk when it starts again."""

    INTACT = "intact"
    OLD = "old"
    """A copy from before, as of a restored machine."""
    DAMAGED = "damaged"
    EMPTY = "empty"


class Subscriber:
    """A subscriber's host: clock and disk stay, the process comes and goes."""

    def __init__(
        self,
        name: str,
        trust: Trust,
        brokers: Iterable[StreamBroker],
        *,
        clock: HostClock,
        time: Time,
        network: Network,
        limit_s: float,
        heartbeat_s: float,
        parts: Parts,
        on_save: Callable[[], None],
    ) -> None:
        self.name = name
        self.clock = clock
        self.up = False
        self.asleep = 0
        self.blocked = 0
        self.disk: list[bytes] = []
        """Every snapshot that was written, the newest last."""
        self._trust, self._parts = trust, parts
        self._brokers = {broker.name: broker for broker in brokers}
        self._time, self._network = time, network
        self._rule, self._heartbeat_s = Rule(stale_after_s=limit_s), heartbeat_s
        self._limit_s, self._rescan_s = limit_s, RESCAN_SHARE * limit_s
        self._on_save = on_save
        self._waiting: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self.start(Disk.EMPTY)
        for broker in self._brokers.values():
            broker.listeners.append(self)

    # --- the process ---

    def start(self, disk: Disk) -> bool:
        """Start a process on what the disk has; return whether it remembers anything."""
        self.up = True
        self.view = View()
        self.view.claim()
        self.guard = Guard(self.view, _ISSUERS, rule=self._rule, clock=self.clock)
        self.reconciler = self._parts.reconciler(self._trust, self.view, self.clock)
        self.reconciler.replica = self._parts.replica()
        self._cursors: dict[str, Cursor] = {}
        self._reading: dict[str, int] = {}
        self._reads = 0
        self._rescans = {name: Rescan(self._rescan_s) for name in self._brokers}
        self._beats = 0
        remembers = self._remember(disk)
        self.link()
        self._time.after(self._heartbeat_s, self._beat, self.reconciler)
        return remembers

    def _remember(self, disk: Disk) -> bool:
        kept = self._recall(disk)
        if kept is not None:
            self.reconciler.replica.merge(kept.image)
            self.reconciler.remember_heads(kept.newest_heads, kept.newest_counts)
            self._cursors.update(kept.cursors)
        self.reconciler.publish_replica()
        return kept is not None

    def _recall(self, disk: Disk) -> Checkpoint | None:
        if not self.disk or disk is Disk.EMPTY:
            return None
        raw = self.disk[len(self.disk) // 2 if disk is Disk.OLD else -1]
        if disk is Disk.DAMAGED:
            raw = raw[: len(raw) // 2]
        try:
            return self._parts.recall(raw)
        except Malformed:
            return None

    def captured(self) -> Captured | None:
        """Return what is followed here, for a publisher on this host, if it is proven fresh."""
        age_s = self.view.published.age_s(self.clock.wall(), self.clock.boot())
        if not self.up or self.asleep or self.blocked or age_s > self._limit_s:
            return None
        replica, joined = self.reconciler.replica, self.reconciler.joined
        return Captured(positions_of(replica), replica.table, {}, joined.read_by)

    def kill_process(self) -> None:
        """SIGKILL."""
        self.up = False
        self._waiting.clear()

    def wake(self) -> None:
        """Go on with what came while the host slept or the loop was blocked."""
        waiting, self._waiting = self._waiting, []
        for call, args in waiting:
            call(*args)

    def _held(self, call: Callable[..., None], *args: Any) -> bool:
        """Whether nothing runs here now; what came waits in the socket, if the process lives."""
        if self.up and (self.asleep or self.blocked):
            self._waiting.append((call, args))
            return True
        return not self.up

    def _beat(self, run: object) -> None:
        if run is not self.reconciler or self._held(self._beat, run):
            return
        self.save()
        self._beats += 1
        if self._beats % REREAD_BEATS == 0:
            self.link()
        self._time.after(self._heartbeat_s, self._beat, run)

    def save(self) -> None:
        """Write the local snapshot."""
        replica = self.reconciler.replica
        checkpoint = Checkpoint(
            FABRIC,
            self._trust.digest,
            positions_of(replica),
            dict(self._cursors),
            self.reconciler.newest_heads(),
            self.reconciler.joined.read_by,
            newest_counts=self.reconciler.newest_counts(),
        )
        self.disk.append(b"".join(encode(checkpoint, replica.table)))
        self._on_save()

    # --- what comes in ---

    def heard(self, broker: str, raw: bytes) -> None:
        """Take a live event."""
        if not self._held(self.heard, broker, raw) and self.reconciler.event(raw):
            self.link()

    def heard_head(self, broker: str, raw: bytes) -> None:
        """Take a head."""
        if not self._held(self.heard_head, broker, raw) and self.reconciler.head(raw):
            self.link()

    def link(self, *names: str) -> None:
        """Read what brokers store; all of them, unless named."""
        for name in names or self._brokers:
            if self.up and name not in self._reading:
                self._read(name)

    def _read(self, name: str) -> None:
        self._reads += 1
        reading = self._reading[name] = self._reads
        at, run, broker = self._cursors.get(name), self.reconciler, self._brokers[name]
        position, digest = (int(at.position), at.digest) if at else (0, b"")

        def answered(found: Read) -> None:
            if run is self.reconciler and not self._held(answered, found):
                self._answered(name, reading, found)

        self._network.send(self.name, name, broker.read, position, digest, self.name, answered)
        self._time.after(TIMEOUT_S, self._timed_out, name, reading)

    def _timed_out(self, name: str, reading: int) -> None:
        if self._reading.get(name) == reading:
            del self._reading[name]

    def _answered(self, name: str, reading: int, found: Read) -> None:
        if self._reading.get(name) != reading:
            return
        del self._reading[name]
        if found.rewound:
            self._cursors.pop(name, None)
            self._read(name)
            return
        before = self.reconciler.held_back
        self.reconciler.batch(found.raws)
        if found.position and self.reconciler.held_back == before:
            self._cursors[name] = Cursor(str(found.position), found.digest)
        if self._rescans[name].due(self._time.now, missing=self.reconciler.missing):
            self._cursors.pop(name, None)
            self._read(name)
