"""The processes of the real tier: publishers and subscribers, started, killed, and heard."""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.chaos import wire
from tests.chaos.cluster import NODES
from tests.chaos.hearing import Hearing
from tests.chaos.real_tier import Context
from tests.chaos.servers import Servers, Shape
from tests.chaos.workers import Worker
from tests.fakes.waiting import WITHIN_S
from tests.faults.disk import small_disk
from tests.faults.relay import Relay

HEAL_WITHIN_S = WITHIN_S
"""Until everything must be well again."""
WEAK_WITHIN_S = 6.0
"""The same where a protection is out: what does not come by then is what we look for."""
POLL_S = 0.005


class Cast(Servers):
    """Who takes part, each a process of its own."""

    def __init__(self, context: Context, shape: Shape | None = None) -> None:
        super().__init__(context, shape)
        self.publishers: dict[str, Worker] = {}
        self.subscribers: dict[str, Worker] = {}
        self.passed_s = 0.0
        self.heard = Hearing(self.checker, self.shape.publishers)

    def _host(self, name: str, brokers: Sequence[str], user: str, **more: Any) -> wire.Host:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return wire.Host(
            name=name,
            folder=str(folder),
            nats=self.url(name, "nats", user) if "nats" in brokers else None,
            redis=self.url(name, "redis", user) if "redis" in brokers else None,
            publishers=self.shape.publishers,
            heartbeat_s=self.shape.heartbeat_s,
            limit_s=self.context.limit_s,
            without=self.context.without,
            passed_s=self.passed_s,
            replicas=len(NODES) if self.shape.clustered else 1,
            **more,
        )

    def start_publisher(self, name: str, *, disk_bytes: int = 0, **more: Any) -> Worker:
        """Start a publisher, on the spool that it left if there is one."""
        host = self._host(name, self._brokers(self.shape.brokers), "publisher", **more)
        before = small_disk(Path(host.folder), disk_bytes) if disk_bytes else []
        worker = self.publishers[name] = self._worker("tests.chaos.publishing", host, *before)
        worker.ready()
        return worker

    def start_subscriber(
        self, name: str, *, wait: bool = True, remembers: bool = True, **more: Any
    ) -> Worker:
        """Start a subscriber, on the snapshot that it left if there is one."""
        brokers = self._brokers(self.shape.subscribers[name])
        on_caller = self.context.without == "thread"
        host = self._host(name, brokers, "subscriber", on_caller=on_caller, **more)
        self.heard.restarted(name, remembers=remembers)
        worker = self.subscribers[name] = self._worker("tests.chaos.subscribing", host)
        if wait:
            worker.ready()
        return worker

    def start_crowd(self, name: str, count: int) -> Worker:
        """Start a process with many subscribers, which has none of the others' duties."""
        self.relays[name] = self._cleanup.enter_context(Relay(self.nats.port))
        host = self._host(name, ("nats",), "subscriber", count=count)
        worker = self._worker("tests.chaos.crowding", host)
        worker.ready()
        return worker

    def _brokers(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """Return what a host really uses: one broker alone where there is to be no fallback."""
        return (self.shape.alone,) if self.context.without == "fallback" else wanted

    def _worker(self, module: str, host: wire.Host, *before: str) -> Worker:
        worker = Worker(module, host, *before)
        self._cleanup.callback(worker.kill)
        return worker

    def kill_publisher(self, name: str) -> None:
        """SIGKILL a publisher; what its spool has is accepted, whoever was told."""
        self.publishers[name].kill()
        self.bury_publisher(name)

    def bury_publisher(self, name: str) -> None:
        """Hear the last words of a publisher that has ended, and read its spool."""
        worker = self.publishers.pop(name)
        worker.dead()
        self.heard.publisher(worker)
        self.heard.spool(name, self.folder / name, self.passed_s)

    def kill_subscriber(self, name: str) -> None:
        """SIGKILL a subscriber."""
        worker = self.subscribers.pop(name)
        worker.kill()
        self.heard.subscriber(worker)

    def forget(self, name: str) -> None:
        """Empty the disk of a subscriber that does not run."""
        shutil.rmtree(self.folder / name)

    def workers(self) -> list[Worker]:
        """Return all that run."""
        return [*self.publishers.values(), *self.subscribers.values()]

    def let_pass(self, seconds: float, *, but: str = "") -> None:
        """Let time pass for everybody, at once; a process that stands still finds out later."""
        self.passed_s += seconds
        order = wire.Time(passed_s=self.passed_s)
        told = [(worker, worker.tell(order)) for worker in self.workers()]
        for worker, number in told:
            if worker.name != but:
                worker.answer(number, type(None))

    def set_clock(self, name: str, wrong_s: float) -> None:
        """Set one host's wall clock wrong."""
        worker = {**self.publishers, **self.subscribers}[name]
        worker.ask(wire.Time(passed_s=self.passed_s, wrong_s=wrong_s), type(None))

    def hear(self) -> None:
        """Take note of what publishers have committed and subscribers have applied."""
        for name, worker in self.publishers.items():
            horizon = worker.ask(wire.Where(), wire.Stands).horizon
            self.heard.publisher(worker)
            self.heard.horizon(name, horizon)
        for worker in self.subscribers.values():
            self.heard.subscriber(worker)

    def where(self) -> dict[str, wire.Stands]:
        """Return where everybody stands."""
        asked = {name: each.tell(wire.Where()) for name, each in self.subscribers.items()}
        return {n: self.subscribers[n].answer(no, wire.Stands) for n, no in asked.items()}

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition; `TimeoutError` if it does not come true."""
        within_s = WEAK_WITHIN_S if self.context.without else HEAL_WITHIN_S
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {within_s:g} s: {what}; {self.where()}")
            time.sleep(POLL_S)
