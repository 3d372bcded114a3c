"""The loop around the reporting step: waits, sends through every source that can, never in the way.

Nothing here may end the follower: a subscriber that cannot say what it has applied still applies.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterable
from functools import cache
from importlib import metadata

import msgspec

from rescind_guard.metrics import Counter
from rescind_guard.passed import PassedCalls
from rescind_protocol import reports
from rescind_protocol.clock import Clock
from rescind_protocol.errors import RescindError
from rescind_protocol.heads import Head
from rescind_subscriber.listeners import Applied
from rescind_subscriber.reporting import Condition, Reporting, Self
from rescind_subscriber.sources.base import Reporter

log = logging.getLogger("rescind.subscriber")

SEND_S = 2.0
"""Deadline of one report through one source."""
GOODBYE_S = 0.5
SENT = "sent"
LOOK_UP_AFTER_S = 0.005
"""From a kill to the look at what had passed before: the kill has reached the views next to this
one by then, and no guard has forgotten so soon."""


@cache
def _version() -> str:
    try:
        return metadata.version("rescind")
    except metadata.PackageNotFoundError:
        return "unknown"


class ReportLoop:
    """Sends one subscriber's reports; all on the loop of its follower."""

    def __init__(
        self,
        name: str,
        calls: PassedCalls,
        through: Iterable[Reporter],
        condition: Callable[[], Condition],
        *,
        clock: Clock,
        every_s: float,
        ended: Callable[[], list[str]] = list,
    ) -> None:
        self.run_id = secrets.token_urlsafe(12)
        """Of this start: what tells it apart from others of its name."""
        who = Self(
            reports.printable(name),
            reports.printable(socket.gethostname()),
            self.run_id,
            os.getpid(),
            reports.printable(_version()),
        )
        self.step = Reporting(who, calls, now=clock.boot(), every_s=every_s)
        self.counts = Counter()
        self._name = who.name
        self._through = tuple(through)
        self._condition, self._clock, self._ended = condition, clock, ended
        self._woken = asyncio.Event()
        self._judges: Callable[[], bool] | None = None
        """Tells that this process serves after all; None while it is taken to."""
        self._leaving = False
        self._waking: asyncio.TimerHandle | None = None

    # --- told by the reconciler and the sources ---

    def applied(self, applied: Applied) -> None:
        """Take note of an event, or of what a snapshot brought, after its swap."""
        self.step.applied(applied, self._clock.boot())
        if self._waking is None:
            self._waking = asyncio.get_running_loop().call_later(LOOK_UP_AFTER_S, self._wake)

    def _wake(self) -> None:
        self._waking = None
        self._woken.set()

    def headed(self, head: Head) -> None:
        """Take note of a valid head."""
        due_at, now = self.step.due_at, self._clock.boot()
        self.step.headed(head, now)
        self.step.stated(self._condition().state, now)
        if self.step.due_at < due_at:
            self._woken.set()

    def linked(self) -> None:
        """Take note of a source that is linked."""
        self.step.called(self._clock.boot())
        self._woken.set()

    # --- the loop ---

    def hush(self, judges: Callable[[], bool]) -> None:
        """Take leave, and say nothing until this process has judged a call.

        It has forked: it may be the master of those that serve, which nobody need wait for.
        """
        if self._judges is None and not judges():
            self._judges = judges
            self._leaving = True
            self.step.called(self._clock.boot())
            self._woken.set()

    @property
    def _silent(self) -> bool:
        if self._judges is not None and self._judges():
            self._judges = None
            self.step.renewed(secrets.token_urlsafe(12))
        return self._judges is not None

    async def run(self) -> None:
        """Report for ever."""
        while True:
            try:
                await self._wait()
                silent, leaving, self._leaving = self._silent, self._leaving, False
                if leaving and silent:
                    await self.goodbye()
                else:
                    raw = self._make()  # also where it is not sent: it says when the next is due
                    if not silent:
                        await self._send(raw)
            except Exception:
                log.exception("a report failed")
                self.counts.add("failed")
                await asyncio.sleep(SEND_S)

    async def _wait(self) -> None:
        while (left := self.step.due_at - self._clock.boot()) > 0:
            self._woken.clear()
            self.step.look_up()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._woken.wait()

    def _make(self, state: str | None = None) -> bytes:
        now = self._condition()
        if state is not None:
            now = Condition(state, now.age_s, now.logs)
        made = self.step.report(now, now=self._clock.boot(), wall=self._clock.wall())
        return reports.make(msgspec.structs.replace(made, ended=tuple(self._ended())))

    async def _send(self, raw: bytes) -> bool:
        """Return whether any source took it."""
        outcomes = await send_through(self._through, self._name, raw)
        for outcome in outcomes:
            self.counts.add(outcome)
        return SENT in outcomes

    async def goodbye(self) -> bool:
        """Say that this subscriber was stopped: nobody need wait for it; whether that was sent."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                return await self._send(self._make(reports.STOPPED))
        return False


async def send_through(sources: Iterable[Reporter], name: str, raw: bytes) -> list[str]:
    """Send a report through all sources at once: one that is frozen keeps no other waiting.

    Return what became of it at each, "sent" or "unavailable".
    """
    return await asyncio.gather(*(_send_one(source, name, raw) for source in sources))


async def _send_one(source: Reporter, name: str, raw: bytes) -> str:
    try:
        async with asyncio.timeout(SEND_S):
            await source.report(name, raw)
    except (RescindError, TimeoutError):
        return "unavailable"  # weather, and the source says so itself
    return SENT
