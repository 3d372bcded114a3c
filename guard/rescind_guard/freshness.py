"""How fresh is fresh enough: by level, by action, by mode; the strictest wins (RFC-001 §4.3)."""

import time
from enum import StrEnum

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
        strict_tools: frozenset[str] = frozenset(),
    ) -> None:
        self.mode = mode
        self.stale_after_s = stale_after_s
        self._strict_tools = strict_tools

    def needs_fresh(self, level: int, tool: str | None) -> bool:
        """Whether this call may not pass on a stale view."""
        return level >= STRICT_FROM_LEVEL or self.mode is Mode.STRICT or tool in self._strict_tools


class SystemClock:
    """The host's clocks (Linux: CLOCK_BOOTTIME goes on during suspend)."""

    def wall(self) -> float:
        """Unix seconds."""
        return time.time()

    def boot(self) -> float:
        """Seconds since boot, suspend included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)
