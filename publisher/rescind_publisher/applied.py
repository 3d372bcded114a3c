"""Who has applied a request, as data and as a sentence (I9): what subscribers said, and no more."""

import re
import time
from collections.abc import Sequence

import msgspec

MAX_NAMED = 100
"""Subscribers named in one receipt; the figures count all."""
SETTLED_S = 5.0
"""Whoever has listened so long has heard of all that are there: first heads call the roll."""
_SHOWN = 10
_MS_PER_S = 1000.0
_SHOWN_IN_S = 10_000.0


class Missing(msgspec.Struct, frozen=True, omit_defaults=True):
    """A subscriber that has not said that it applied the request."""

    name: str
    host: str
    last_seen: float
    """Unix seconds, by the publisher's clock."""
    unreachable: bool = False
    """Whether it has been silent for longer than it ever should be."""


class Exposed(msgspec.Struct, frozen=True, omit_defaults=True):
    """Calls of the killed targets that one guard allowed before it knew."""

    name: str
    host: str
    calls: int
    window_ms: float
    """From the request to its application there."""
    at_least: bool = False
    """Whether the guard remembers less than the window."""


class Applied(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many subscribers have applied a request, and who has not."""

    done: int
    known: int
    """Subscribers that the publisher knows of."""
    listening_for_s: float
    """So long it has listened: whoever was silent all the time is not known."""
    after_ms: float | None = None
    """When the last of those that have did so; at most, for the report's way is in it."""
    missing: tuple[Missing, ...] = ()
    """At most `MAX_NAMED`."""
    exposed: tuple[Exposed, ...] = ()
    """At most `MAX_NAMED`, those with the most calls."""
    calls: int = 0
    """Of all guards together."""
    at_least: bool = False
    """Whether `calls` is a least figure."""
    problem: str | None = None
    """Why reports may not come in."""
    seen: bool = False
    """Whether any guard remembers a call of the killed targets."""

    @property
    def complete(self) -> bool:
        """Whether every known subscriber has applied it, and there is one."""
        return self.done == self.known > 0

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why there may be subscribers that are not known, or reports that did not come."""
        found = [self.problem] if self.problem else []
        if self.listening_for_s < SETTLED_S:
            so_long = _duration(self.listening_for_s * _MS_PER_S)
            found.append(f"reports are listened to for {so_long} only: there may be others")
        return tuple(found)

    def __str__(self) -> str:
        return self.sentence()

    def sentence(self, *, ends: bool = False) -> str:
        """Say it of a kill, or, with `ends`, of what ends one: no call passes before that."""
        if not self.known:
            since = f"in the {_duration(self.listening_for_s * _MS_PER_S)} that were listened"
            why = [self.problem] if self.problem else []
            return "; ".join(
                [f"nobody has said that it is applied: no subscriber was heard {since}", *why]
            )
        verb = "ended in" if ends else "dead in"
        said = [f"{verb} {self.done}/{self.known}{self._after()}"]
        if self.missing:
            more = self.known - self.done - len(self.missing)
            said.append(f"not yet: {_names(self.missing, more)}")
        if self.done and not ends:
            said.append(self._exposure())
        return "; ".join([*said, *self.doubts])

    def _after(self) -> str:
        return "" if self.after_ms is None else f" after {_duration(self.after_ms)}"

    def _exposure(self) -> str:
        silent = self.known - self.done
        if not self.calls:
            if silent:
                return f"whether calls passed before: not known of {silent}"
            return "no call passed before" if not self.at_least else "calls before: not known"
        window_ms = max((each.window_ms for each in self.exposed), default=0.0)
        least = "at least " if self.at_least or silent else ""
        noun = "call" if self.calls == 1 else "calls"
        return f"{least}{self.calls} {noun} passed in the {_duration(window_ms)} before"


def _names(missing: Sequence[Missing], more: int) -> str:
    names = [_name(each) for each in missing[:_SHOWN]]
    more += len(missing) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _name(each: Missing) -> str:
    return (
        f"{each.name} (unreachable since {clock(each.last_seen)})"
        if each.unreachable
        else each.name
    )


def clock(wall: float, now: float | None = None) -> str:
    """Return a moment as people say it, in UTC; with its day where that is not today's."""
    at, today = time.gmtime(wall), time.gmtime(time.time() if now is None else now)
    form = "%H:%M UTC" if at[:3] == today[:3] else "%Y-%m-%d %H:%M UTC"
    return time.strftime(form, at)


def _duration(ms: float) -> str:
    if ms < _MS_PER_S:
        return f"{ms:.0f} ms"
    return f"{ms / _MS_PER_S:.1f} s" if ms < 10 * _SHOWN_IN_S else f"{ms / _MS_PER_S:.0f} s"


def natural(name: str) -> list[tuple[int, str]]:
    """Return the key by which people sort names: eu-9 before eu-10."""
    return [(int(n) if n.isdecimal() else 0, n) for n in re.split(r"(\d{1,9})", name)]
