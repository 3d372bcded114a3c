"""How fresh is fresh enough: by level, by action, by mode; the strictest wins (RFC-001 §4.3)."""

import time
from collections.abc import Collection
from enum import StrEnum

from rescind_guard.errors import BadGuard
from rescind_protocol.limits import MAX_STALENESS_S

STRICT_FROM_LEVEL = 2
"""Levels 2 to 4 need a fresh view; 0 and 1 pass with a warning."""


class Mode(StrEnum):
    """How a guard treats what is not a known kill; a known kill denies in every mode (I3)."""

    STRICT = "strict"
    """A fresh view for every level."""
    BEST_EFFORT = "best_effort"
    """The level decides."""
    OBSERVE = "observe"
    """For rolling out: everything but a known kill is only recorded."""


class Rule:
    """When a view that is not fresh means that the guard cannot tell."""

    __slots__ = ("_strict_tools", "mode", "stale_after_s")

    def __init__(
        self,
        mode: Mode = Mode.BEST_EFFORT,
        stale_after_s: float = MAX_STALENESS_S,
        strict_tools: Collection[str] = (),
    ) -> None:
        """Raise `BadGuard` for what would be weaker than it looks."""
        if mode not in tuple(Mode):
            raise BadGuard(f"mode {mode!r} is none of {', '.join(Mode)}")
        if not 0 < stale_after_s <= MAX_STALENESS_S:  # NaN too
            raise BadGuard(
                f"stale_after_s must be above 0, {MAX_STALENESS_S} at most (RFC-001 §4.3)"
            )
        if isinstance(strict_tools, str):
            raise BadGuard("strict_tools must be a set of names, not one text")
        self.mode = Mode(mode)
        self.stale_after_s = stale_after_s
        self._strict_tools = frozenset(strict_tools)

    def needs_fresh(self, level: int, tool: str | None) -> bool:
        """Whether this call may not pass on a stale view."""
        if level >= STRICT_FROM_LEVEL or self.mode is Mode.STRICT:
            return True
        # What is no text is no name that could be left out of the set.
        return tool is not None and (not isinstance(tool, str) or tool in self._strict_tools)


class SystemClock:
    """The host's clocks (Linux: CLOCK_BOOTTIME goes on during suspend)."""

    def wall(self) -> float:
        """Unix seconds."""
        return time.time()

    def boot(self) -> float:
        """Seconds since boot, suspend included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)
