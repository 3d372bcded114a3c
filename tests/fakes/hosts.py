"""A publisher's host and a guarded one, each with clocks of its own, and one true time.

Real are the ledger, the reconciler and the guard. Between the two hosts nothing is lost, unless a
test keeps it.
"""

from rescind.testing.badges import TestBadge, issuers, mint
from rescind.testing.clock import HostClock, Time
from rescind.testing.keys import FABRIC, key_of, trust_of
from rescind.testing.spool import MemorySpool
from rescind_guard import Guard, View
from rescind_guard.decision import Decision
from rescind_protocol.changes import Change
from rescind_protocol.limits import DEFAULT_QUOTA
from rescind_publisher import plans
from rescind_publisher.chain import Numbered, Voice
from rescind_publisher.ledger import Ledger
from rescind_publisher.requests import KillRequest, KillSpec
from rescind_subscriber.reconcile import Reconciler

TTL_S = 3600


class Hosts:
    """Two hosts; each may have its clocks set wrong, be started again, or sleep."""

    def __init__(self, publisher_s: float = 0.0, guard_s: float = 0.0) -> None:
        self.time, self.trust = Time(), trust_of(("p1",))
        self.publisher = HostClock(self.time, publisher_s)
        self.host = HostClock(self.time, guard_s)
        self.spool, self.stored, self.late = MemorySpool(), list[bytes](), list[bytes]()
        self.hides = False
        """Whether heads are kept from the guarded host, in `late`, and events are lost."""
        self.start_publisher()
        self._open()

    def start_publisher(self) -> None:
        """Start a publisher's process on its spool."""
        voice = Voice(key_of("p1"), "p1", FABRIC, DEFAULT_QUOTA, key_of("approver"))
        self.ledger = Ledger(self.spool, voice, self.trust, self.publisher)

    def _open(self) -> None:
        self.view = View()
        self.view.claim()
        self.at = Reconciler(self.trust, self.view, self.host)
        self.guard = Guard(self.view, issuers(), clock=self.host)

    def start_guard(self, *, remember: bool = False) -> None:
        """Start a guarded process that reads all that is stored; with the last one's snapshot."""
        before = self.at
        self._open()
        if remember:
            self.at.replica.merge(before.replica.image())
            self.at.remember_heads(before.newest_heads(), before.newest_counts())
            self.at.publish_replica()
        self.at.batch(self.stored)

    def reboot_publisher(self, offset_s: float, off_s: float = 60.0) -> None:
        """Start the publisher's host again after it was off, with a clock that is off as well."""
        self.pass_s(off_s)
        self.publisher.reboot(offset_s)
        self.spool.reboot()
        self.start_publisher()

    def reboot_guard(self, offset_s: float) -> None:
        """Start the guarded host again."""
        self.host.reboot(offset_s)
        self.start_guard(remember=True)

    def pass_s(self, seconds: float) -> None:
        """Let true time go by, without a head."""
        self.time.run(self.time.now + seconds)

    def beat(self, beats: int, every_s: float = 1.0) -> None:
        """Let true time go by with heads."""
        for _ in range(beats):
            self.pass_s(every_s)
            self.ledger.step_horizon()
            self.hear(self.ledger.head())

    def hear(self, head: bytes) -> None:
        """Let the guarded host hear a head, and read what it finds missing."""
        if self.hides:
            self.late.append(head)
        elif self.at.head(head):
            self.at.batch(self.stored)

    def badge(self, level: int = 3, ttl_s: int = TTL_S, serial: int = 0) -> TestBadge:
        """Return a badge that was issued now, by the true time."""
        iat = int(self.time.now)
        return mint("did:web:test.example:x", iat=iat, ttl_s=ttl_s, level=level, serial=serial)

    def kill(self, badge: TestBadge) -> None:
        """Kill a badge whose expiry is known, as a request comes to it."""
        spec = KillSpec(target=badge.target, badge_exp=badge.exp)
        now, horizon = self.publisher.wall(), self.ledger.horizon
        self.accept(plans.kill(KillRequest((spec,)), now=now, horizon=horizon).changes)

    def accept(self, changes: tuple[Change, ...]) -> None:
        """Accept changes, and let them be stored and heard."""
        self.ledger.accept(changes, self._hand_over)

    def _hand_over(self, made: list[Numbered]) -> None:
        if not self.hides:
            self.stored += (raws := [each.raw for each in made])
            self.at.batch(raws)

    def ask(self, badge: TestBadge) -> Decision:
        """Ask the guard."""
        return self.guard.check(badge.token)

    @property
    def age_s(self) -> float:
        """Age of the guarded host's proof."""
        return self.view.published.age_s(self.host.wall(), self.host.boot())
