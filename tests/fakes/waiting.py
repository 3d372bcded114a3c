"""Wait for a condition, bounded; never for a time."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

WITHIN_S = 60.0
"""The one deadline of the tests: a condition that has not come true by then never will.

Nothing is measured by it. It is far beyond what any step takes on a machine that does ten other
things, so that what fails has failed, and is not late.
"""


def wait_until(condition: Callable[[], object], within_s: float = WITHIN_S) -> None:
    """Return when the condition holds, or fail the test."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "condition not met in time"
        time.sleep(0.005)


async def until(condition: Callable[[], object], within_s: float = WITHIN_S) -> None:
    """Return when the condition holds, the loop running meanwhile, or fail the test."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "condition not met in time"
        await asyncio.sleep(0.005)


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
