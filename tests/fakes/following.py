"""A follower on the test's own loop, its sources scripted and its clock set by hand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rescind_guard.view import View
from rescind_protocol.changes import Kill
from rescind_protocol.targets import Target, agent
from rescind_protocol.trust import Trust
from rescind_subscriber.checkpoint import CheckpointFile
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.follow import Follower
from rescind_subscriber.sources.base import Source
from tests.fakes.clock import FakeClock
from tests.fakes.fabric import Log, make_trust

PATIENT = SubscriberConfig(retry_s=100, retry_most_s=100, snapshot_every_s=100)
"""Waits so long that a test which waits for one fails."""
QUICK = SubscriberConfig(retry_s=0.01, retry_most_s=0.05, snapshot_every_s=0.01)
"""Waits so short that a test need not know of them."""


class Followed:
    """A follower and what a test looks at."""

    def __init__(self, follower: Follower, view: View, clock: FakeClock) -> None:
        self.follower, self.view, self.clock = follower, view, clock
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        self.follower.open()
        try:
            await self.follower.run(self.stop)
        finally:
            self.follower.close()

    @property
    def age_s(self) -> float:
        """Age of the proof of freshness."""
        return self.view.published.age_s(self.clock.wall(), self.clock.boot())

    def denies(self, *targets: Target) -> bool:
        """Whether all of these are known to be killed."""
        return all(self.view.published.table.get(target.digest) for target in targets)

    async def end(self) -> None:
        """Stop as an owner does; raises what the follower raised."""
        self.stop.set()
        await self.task


@asynccontextmanager
async def following(
    *sources: Source,
    trust: Trust | None = None,
    view: View | None = None,
    folder: Path | None = None,
    config: SubscriberConfig = QUICK,
    clock: FakeClock | None = None,
) -> AsyncIterator[Followed]:
    """Give a running follower of these sources, and stop it at the end."""
    clock, at = clock or FakeClock(), view or View()
    file = CheckpointFile(folder, config.name) if folder is not None else None
    follower = Follower(trust or make_trust(), sources, at, clock=clock, config=config, file=file)
    followed = Followed(follower, at, clock)
    try:
        yield followed
    finally:
        followed.stop.set()
        await asyncio.wait((followed.task,))
        if not followed.task.cancelled():
            followed.task.exception()  # a test that expects one has looked at it


def victim(number: int) -> Target:
    """Return an agent to kill."""
    return agent(f"did:web:acme.example:x{number}")


def kills(log: Log, count: int) -> list[bytes]:
    """Append so many kills to a log, of `victim` 1, 2, ... by their number in the log."""
    return [log.write(Kill(target=victim(len(log.raws) + 1))) for _ in range(count)]
