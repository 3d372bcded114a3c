"""A whole fabric in one object, for tests of services that use rescind: no broker, no waiting.

    with rescind.testing.Fabric() as fabric:
        guard = fabric.guard()
        badge = fabric.badge("did:web:acme.example:x7")
        assert guard.check(badge.token)
        fabric.kill(badge)
        assert guard.check(badge.token).code == "BADGE_REVOKED"

Nothing here decides by itself. Badges, events and heads are signed and verified; a kill passes
through the publisher's ledger and the subscriber's reconciler into the view; the guard is the one
that runs in production. Time, network and spool are virtual, and the keys are public knowledge.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from rescind.testing.badges import ISSUER, TestBadge, issuers, mint
from rescind.testing.clock import START, HostClock, Time
from rescind.testing.keys import FABRIC, key_of, trust_of
from rescind.testing.spool import MemorySpool
from rescind_guard import Guard, View
from rescind_protocol import targets
from rescind_protocol.changes import Effect, RevocationId
from rescind_protocol.limits import DEFAULT_QUOTA, HEAD_INTERVAL_S
from rescind_protocol.targets import Target
from rescind_publisher import plans, repeats
from rescind_publisher.chain import Numbered, Voice
from rescind_publisher.ledger import Ledger
from rescind_publisher.requests import EndRequest, KillRequest, KillSpec
from rescind_subscriber.reconcile import Reconciler

PUBLISHER = "soc"
_MOST_HEADS = 1000
"""Heads sent while time passes; a day of them would prove no more."""


class Follower:
    """One process's view of the fabric, and whether it is connected."""

    def __init__(self, time: Time) -> None:
        self.clock = HostClock(time)
        self.view = View()
        self.view.claim()
        self.connected = True
        self._reconciler = Reconciler(trust_of((PUBLISHER,)), self.view, self.clock)
        self._read = 0

    def catch_up(self, stored: list[bytes], head: bytes) -> None:
        """Take what is new and the head, if connected."""
        if self.connected:
            self._reconciler.batch(stored[self._read :])
            self._read = len(stored)
            self._reconciler.head(head)


class Fabric:
    """One publisher, any number of guards, a clock that stands still unless told otherwise."""

    def __init__(self, now: float = START) -> None:
        """Begin at `now`, unix seconds."""
        self._time = Time(now)
        trust = trust_of((PUBLISHER,))
        voice = Voice(key_of(PUBLISHER), PUBLISHER, FABRIC, DEFAULT_QUOTA, key_of("approver"))
        self._clock = HostClock(self._time)
        self._ledger = Ledger(MemorySpool(), voice, trust, self._clock)
        self._stored: list[bytes] = []
        self._followers: list[Follower] = []
        self._floors: dict[Target, int] = {}
        self._minted = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for follower in self._followers:
            follower.view.release()

    @property
    def now(self) -> float:
        """The virtual time, unix seconds."""
        return self._time.now

    # --- who takes part ---

    def follower(self) -> Follower:
        """Add a process that follows the fabric; its `view` is what guards are built on."""
        follower = Follower(self._time)
        self._followers.append(follower)
        self._tell()
        return follower

    def guard(self, follower: Follower | None = None, **options: Any) -> Guard:
        """Return a guard with these options of `Guard`, on a follower's view or one of its own."""
        follower = follower or self.follower()
        return Guard(follower.view, issuers(), clock=follower.clock, **options)

    def badge(
        self,
        agent: str = "did:web:test.example:agents:x7",
        *,
        level: int = 2,
        ttl_s: int = 300,
        sid: str | None = None,
        audience: str | None = None,
    ) -> TestBadge:
        """Issue a badge to an agent, as its registry would: `iat` is beyond any floor of it."""
        self._minted += 1
        return mint(
            agent,
            iat=max(int(self.now), self._floor(agent, sid) + 1),
            ttl_s=ttl_s,
            level=level,
            sid=sid,
            audience=audience,
            serial=self._minted,
        )

    def _floor(self, agent: str, sid: str | None) -> int:
        of = [targets.agent(agent), targets.issuer(ISSUER), targets.everyone()]
        of += [targets.session(sid)] if sid else []
        return max(self._floors.get(target, 0) for target in of)

    # --- what is said ---

    def kill(
        self,
        *what: TestBadge | Target,
        reason: str = "test",
        reason_user: str | None = None,
        effect: Effect = Effect.USE,
        expires_in_s: int | None = None,
    ) -> tuple[RevocationId, ...]:
        """Kill badges or targets in one event; every connected guard knows when it returns."""
        specs = tuple(
            KillSpec(
                target=_target(each),
                effect=effect,
                expires_in_s=expires_in_s,
                badge_exp=_exp(each) if expires_in_s is None else None,
                reason=reason,
                reason_user=reason_user,
            )
            for each in what
        )
        plan = plans.kill(KillRequest(specs), now=self.now, horizon=self._ledger.horizon)
        return self._accept(plan)

    def reinstate(self, what: Target, *, floor: int | None = None) -> tuple[RevocationId, ...]:
        """End every kill of a target; badges issued up to now stay dead, new ones work.

        Raises `NothingLive`, and `BadRequest` for a badge, which is never reinstated.
        """
        floor = int(self.now) if floor is None else floor
        ended = self._end(EndRequest(target=what, floor=floor))
        self._floors[what] = max(floor, self._floors.get(what, 0))
        return ended

    def retract(self, what: TestBadge | Target) -> tuple[RevocationId, ...]:
        """Take every kill of a target back as a mistake; raises `NothingLive`."""
        return self._end(EndRequest(target=_target(what), retract=True))

    def _end(self, request: EndRequest) -> tuple[RevocationId, ...]:
        live = self._ledger.live(request.target)
        plan = plans.end(request, live, now=self.now)
        self._accept(plan)
        return plan.ended

    def _accept(self, plan: plans.Plan) -> tuple[RevocationId, ...]:
        made = self._ledger.accept(plan.changes, self._store)
        self._tell()
        return repeats.ids_of(plan.changes, made)

    def _store(self, made: list[Numbered]) -> None:
        self._stored += [each.raw for each in made]

    def _tell(self) -> None:
        # A head a moment later than the last one: one of the same time would be a replay.
        self._time.now += 0.001
        head = self._ledger.head()
        for follower in self._followers:
            follower.catch_up(self._stored, head)

    # --- what happens ---

    def pass_s(self, seconds: float) -> None:
        """Let time go by, heads going out as usual; kills expire as they do in production."""
        end = self.now + seconds
        step_s = max(HEAD_INTERVAL_S, seconds / _MOST_HEADS)
        while self.now < end:
            self._time.now = min(end, self.now + step_s)
            self._ledger.step_horizon()
            self._tell()

    def cut(self, *followers: Follower) -> None:
        """Disconnect followers, all unless given: kills and heads do not reach them."""
        for follower in followers or self._followers:
            follower.connected = False

    def mend(self, *followers: Follower) -> None:
        """Connect followers again, all unless given; they catch up at once."""
        for follower in followers or self._followers:
            follower.connected = True
        self._tell()

    @contextmanager
    def outage(self, *followers: Follower) -> Iterator[None]:
        """Disconnect followers for the length of a block."""
        self.cut(*followers)
        try:
            yield
        finally:
            self.mend(*followers)


def _target(what: TestBadge | Target) -> Target:
    return what.target if isinstance(what, TestBadge) else what


def _exp(what: TestBadge | Target) -> int | None:
    return what.exp if isinstance(what, TestBadge) else None
