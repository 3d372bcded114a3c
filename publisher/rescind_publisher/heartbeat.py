"""The heartbeat: a signed head every second, and the housekeeping between two of them."""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from rescind_protocol.errors import RescindError
from rescind_publisher import metrics
from rescind_publisher.clock import ADOPT_AFTER_S
from rescind_publisher.config import PublisherConfig
from rescind_publisher.drain import Drain
from rescind_publisher.errors import SpoolFailed
from rescind_publisher.ledger import Ledger
from rescind_publisher.metrics import Counters

_log = logging.getLogger(__name__)

LOOK_EVERY_HEADS = 30
"""How often it is made sure that the sinks still hold what they had: one read for each log."""
HEED_EVERY_HEADS = 3
MOVE_EVERY_HEADS = 60
"""How often it is seen whether the kills of too many old logs are in force."""
CROWDED_EVERY_HEADS = 3
REVIEW_EVERY_HEADS = 600
"""How often old logs are looked at for something to close."""


class Heartbeat:
    """Signs heads and saves progress; on the loop's thread, the disk in another."""

    def __init__(
        self,
        ledger: Ledger,
        drain: Drain,
        config: PublisherConfig,
        counters: Counters,
        *,
        move: Callable[[], None],
        shelved: Callable[[], Mapping[str, int]],
        fleet: Callable[[], int],
        heed: Callable[[], None],
    ) -> None:
        """`move` says old kills again if need be; `shelved` is what snapshots carry of each log.

        `heed` looks whether others have retired us.
        """
        self._ledger, self._drain = ledger, drain
        self._move, self._shelved, self._heed = move, shelved, heed
        self._config, self._counters, self._fleet = config, counters, fleet
        self._stopping = asyncio.Event()
        self._jumped = False
        self.problem: str | None = None
        """Why no head is signed, or what is wrong with its time."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the first head goes out at once."""
        self._task = asyncio.get_running_loop().create_task(self._keep_beating())

    async def stop(self) -> None:
        """Sign no more heads. A beat under way ends first: what it saves is saved nowhere else."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def _keep_beating(self) -> None:
        loop = asyncio.get_running_loop()
        due, count = loop.time(), 0
        while not self._stopping.is_set():
            self.problem = await self._guarded(self._one_beat(), "no head is signed")
            # Also where no head could be signed: closing old logs may be what is missing.
            await self._guarded(self._keep_house(count), "housekeeping failed")
            count += 1
            due = max(due + self._config.heartbeat_s, loop.time())
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), due - loop.time())

    async def _guarded(self, work: Awaitable[str | None], what: str) -> str | None:
        """Await, log what fails, and return it; else what the work itself finds wrong."""
        try:
            return await work
        except RescindError as error:
            _log.error("%s: %s", what, error)
            return f"{what}: {error}"
        except Exception as error:  # noqa: BLE001 - a heart that stops makes the fleet stale
            _log.exception("%s", what)
            return f"{what}: it failed in an unforeseen way ({error!r})"

    async def _one_beat(self) -> str | None:
        try:
            await asyncio.to_thread(self._ledger.step_horizon)
        except SpoolFailed as error:
            _log.error("the horizon stands still: %s", error)
        self._note_clock()
        # Not on the loop: the ledger's lock may be held by a commit.
        head = await asyncio.to_thread(self._ledger.head, fleet=self._fleet())
        self._drain.announce(self._config.publisher, head)
        behind_s = self._ledger.behind_s
        return (
            f"this host's clock is {behind_s:.0f} s behind what was signed before: set it; views "
            "that follow this publisher are stale if theirs are right"
            if behind_s > 0
            else None
        )

    def _note_clock(self) -> None:
        jumped, before = self._ledger.jumped, self._jumped
        self._jumped = jumped
        self._counters.add(metrics.CLOCK_JUMPS, jumped)
        if jumped and not before:
            _log.error(
                "the wall clock has jumped: if it is ahead, heads go on by its old course until it "
                "is set right, or has held for %d s",
                ADOPT_AFTER_S,
            )
        elif before and not jumped:
            _log.warning("the wall clock is believed again")

    async def _keep_house(self, count: int) -> None:
        await self.save_marks()
        self._drain.catch_up(await asyncio.to_thread(lambda: self._ledger.positions))
        if count % LOOK_EVERY_HEADS == 0:
            self._drain.look()
        if count % HEED_EVERY_HEADS == 0:
            await asyncio.to_thread(self._heed)
        if count % self._every(MOVE_EVERY_HEADS) == 0:
            await asyncio.to_thread(self._move)
        if count % self._every(REVIEW_EVERY_HEADS) == 0:
            await self._review()

    def _every(self, heads: int) -> int:
        """Heads that name too many logs will not wait."""
        return min(heads, CROWDED_EVERY_HEADS) if self._ledger.crowded else heads

    async def _review(self) -> None:
        work = functools.partial(
            self._ledger.review,
            self._drain.drained(),
            durable=self._drain.durable(self._ledger.log),
            shelved=self._shelved(),
        )
        for log in await asyncio.to_thread(work):
            self._drain.close_log(log)

    async def save_marks(self) -> None:
        """Save how far the sinks got; asked on the loop, which owns the lanes, saved off it."""
        marks = self._drain.marks()
        try:
            await asyncio.to_thread(self._ledger.save, marks)
        except SpoolFailed as error:
            # Events whose mark is lost are sent again after a restart, and found to be there.
            _log.error("%s", error)
