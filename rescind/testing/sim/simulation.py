"""One run: the schedule, then healing, then the check of everything."""

from rescind.testing.clock import START
from rescind.testing.sim import work
from rescind.testing.sim.checker import Verdict
from rescind.testing.sim.faults import ACTS, Undo
from rescind.testing.sim.parts import Parts
from rescind.testing.sim.schedule import Schedule, Step
from rescind.testing.sim.world import World

PROBES = 6
"""Moments, besides each step, at which every guard is asked about every badge."""
HEAL_BEATS = 40
"""How many heartbeats a fabric may take to be well again."""
LIVES_AGAIN_S = 1.0
"""What was reinstated lives again so soon after everything is well."""
SETTLE_S = 30.0
"""Longer than any message is under way."""


def run(schedule: Schedule, parts: Parts | None = None) -> Verdict:
    """Play a schedule and return what the checker found; the same for the same schedule."""
    return Simulation(schedule, parts or Parts()).verdict()


class Simulation:
    """One run of one schedule."""

    def __init__(self, schedule: Schedule, parts: Parts) -> None:
        self._schedule = schedule
        self._parts = parts
        self.world = World(schedule, parts)
        self._open: dict[int, Undo] = {}
        """How to end each fault that has not ended by itself."""

    def verdict(self) -> Verdict:
        """Play, heal, check."""
        self._play()
        self._heal()
        self._check()
        return self.world.checker.verdict

    def _play(self) -> None:
        schedule, world = self._schedule, self.world
        for number, step in enumerate(schedule.steps):
            world.time.after(step.at, self._do, number, step)
        for n in range(PROBES):
            world.time.after(schedule.length_s * (n + 1) / PROBES, world.probe)
        world.time.run(START + schedule.length_s)

    def _do(self, number: int, step: Step) -> None:
        self.world.probe()
        if step.what in work.WORK:
            work.do(self.world, step)
            return
        undo = ACTS[step.what](self.world, step)
        if undo is not None:
            self._open[number] = undo
            self.world.time.after(step.lasts_s, self._end, number)

    def _end(self, number: int) -> None:
        undo = self._open.pop(number, None)
        if undo is not None:
            undo()

    def _heal(self) -> None:
        world = self.world
        world.probe()
        for number in sorted(self._open):
            self._end(number)
        for publisher in world.publishers:
            publisher.dies_after, publisher.spool.fails = None, ""
            publisher.start()
        for subscriber in world.subscribers:
            subscriber.link()
        if not self._well():
            return
        # A store that has lost something shows to nobody who knows it already.
        world.subscribers.append(world.newcomer(self._parts))
        if self._well():
            world.time.run(world.time.now + LIVES_AGAIN_S)
            world.look_for_the_dead()

    def _well(self) -> bool:
        """Wait until every view is fresh and every broker has everything; whether they are."""
        world = self.world
        healed_at, stuck = world.time.now, list[str]()
        for _ in range(HEAL_BEATS):
            world.time.run(world.time.now + self._schedule.heartbeat_s)
            stuck = self._stuck(healed_at)
            if not stuck and self._drained():
                return True
        for name in stuck or ["a lane"]:
            world.checker.stuck(name, world.time.now)
        return False

    def _stuck(self, since: float) -> list[str]:
        """Name the subscribers whose view has not been proven fresh since then."""
        ago_s = self.world.time.now - since
        return [
            each.name
            for each in self.world.subscribers
            if each.view.published.as_of_boot < each.clock.boot() - ago_s
        ]

    def _drained(self) -> bool:
        """Whether every broker has everything for certain."""
        return all(lane.idle() for publisher in self.world.publishers for lane in publisher.lanes)

    def _check(self) -> None:
        world = self.world
        for publisher in world.publishers:
            publisher.beating = False
        world.time.run(world.time.now + SETTLE_S)
        world.probe()
        now = world.time.now
        for each in world.subscribers:
            world.checker.healed(each.name, each.view.published.table, now)
        tables = {each.name: each.view.published.table for each in world.subscribers}
        world.checker.compare(tables, now)
