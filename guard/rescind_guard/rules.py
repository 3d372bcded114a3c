"""Built-in rules: which tools may be called at all, and by which level. No policy language needed.

Patterns are those of a shell, case-sensitive: `*` any text, `?` one character, `[ab]` one of these.
What is denied by name stays denied whatever else allows it; of several levels the highest counts.
A call that names no tool (reading a resource) is none of these rules' business.

A request over HTTP is the tool `GET /orders/7` (`integrations.asked`). Some frameworks run the same
handler for `/orders/7/`, so what denies, and a level, counts with and without a slash at the end;
what allows is taken as it is written.
"""

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from hashlib import sha256

import msgspec

from rescind_guard.badges import Claims
from rescind_guard.codes import Code
from rescind_guard.errors import BadGuard
from rescind_guard.globs import overlap
from rescind_guard.parsing import LEVELS
from rescind_guard.policy import Ruling

MAX_KNOWN_TOOLS = 1024
"""Names whose answer is kept. Callers choose names: what is kept of them must be bounded."""
MAX_KEPT_CHARS = 256
MAX_SHOWN_CHARS = 80
_PATH = " /"
"""In the name of no tool but a request."""
_HEAD = "HEAD "
_NOBODY = max(LEVELS.values()) + 1


class Rules:
    """A policy from settings. Any number of threads may ask it."""

    def __init__(
        self,
        *,
        allowed: Collection[str] = (),
        denied: Collection[str] = (),
        levels: Mapping[str, int] | None = None,
    ) -> None:
        """Take patterns of tools; no `allowed` at all: every tool. Raises `BadGuard`."""
        self._allowed = _patterns("tools_allowed", allowed)
        self._denied = _patterns("tools_denied", denied)
        self._levels = tuple((levels or {}).items())
        for pattern, level in self._levels:
            _check(pattern, "tool_levels")
            if not pattern or type(level) is not int or level not in LEVELS.values():
                raise BadGuard(f"tool_levels: {pattern!r} needs a level from 0 to 4, not {level!r}")
        self._known: dict[str, int] = {}
        said = msgspec.json.encode([self._allowed, self._denied, self._levels])
        self.version = f"rules:{sha256(said).hexdigest()[:16]}"

    def __call__(self, claims: Claims, tool: str | None) -> Ruling | None:
        """Judge one call."""
        if tool is None:
            return None
        needed = self._known.get(tool) if tool.__class__ is str else _NOBODY
        if needed is None:
            needed = self._judge(tool)
        return None if claims.level >= needed else _denial(tool, needed, claims.level)

    def _judge(self, tool: str) -> int:
        needed = self.level_of(tool)
        if len(tool) <= MAX_KEPT_CHARS:
            if len(self._known) >= MAX_KNOWN_TOOLS:
                self._known = {}
            self._known[tool] = needed
        return needed

    def level_of(self, tool: str) -> int:
        """Return the level that calling this tool needs; 5, which nobody has, if none may."""
        written = _spellings(tool)
        denied = any(_matches(each, self._denied) for each in written)
        if denied or (self._allowed and not _matches(tool, self._allowed)):
            return _NOBODY
        found = (n for p, n in self._levels if any(fnmatchcase(each, p) for each in written))
        return max(found, default=0)

    def unmatched(self, names: Collection[str]) -> list[str]:
        """Return the patterns that match none of these tools and routes, which are patterns too."""
        written = [each for name in names for each in _spellings(name)]
        said = [("tools_allowed", each, names) for each in self._allowed]
        said += [("tools_denied", each, written) for each in self._denied]
        said += [("tool_levels", each, written) for each, _ in self._levels]
        return [
            f"{setting}: {pattern!r}"
            for setting, pattern, known in said
            if not any(overlap(pattern, each) for each in known)
        ]


def _spellings(tool: str) -> tuple[str, ...]:
    """Return a request as it may be written: with and without a slash at its end."""
    if _PATH not in tool or tool.endswith(_PATH):
        return (tool,)
    return (tool, tool.removesuffix("/") if tool.endswith("/") else f"{tool}/")


def _patterns(name: str, given: Collection[str]) -> tuple[str, ...]:
    if isinstance(given, str) or not all(isinstance(one, str) and one for one in given):
        raise BadGuard(f"{name} must be a list of patterns of names, not {given!r}")
    for each in given:
        _check(each, name)
    return tuple(given)


def _check(pattern: str, name: str) -> None:
    if pattern.startswith(_HEAD):
        raise BadGuard(f"{name}: {pattern!r} matches nothing, for HEAD is judged as GET: write GET")


def _matches(tool: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(tool, pattern) for pattern in patterns)


def _denial(tool: str, needed: int, level: int) -> Ruling:
    shown = tool[:MAX_SHOWN_CHARS] if isinstance(tool, str) else type(tool).__name__
    if needed == _NOBODY:
        return Ruling(f"tool {shown!r} is not allowed here")
    return Ruling(
        f"trust level {level}; tool {shown!r} needs {needed}", Code.TOOL_TRUST_INSUFFICIENT
    )
