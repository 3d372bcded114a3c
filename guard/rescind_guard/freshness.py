"""How fresh is fresh enough: by level, by action, by mode, in one table; the strictest wins.

RFC-001 §4.3. It is about a view that is not fresh, and about nothing else: a known kill denies
before it is asked (I3).
"""

import time
from collections.abc import Callable, Collection
from enum import IntEnum, StrEnum

import msgspec

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


class Need(IntEnum):
    """What a row of the table asks for, weakest first."""

    WARNING = 0
    """The call passes, with a warning."""
    FRESH = 1
    """The guard cannot tell: `REVOCATION_CHECK_FAILED`, neither revoked nor allowed."""


class Call(msgspec.Struct, frozen=True):
    """What the rule looks at."""

    level: int
    tool: object
    """Its name; None: no tool is called. What is no text is no name that a set could leave out."""
    mode: Mode
    strict_tools: frozenset[str]


class Row(msgspec.Struct, frozen=True):
    """What one of the three asks for, and when."""

    by: str
    when: str
    need: Need
    holds: Callable[[Call], bool]


def _is_strict(call: Call) -> bool:
    tool = call.tool
    return tool is not None and (not isinstance(tool, str) or tool in call.strict_tools)


TABLE = (
    Row("level", "0 and 1", Need.WARNING, lambda call: call.level < STRICT_FROM_LEVEL),
    Row("level", "2 to 4", Need.FRESH, lambda call: call.level >= STRICT_FROM_LEVEL),
    Row("action", "a tool of `strict_tools`", Need.FRESH, _is_strict),
    Row("action", "any other", Need.WARNING, lambda call: not _is_strict(call)),
    Row("mode", "`strict`", Need.FRESH, lambda call: call.mode is Mode.STRICT),
    Row("mode", "`best_effort`", Need.WARNING, lambda call: call.mode is Mode.BEST_EFFORT),
    Row("mode", "`observe`", Need.WARNING, lambda call: call.mode is Mode.OBSERVE),
)
"""For each call one row of each holds. The strictest wins; `observe` then records, and passes."""


def needed(call: Call) -> Need:
    """Return what a call on a view that is not fresh needs."""
    return max(row.need for row in TABLE if row.holds(call))


class Rule:
    """When a view that is not fresh means that the guard cannot tell; see `TABLE`."""

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
        return needed(Call(level, tool, self.mode, self._strict_tools)) is Need.FRESH


class SystemClock:
    """The host's clocks (Linux: CLOCK_BOOTTIME goes on during suspend)."""

    def wall(self) -> float:
        """Unix seconds."""
        return time.time()

    def boot(self) -> float:
        """Seconds since boot, suspend included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)
