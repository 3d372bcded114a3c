"""Calls of tools within a call: each is judged by the name of what it runs.

A tool may run another of its server by name: fastmcp's search transforms and code mode have one
that does, a service's own may. What was admitted is the outer name; a rule on the inner one would
say nothing. So whatever passes `call_tool` of a server while a guarded message is handled is judged
under the name by which the outermost server lists it:

- the name that was admitted is not judged again, nor what a mount makes of it (`sub_a` → `a`)
- a call within a mounted server counts with the mount's prefix; where a tool was renamed at the
  mount the prefix cannot be told, and such a call is refused
- `<hash>_<name>`, by which an application of fastmcp reaches its tools, counts as the listed name

What a tool does by other means (a function it calls, another server) is the service's own affair.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

import msgspec

Judge = Callable[[str, object], None]
"""(listed name, arguments) → raises where the caller may not."""
Listed = Callable[[Any, str], Awaitable[str | None]]
"""(server, name) → the name it is listed by, None if that is it."""

_MARK = "_rescind_judged"


class _Frame(msgspec.Struct, frozen=True):
    """A call that runs."""

    server: Any
    name: str | None
    """As this server has it; None: no tool was called yet."""
    public: str
    """As the outermost server lists it."""

    @property
    def prefix(self) -> str | None:
        """What this server's names begin with outside; None: that cannot be told."""
        name = self.name or ""
        return self.public.removesuffix(name) if self.public.endswith(name) else None


class Calls:
    """The calls of one guarded message."""

    def __init__(self, admitted: str | None, judge: Judge, refuse: Callable[[str], None]) -> None:
        self._admitted, self._judge, self._refuse = admitted, judge, refuse
        self.refused: Exception | None = None
        """Of the first inner call that was refused."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Judge what is called in this block, and in tasks that begin in it."""
        calls, frame = _calls.set(self), _frame.set(None)
        try:
            yield
        finally:
            _calls.reset(calls)
            _frame.reset(frame)

    def enter(self, server: Any, name: str, arguments: object) -> _Frame:
        """Return the frame of a call, once it is judged."""
        at = _frame.get()
        if at is None:
            if name != self._admitted:
                self.judge(name, arguments)
            return _Frame(server, name, name)
        if at.server is server:
            if name == at.name:
                return at
            if at.prefix is None:
                self._refusing(lambda: self._refuse(name))
            public = f"{at.prefix}{name}"
            self.judge(public, arguments)
            return _Frame(server, name, public)
        if not at.public.endswith(name):
            self.judge(name, arguments)
        return _Frame(server, name, at.public)

    def judge(self, name: str, arguments: object) -> None:
        """Ask the guard about a name."""
        self._refusing(lambda: self._judge(name, arguments))

    def _refusing(self, ask: Callable[[], None]) -> None:
        try:
            ask()
        except Exception as refused:
            self.refused = self.refused or refused
            raise


_calls: ContextVar[Calls | None] = ContextVar("rescind_calls", default=None)
_frame: ContextVar[_Frame | None] = ContextVar("rescind_frame", default=None)


def cover(kind: type, listed: Listed | None = None) -> None:
    """Have every `call_tool` of a class of servers judged, while a guarded message is handled.

    The class, for a guarded server may run others that are mounted in it, now or later. Nothing
    changes where no guarded message is handled.
    """
    call: Any = vars(kind)["call_tool"]
    if hasattr(call, _MARK):
        return

    @wraps(call)
    async def judged(self: Any, name: str, *given: Any, **named: Any) -> Any:
        calls = _calls.get()
        if calls is None:
            return await call(self, name, *given, **named)
        arguments = given[0] if given else named.get("arguments")
        before = _frame.get()
        frame = _frame.set(calls.enter(self, name, arguments))
        try:
            # Of what a mount hands on, the outer server has judged the listed name already.
            if listed is not None and (before is None or before.server is self):
                known = await listed(self, name)
                if known is not None:
                    calls.judge(f"{before.prefix or '' if before else ''}{known}", arguments)
            return await call(self, name, *given, **named)
        finally:
            _frame.reset(frame)

    setattr(judged, _MARK, True)
    kind.call_tool = judged  # type: ignore[attr-defined]
