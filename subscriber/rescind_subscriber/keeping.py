"""Keeps a stream open for ever: connects, tells when it is lost, and connects again.

The same contract as every link: what cannot heal by itself is `SourceRefused` at the first attempt;
later it is reported as the reason and tried again, for operators rotate tokens.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from rescind_subscriber.errors import SourceRefused, SourceUnavailable

log = logging.getLogger("rescind.subscriber")

FIRST_WAIT_S = 0.1
MOST_WAIT_S = 5.0
"""Waits double up to this: a node that restarts is not run down by its readers."""
REFUSED_WAIT_S = 2.0


class Keeper:
    """Runs `follow` again and again; it calls `up` once it is linked, and raises when it ends."""

    def __init__(
        self,
        follow: Callable[[Callable[[], None]], Awaitable[None]],
        *,
        on_up: Callable[[], None],
        on_down: Callable[[str], None],
        name: str,
    ) -> None:
        self._follow, self._on_up, self._on_down = follow, on_up, on_down
        self._name = name
        self._runner: asyncio.Task[None] | None = None
        self._wait_s = FIRST_WAIT_S

    async def start(self) -> None:
        """Make the first attempt, then go on for ever; raises `SourceRefused`, never weather."""
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._runner = asyncio.create_task(self._run(first), name=self._name)
        try:
            await first
        except SourceRefused:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End, and stay so."""
        runner, self._runner = self._runner, None
        while runner is not None and not runner.done():
            # Again and again: before Python 3.12 a cancellation can meet a result and be swallowed.
            runner.cancel()
            await asyncio.wait((runner,), timeout=FIRST_WAIT_S)

    async def _run(self, first: asyncio.Future[None]) -> None:
        while True:
            try:
                await self._follow(lambda: self._up(first))
                why, refused = "the stream ended", None
            except SourceRefused as error:
                why, refused = str(error), error
            except SourceUnavailable as error:
                why, refused = str(error), None
            except Exception as error:  # a reader that ended quietly would be a deaf subscriber
                log.exception("%s: a defect ended the stream; it is opened again", self._name)
                why, refused = f"{self._name}: {error!r}", None
            self._on_down(why)
            if refused is not None and not first.done():
                first.set_exception(refused)
                return
            if not first.done():
                first.set_result(None)
            wait_s = max(self._wait_s, REFUSED_WAIT_S if refused is not None else 0.0)
            self._wait_s = min(2 * self._wait_s, MOST_WAIT_S)
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.5))  # noqa: S311 - jitter is no secret

    def _up(self, first: asyncio.Future[None]) -> None:
        self._wait_s = FIRST_WAIT_S
        if not first.done():
            first.set_result(None)
        self._on_up()
