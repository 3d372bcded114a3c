"""A simulated publisher: the real ledger over a spool in memory, and a lane for each broker."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from random import Random

from rescind.testing.clock import HostClock, Time
from rescind.testing.keys import FABRIC, key_of
from rescind.testing.sim.brokers import StreamBroker
from rescind.testing.sim.lanes import Lane
from rescind.testing.sim.network import Network
from rescind.testing.spool import MemorySpool
from rescind_protocol import events
from rescind_protocol.changes import Change, RevocationId
from rescind_protocol.errors import RescindError
from rescind_protocol.trust import Trust
from rescind_publisher import repeats
from rescind_publisher.chain import Numbered, Voice
from rescind_publisher.errors import ClockWrong, QuotaExceeded, SpoolFailed
from rescind_publisher.ledger import Ledger
from rescind_publisher.sinks.base import Record
from rescind_subscriber.capture import Captured


class Publisher:
    """A publisher's host: clock and spool stay, the process comes and goes."""

    def __init__(
        self,
        name: str,
        trust: Trust,
        brokers: Iterable[StreamBroker],
        *,
        clock: HostClock,
        time: Time,
        network: Network,
        random: Random,
        heartbeat_s: float,
        lane: type[Lane],
        ledger: type[Ledger],
        answered: Callable[[tuple[RevocationId, ...]], None],
        beside: Callable[[], Captured | None],
        committed: Callable[[list[Numbered]], None],
        doubted: Callable[[list[Numbered]], None],
    ) -> None:
        self.name = name
        self.clock = clock
        self.spool = MemorySpool(committed, doubted)
        self.up = False
        self.dies_after: int | None = None
        """The process dies in the next change, once so many brokers were told of it."""
        self.beating = True
        self.lanes: list[Lane] = []
        quota = trust.signer(key_of(name).kid).rights.quota
        self._voice = Voice(key_of(name), name, FABRIC, quota, key_of("approver"), random.randbytes)
        self._trust, self._brokers = trust, tuple(brokers)
        self._time, self._network, self._lane = time, network, lane
        self._heartbeat_s, self._ledger_type = heartbeat_s, ledger
        self._answered, self._beside = answered, beside
        self._lacks = False
        self.start()

    def start(self) -> None:
        """Start a process: rebuild the ledger from the spool, open the lanes, begin to beat."""
        if self.up:
            return
        self.up = True
        self.ledger = self._ledger_type(self.spool, self._voice, self._trust, self.clock)
        self.lanes = [self._open(broker) for broker in self._brokers]
        self._beat(self.ledger)

    def _open(self, broker: StreamBroker) -> Lane:
        marks = {log: mark for (sink, log), mark in self.spool.marks.items() if sink == broker.name}
        lane = self._lane(
            self.name,
            broker,
            ledger=self.ledger,
            network=self._network,
            time=self._time,
            marks=marks,
        )
        lane.look()
        lane.pump()
        return lane

    def reboot(self, offset_s: float) -> None:
        """Start the host again; its wall clock is so far off."""
        self.kill_process()
        self.clock.reboot(offset_s)
        self.spool.reboot()
        self.start()

    def restore(self, restore: Callable[[], None]) -> None:
        """Have an older copy of the spool; the next run takes back what the brokers hold."""
        self.kill_process()
        restore()
        self.start()
        self._lacks = True

    def _take_back(self) -> None:
        found: dict[str, dict[int, list[bytes]]] = {}
        reached = [each for each in self._brokers if self._reaches(each)]
        for raw in (raw for each in reached for raw in each.store if raw):
            with suppress(RescindError):
                event = events.authenticate(raw, self._trust)
                if event.publisher == self.name:
                    found.setdefault(event.log, {}).setdefault(event.seq, []).append(raw)
        try:
            taken = sum(self.ledger.adopt(log, by_number) for log, by_number in found.items())
        except SpoolFailed:
            return
        self._lacks = bool(taken) or len(reached) < len(self._brokers)

    def _reaches(self, broker: StreamBroker) -> bool:
        return broker.up and self._network.linked(self.name, broker.name)

    def kill_process(self) -> None:
        """SIGKILL."""
        self.up = False
        self.dies_after = None
        for lane in self.lanes:
            lane.alive = False

    def say(self, *changes: Change) -> bool:
        """Accept changes, unless the spool fails or there is no room; return whether it did."""
        try:
            made = self.ledger.accept(changes, self._hand_over)
        except (SpoolFailed, QuotaExceeded):
            return False
        self._answered(repeats.ids_of(changes, made))
        return True

    def move(self) -> None:
        """Say the kills of old logs again in a new one, as after many starts."""
        self.kill_process()
        self.start()
        followed = self._beside()
        try:
            self.ledger.move(followed, lambda _: True, self._hand_over, old_logs=0)
        except SpoolFailed:
            return

    def _hand_over(self, made: list[Numbered]) -> None:
        for told, lane in enumerate(self.lanes):
            if told == self.dies_after:
                self.kill_process()
                return
            for each in made:
                lane.push(Record(each.event.log, each.event.seq, each.raw))

    def _beat(self, run: Ledger) -> None:
        if not (self.up and self.beating) or run is not self.ledger:
            return
        self.ledger.step_horizon()
        if self._lacks:
            self._take_back()
        try:
            raw = self.ledger.head()
        except ClockWrong:
            raw = b""
        for broker in self._brokers if raw else ():
            self._network.send(self.name, broker.name, broker.announce, raw)
        for lane in self.lanes:
            lane.look()
            lane.pump()
        self._keep()
        self._time.after(self._heartbeat_s, self._beat, run)

    def _keep(self) -> None:
        followed = self._beside()
        if followed is not None:
            self.ledger.heed(followed)
        self.ledger.save(mark for lane in self.lanes for mark in lane.marks())
        drained = [
            log
            for log, at in self.ledger.positions.items()
            if all(lane.durable(log) == at.seq for lane in self.lanes)
        ]
        self.ledger.review(drained)
