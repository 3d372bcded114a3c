"""The world of a scenario with real servers: what can be said, asked, and found out in it.

Everything is ended when the stage is left, whatever happened.
"""

import time
from types import TracebackType
from typing import Any, Self

from rescind.testing.badges import TestBadge, mint
from rescind.testing.sim.checker import Seen
from rescind_protocol.image import Image
from rescind_protocol.join import Replica
from rescind_protocol.table import Table
from tests.chaos import wire
from tests.chaos.cast import Cast
from tests.chaos.real_tier import Context
from tests.chaos.servers import Shape
from tests.chaos.workers import Worker

BADGE_TTL_S = 3500
"""Longer than what any schedule lets pass."""
CROWD = "did:web:test.example:crowd"


class Stage(Cast):
    """A context manager; all times are CLOCK_MONOTONIC unless they say otherwise."""

    def __init__(self, context: Context, shape: Shape | None = None) -> None:
        super().__init__(context, shape)
        self.badges: list[TestBadge] = []
        """Two of each agent: level 3, and level 1."""
        self._minted = 0

    # --- life ---

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    def _start(self) -> None:
        self._start_servers()
        now = int(time.time())
        for number in range(self.shape.agents):
            agent = f"did:web:test.example:agents:{number}"
            for level in (3, 1):
                badge = mint(agent, iat=now, ttl_s=BADGE_TTL_S, level=level, serial=level)
                self.badges.append(badge)
        for name in self.shape.publishers:
            self.start_publisher(name)
        for name in self.shape.subscribers:
            self.start_subscriber(name, wait=False)
        for worker in self.subscribers.values():
            worker.ready()
        self.wait(self.all_fresh, "all views fresh at the start")

    # --- what is said ---

    def agent(self, number: int) -> str:
        """Return the name of an agent."""
        return self.badges[2 * (number % self.shape.agents)].sub

    def kill(self, number: int, *, by: str | None = None, **how: Any) -> wire.Receipt:
        """Kill an agent."""
        return self._by(by).ask(wire.Kill(agents=(self.agent(number),), **how), wire.Receipt)

    def kill_badge(self, badge: TestBadge, *, by: str | None = None, **how: Any) -> wire.Receipt:
        """Kill one badge."""
        return self._by(by).ask(wire.Kill(tokens=(badge.token,), **how), wire.Receipt)

    def end(self, number: int, *, retract: bool = True, by: str | None = None) -> wire.Receipt:
        """Retract the kills of an agent, or reinstate it."""
        return self._by(by).ask(wire.End(agent=self.agent(number), retract=retract), wire.Receipt)

    def kill_crowd(self, count: int) -> str:
        """Kill so many badges that nobody holds, from many callers at once; return a refusal."""
        self._minted += 1
        now = int(time.time())
        orders = [
            wire.Kill(tokens=(mint(CROWD, iat=now, serial=number).token,))
            for number in range(self._minted * 1000, self._minted * 1000 + count)
        ]
        by = self._by(None)
        numbers = [by.tell(order) for order in orders]
        answers = [by.answer(number, wire.Receipt) for number in numbers]
        return next((each.refused for each in answers if each.refused), "")

    def tell_kill(self, number: int) -> int:
        """Have an agent killed, and do not wait for an answer; return the order's number."""
        return self._by(None).tell(wire.Kill(agents=(self.agent(number),)))

    def _by(self, name: str | None) -> Worker:
        return self.publishers[name or self.shape.publishers[0]]

    def block(self, name: str, seconds: float) -> None:
        """Block the event loop of a subscriber's program."""
        self.subscribers[name].ask(wire.Block(seconds=seconds), type(None))

    def fork(self, name: str, *agents: int) -> None:
        """Have a subscriber fork; its child decides about these agents."""
        first = [next(b for b in self.badges if b.sub == self.agent(each)) for each in agents]
        order = wire.Fork(tokens=tuple(badge.token for badge in first))
        self.subscribers[name].ask(order, type(None))

    def forked(self) -> list[wire.Forked]:
        """Return what children of forks have decided so far."""
        for worker in self.subscribers.values():
            self.heard.subscriber(worker)
        return self.heard.forked

    # --- questions ---

    def all_fresh(self) -> bool:
        """Whether every view is fresh."""
        return all(at.fresh for at in self.where().values())

    def all_live(self) -> bool:
        """Whether every subscriber is fresh and follows all of its brokers."""
        return all(at.state == "LIVE" for at in self.where().values())

    def have_all(self, *names: str) -> bool:
        """Whether these subscribers, or all, have applied everything that was accepted."""
        return all(
            at.logs.get(log, 0) >= seq
            for name, at in self.where().items()
            if name in (names or (name,))
            for log, seq in self.heard.accepted.items()
        )

    def stands(self, worker: Worker) -> wire.Stands:
        """Return where a process stands."""
        return worker.ask(wire.Where(), wire.Stands)

    def has_all(self, worker: Worker) -> bool:
        """Whether a crowd has everything that was accepted."""
        logs = self.stands(worker).logs
        return all(logs.get(log, 0) >= seq for log, seq in self.heard.accepted.items())

    def done_at(self, worker: Worker) -> float | None:
        """Return when the last of a crowd had applied everything that was accepted, if it has."""
        self.heard.subscriber(worker)
        places = [(log, n + 1) for log, last in self.heard.accepted.items() for n in range(last)]
        times = [self.heard.applied.get((worker.name, *place)) for place in places]
        return None if None in times else max(filter(None, times), default=0.0)

    def deaf(self, name: str) -> bool:
        """Whether a subscriber says that it follows no broker."""
        at = self.where()[name]
        return all(at.problems.get(broker) for broker in self.shape.subscribers[name])

    def logs(self, publisher: str) -> tuple[str, ...]:
        """Return the ids of a publisher's logs."""
        return tuple(self.publishers[publisher].ask(wire.Where(), wire.Stands).logs)

    def heads(self, name: str) -> int:
        """Return how many heads a subscriber has heard."""
        return sum(self.where()[name].heads.values())

    def drained(self) -> bool:
        """Whether every broker has everything, for certain."""
        stands = [each.ask(wire.Where(), wire.Stands) for each in self.publishers.values()]
        return not any(pending for at in stands for pending in at.pending.values())

    def probe(self) -> dict[str, list[Seen]]:
        """Let every guard decide about every badge, and have it judged."""
        tokens = tuple(badge.token for badge in self.badges)
        now = time.time() + self.passed_s
        asked = {n: each.tell(wire.Probe(tokens=tokens)) for n, each in self.subscribers.items()}
        found: dict[str, list[Seen]] = {}
        found = {n: self.subscribers[n].answer(no, list[Seen]) for n, no in asked.items()}
        self.hear()  # whoever ended a kill has said so before anybody could hear of it
        for name, seen in found.items():
            for badge, each in zip(self.badges, seen, strict=True):
                self.checker.judge(name, badge, each, now)
        return found

    def denies(self, name: str, number: int) -> bool:
        """Whether a guard denies both badges of an agent as revoked."""
        tokens = tuple(badge.token for badge in self.badges if badge.sub == self.agent(number))
        found = self.subscribers[name].ask(wire.Probe(tokens=tokens), list[Seen])
        return all(each.kills or each.floors for each in found)

    def reach_s(self, number: int, *names: str) -> float:
        """Kill an agent; return after how many seconds these subscribers, or all, had it."""
        begun = time.monotonic()
        self.kill(number)
        for publisher in self.publishers.values():
            self.heard.publisher(publisher)
        log, seq = list(self.heard.accepted.items())[-1]
        wanted = [(name, log, seq) for name in names or self.subscribers]

        def all_have() -> bool:
            for name in names or self.subscribers:
                self.heard.subscriber(self.subscribers[name])
            return all(each in self.heard.applied for each in wanted)

        self.wait(all_have, "a kill is applied")
        return max(self.heard.applied[each] for each in wanted) - begun

    def wait_saved(self, name: str) -> None:
        """Wait until a subscriber's disk has all that it denied up to now; after one more event.

        A snapshot that was begun before is no proof, and without news there is no other for long.
        """
        self.hear()
        self.kill_crowd(1)
        before = self.heard.begun(name)

        def saved() -> bool:
            self.heard.subscriber(self.subscribers[name])
            return self.heard.saves(name) > before

        self.wait(saved, f"{name} has saved")

    # --- the end ---

    def well(self, fault: str, since: float, *, drained: bool = True) -> None:
        """Wait until all is well again after a fault, note how long it took, and check everything.

        `drained`: every broker must have everything, too. A view that does not come round is stuck,
        which is what is found where a protection is out.
        """
        self.hear()
        try:
            self.wait(self.have_all, "all have everything")
            self.context.recovered(fault, time.monotonic() - since)
            self.wait(self.all_fresh, "all views are fresh")
            if drained:
                self.wait(self.all_live, "everybody follows every broker")
                self.wait(self.drained, "all brokers have everything")
                self.context.recovered(f"{fault}: brokers whole", time.monotonic() - since)
        except TimeoutError as error:
            self._note_stuck(str(error))
        self.probe()
        tables = {name: self.table(name) for name in self.subscribers}
        now = time.time() + self.passed_s
        for name, table in tables.items():
            self.checker.healed(name, table, now)
        self.checker.compare(tables, now)

    def _note_stuck(self, why: str) -> None:
        now = time.time() + self.passed_s
        late = [name for name in self.subscribers if not self.have_all(name)]
        late = late or [name for name, at in self.where().items() if not at.fresh]
        for name in late or ["a publisher"]:
            self.checker.stuck(name, now)
        self.checker.verdict.notes.append(why)

    def table(self, name: str) -> Table:
        """Return what a subscriber's view says."""
        said = self.subscribers[name].ask(wire.Dump(), wire.View)
        replica = Replica()
        replica.merge(Image(revocations=said.revocations, floors=said.floors))
        return replica.table
