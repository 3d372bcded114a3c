"""Everything that takes part in one run, put together from a schedule."""

from functools import partial
from random import Random

from rescind.testing.clock import HostClock, Time
from rescind.testing.keys import key_of, trust_of
from rescind.testing.sim.brokers import StreamBroker
from rescind.testing.sim.cast import badges
from rescind.testing.sim.checker import Checker, seen
from rescind.testing.sim.network import Network
from rescind.testing.sim.parts import Parts
from rescind.testing.sim.publishers import Publisher
from rescind.testing.sim.schedule import Schedule
from rescind.testing.sim.subscribers import Disk, Subscriber
from rescind_protocol.changes import RevocationId
from rescind_publisher.chain import Numbered
from rescind_subscriber.capture import Captured


class World:
    """Publishers, brokers, subscribers, their network and clocks, and the checker of it all."""

    def __init__(self, schedule: Schedule, parts: Parts) -> None:
        self.schedule = schedule
        self.time = Time()
        self.random = Random(schedule.seed)  # noqa: S311 - must replay, keeps no secret
        self.network = Network(self.time, self.random, schedule.delay_s)
        self.checker = Checker(schedule.limit_s)
        names = tuple(f"p{n}" for n in range(schedule.publishers))
        self._trust = trust_of(names, schedule.quota)
        self.brokers = [
            self._broker(f"b{n}", kind, parts) for n, kind in enumerate(schedule.brokers)
        ]
        self.subscribers: list[Subscriber] = []
        self.publishers = [self._publisher(n, name, parts) for n, name in enumerate(names)]
        self.subscribers = [self._subscriber(n, parts) for n in range(schedule.subscribers)]

    def _broker(self, name: str, kind: str, parts: Parts) -> StreamBroker:
        made = parts.fenced if kind == "fenced" else parts.stream
        return made(name, self.time, self.network, self.random)

    def _publisher(self, number: int, name: str, parts: Parts) -> Publisher:
        return Publisher(
            name,
            self._trust,
            self.brokers,
            clock=HostClock(self.time, self.offset_s(number)),
            time=self.time,
            network=self.network,
            random=self.random,
            heartbeat_s=self.schedule.heartbeat_s,
            lane=parts.lane,
            ledger=parts.ledger,
            answered=self._answered,
            beside=partial(self._beside, number),
            committed=self._committed,
            doubted=self.checker.doubted,
        )

    def _subscriber(self, number: int, parts: Parts) -> Subscriber:
        offset_s = self.offset_s(self.schedule.publishers + number)
        return self._guarded(f"s{number}", parts, offset_s)

    def newcomer(self, parts: Parts) -> Subscriber:
        """Start a subscriber that knows nothing: it has what the brokers have, and no more."""
        return self._guarded("newcomer", parts, 0.0)

    def _guarded(self, name: str, parts: Parts, offset_s: float) -> Subscriber:
        return Subscriber(
            name,
            self._trust,
            self.brokers,
            clock=HostClock(self.time, offset_s),
            time=self.time,
            network=self.network,
            limit_s=self.schedule.limit_s,
            heartbeat_s=self.schedule.heartbeat_s,
            parts=parts,
            on_save=lambda: self.checker.saved(name),
        )

    def offset_s(self, host: int) -> float:
        """How far off a host's clock is when nothing is wrong: publishers first."""
        return self.schedule.offsets_s[host]

    def right_s(self, subscriber: Subscriber) -> float:
        """How far off a subscriber's clock is when nothing is wrong."""
        return self.offset_s(self.schedule.publishers + self.subscribers.index(subscriber))

    def _beside(self, number: int) -> Captured | None:
        """What the subscriber on a publisher's host has heard of the others; None: not yet."""
        each = self.subscribers
        return each[number % len(each)].captured() if each else None

    def _answered(self, ids: tuple[RevocationId, ...]) -> None:
        self.checker.answered(ids, self.time.now)

    def _committed(self, made: list[Numbered]) -> None:
        self.checker.accepted(made, self.time.now)

    @property
    def hosts(self) -> list[str]:
        """The names of all hosts."""
        named = [each.name for each in self.publishers]
        named += [each.name for each in self.brokers]
        return named + [each.name for each in self.subscribers]

    def restart(self, subscriber: Subscriber, disk: Disk, wrong_s: float = 0.0) -> None:
        """Start a subscriber again, and tell the checker what it remembers."""
        if subscriber.up:
            return
        if not subscriber.disk:
            disk = Disk.EMPTY
        number = len(subscriber.disk) // 2 if disk is Disk.OLD else len(subscriber.disk) - 1
        forgets = disk in (Disk.DAMAGED, Disk.EMPTY)
        self.checker.restarted(subscriber.name, None if forgets else number)
        subscriber.clock.offset_s = self.right_s(subscriber) + wrong_s
        subscriber.start(disk)
        self.probe(subscriber)

    def look_for_the_dead(self) -> None:
        """Ask every guard about every badge: none is denied by what was ended."""
        for each in self.subscribers:
            for badge in badges(self.schedule.badge_age_s):
                found = seen(badge, each.guard.check(badge.token), each.view.published.table)
                self.checker.lives(each.name, badge, found, self.time.now)

    def probe(self, *subscribers: Subscriber) -> None:
        """Ask guards about every badge; all of them, unless given."""
        for each in self.publishers:
            self.checker.horizon(key_of(each.name).kid, each.spool.horizon)
        for subscriber in subscribers or self.subscribers:
            if subscriber.up and not subscriber.asleep:
                for badge in badges(self.schedule.badge_age_s):
                    decision = subscriber.guard.check(badge.token)
                    self.checker.decided(
                        subscriber.name, badge, decision, subscriber.view, self.time.now
                    )
