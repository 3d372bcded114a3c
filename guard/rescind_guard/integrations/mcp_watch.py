"""The second look at one MCP call: on all that leaves it, and now and then while it runs (I3).

A call can outlive what the view knows. A kill of a badge lives until `exp` + 180 s (I8) and is then
forgotten, so a look at the end alone could miss one that came and went while a tool ran, or while a
subscription stream was open for days. Hence a look every `LOOK_EVERY_S`, whose answer is kept.
"""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import anyio
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError

LOOK_EVERY_S = 1.0
"""Far below the 180 s that a kill outlives its badge; also how soon an idle stream ends."""


class Watch:
    """What a look once refused stays refused until the call is over.

    The looks in between need asyncio. On trio only what leaves the call is looked at.
    """

    def __init__(self, ask: Callable[[], object]) -> None:
        self._ask = ask
        self._refused: MCPError | None = None
        self._scope: anyio.CancelScope | None = None
        self._next: asyncio.TimerHandle | None = None

    def look(self, ask: Callable[[], object] | None = None) -> None:
        """Raise `MCPError` if the call is, or once was, refused."""
        if self._refused is None:
            try:
                (ask or self._ask)()
            except MCPError as refused:
                self._refused = refused
        if self._refused is not None:
            raise self._refused from None

    @contextmanager
    def running(self, *, cancel: bool) -> Iterator[None]:
        """Look now and then while the block runs; with `cancel`, leave it when refused."""
        with anyio.CancelScope() as scope:
            self._scope = scope if cancel else None
            self._look_later()
            try:
                yield
            finally:
                if self._next is not None:
                    self._next.cancel()

    def _look_later(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # trio
            return
        self._next = loop.call_later(LOOK_EVERY_S, self._look_again)

    def _look_again(self) -> None:
        try:
            self.look()
        except MCPError:
            if self._scope is not None:
                self._scope.cancel()
        else:
            self._look_later()


class WatchedSession(ServerSession):
    """The session of one admitted call: nothing leaves through it once the badge is killed.

    Progress, log lines, questions to the client and the events of an open subscription stream leave
    before the call returns.
    """

    def __init__(self, session: ServerSession, look: Callable[[], None]) -> None:
        self.__dict__.update(vars(session))
        self._look = look


def _looking(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def looked(self: WatchedSession, *args: Any, **kwargs: Any) -> Any:
        self._look()
        return method(self, *args, **kwargs)

    return looked


# Every public method, derived and not listed: what a later version of mcp adds looks too, and
# nothing here depends on how one of them sends.
for _name, _method in inspect.getmembers(ServerSession, inspect.isfunction):
    if not _name.startswith("_"):
        setattr(WatchedSession, _name, _looking(_method))
