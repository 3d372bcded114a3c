"""Listening to reports: each listener started, its flood stopped, its reports given to the roster.

Whoever may report can send as many as a connection carries, and each costs the publisher's process,
which also sends kills. So there is an allowance a second, several times what the fleet is told to
send; beyond it the connection is closed for a while, and receipts say that reports are missed.
"""

import asyncio
import logging
import time
from collections.abc import Iterable

from rescind_protocol.clock import Clock
from rescind_protocol.errors import RescindError
from rescind_protocol.limits import MAX_REPORT_BYTES
from rescind_publisher import metrics
from rescind_publisher.listeners.base import Listener
from rescind_publisher.metrics import Counters
from rescind_publisher.roll import Roll
from rescind_publisher.roster import Roster

_log = logging.getLogger(__name__)

ALLOWED_PER_S = 20_000
"""Four times what the subscribers of one fabric may send (`reporting.REPORTS_PER_S`)."""
PAUSE_S = 3.0
REFUSED_WAIT_S = 5.0


class Allowance:
    """How much may come in within one second; pure, times in seconds of any clock."""

    def __init__(self, per_s: int = ALLOWED_PER_S) -> None:
        self._per_s = per_s
        self._second, self._spent = 0, 0

    def take(self, size: int, now: float) -> bool:
        """Take a message of `size` bytes; False: it is too much. Large ones count for several."""
        if int(now) != self._second:
            self._second, self._spent = int(now), 0
        self._spent += 1 + size // MAX_REPORT_BYTES
        return self._spent <= self._per_s


class Hearing:
    """All listeners of one publisher; on its loop's thread."""

    def __init__(
        self,
        roster: Roster,
        listeners: Iterable[Listener],
        counters: Counters,
        clock: Clock,
        roll: Roll | None = None,
    ) -> None:
        """`roll`: where the roster is kept over a restart."""
        self._roster, self._counters, self._clock = roster, counters, clock
        self._roll = roll
        self._listeners = tuple(listeners)
        self._tasks: list[asyncio.Task[None]] = []
        self._deaf: dict[str, str] = {}

    def start(self) -> None:
        """Begin; a listener that cannot start is tried again for ever."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._keep(listener)) for listener in self._listeners]
        if self._roll is not None:
            self._roll.recall(self._roster, time.perf_counter(), self._clock.wall())
            self._tasks.append(loop.create_task(self._roll.keep(self._roster)))

    async def stop(self) -> None:
        """Listen no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._roll is not None:
            await asyncio.to_thread(self._roll.save, self._roster)

    def listening(self, name: str) -> None:
        """Know that reports come in through this listener: nothing is missed, by whatever other."""
        self._deaf.pop(name, None)
        self._roster.deaf(None)

    def deaf(self, name: str, why: str) -> None:
        """Know why they do not; reports are missed where none of the listeners hears."""
        if self._deaf.get(name) != why:
            _log.warning("%s", why)
        self._deaf[name] = why
        if len(self._deaf) == len(self._listeners):
            self._roster.deaf("; ".join(self._deaf.values()))

    async def _keep(self, listener: Listener) -> None:
        while True:
            ear = Ear(self, self._roster, self._counters, self._clock, listener.name)
            wait_s = REFUSED_WAIT_S
            try:
                await listener.start(ear)
                await ear.flooded.wait()
                wait_s = PAUSE_S
            except RescindError as error:
                ear.deaf(f"reports are not listened to: {error}")
            except Exception:  # noqa: BLE001 - logged; a kill needs no reports
                _log.exception("listener %s failed; it starts again", listener.name)
                ear.deaf("reports are not listened to: the publisher's log says why")
            finally:
                await listener.stop()
            await asyncio.sleep(wait_s)


class Ear:
    """One connection's way into the roster, until it is flooded."""

    def __init__(
        self, hearing: Hearing, roster: Roster, counters: Counters, clock: Clock, listener: str
    ) -> None:
        self.flooded = asyncio.Event()
        self._hearing, self._listener = hearing, listener
        self._roster, self._counters, self._clock = roster, counters, clock
        self._allowance = Allowance()

    def heard(self, raw: bytes) -> None:
        """Take one report."""
        if self.flooded.is_set():
            return
        now = time.perf_counter()
        if not self._allowance.take(len(raw), now):
            self._counters.add(metrics.REPORT_FLOODS)
            self.deaf("reports may be missed: too many came, by whoever may report")
            self.flooded.set()
            return
        taken = self._roster.heard(raw, now, self._clock.wall())
        self._counters.add(metrics.REPORTS if taken else metrics.REPORTS_REFUSED)

    def listening(self) -> None:
        """Reports come in from now on."""
        self._hearing.listening(self._listener)
        self._roster.listening(time.perf_counter(), self._clock.wall())

    def deaf(self, why: str) -> None:
        """Reports may be missed."""
        self._hearing.deaf(self._listener, why)
