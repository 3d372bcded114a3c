"""Small things about tasks that the follower needs: bounded waits, and ends that are not silent."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from rescind_subscriber.errors import FollowerEnded
from rescind_subscriber.sources.base import Source

log = logging.getLogger("rescind.subscriber")

SOURCE_STOP_S = 2.0
T = TypeVar("T")


def jitter(low: float, high: float) -> float:
    """Return a factor in between, so that a fleet does not ask all at once."""
    return random.uniform(low, high)  # noqa: S311 - spreads load, keeps no secret


async def within(seconds: float, event: asyncio.Event) -> None:
    """Return when the event is set, or after so long."""
    # Not `wait_for`: in Python 3.11 it can swallow a cancellation, and a stop would hang.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def stop_source(source: Source) -> None:
    """Stop a source whatever it does: it may fail, or hang."""
    try:
        async with asyncio.timeout(SOURCE_STOP_S):
            await source.stop()
    except Exception as error:  # noqa: BLE001 - it is given up either way
        log.warning("source %s did not stop cleanly: %r", source.name, error)


async def end(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel the tasks and return when all have ended, however they did."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def raise_end(task: asyncio.Task[Any]) -> None:
    """Raise why a task that should never end has ended; a cancellation from within is no reason."""
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
    raise FollowerEnded(f"task {task.get_name()!r} of the subscriber ended by itself")


async def within_each(seconds: float, items: AsyncIterator[T]) -> AsyncIterator[T]:
    """Yield what `items` yields; `TimeoutError` if one takes longer than that to come."""
    while True:
        try:
            async with asyncio.timeout(seconds):
                item = await anext(items)
        except StopAsyncIteration:
            return
        yield item
