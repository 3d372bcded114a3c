"""Threads of the operating system, also where gevent has put its own in their place.

Under `gevent.monkey` a thread is a greenlet: it runs when the others wait. A handler that computes
would then keep the kill from the view, and its answer would leave as if there had been none. So
what must hear a kill runs on a real thread, is woken by primitives that nothing replaces, and knows
its thread by an identity that does not change when the process is patched later.

eventlet keeps no way back to all of its originals; there a guard says that it cannot be installed.
"""

import sys
import threading
from _queue import Empty, SimpleQueue  # not `queue`, whose classes gevent replaces
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any, Protocol

_FOREVER = None


def original(module: str, name: str) -> Any:
    """Return what `module.name` was before gevent patched it, or is where nothing did."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        return monkey.get_original(module, name)
    return getattr(import_module(module), name)


def _get_ident() -> Callable[[], int]:
    found: Callable[[], int] = original("_thread", "get_ident")
    return found


get_ident = _get_ident()
"""The thread's identity: the same before and after the process is patched."""


def replaced_by() -> str | None:
    """Return who has replaced this process's threads, None if nobody has."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        return "gevent"
    patcher = sys.modules.get("eventlet.patcher")
    if patcher is not None and patcher.is_monkey_patched("thread"):
        return "eventlet"
    return None


class Thread(Protocol):
    """What is needed of a thread."""

    def is_alive(self) -> bool:
        """Whether it runs."""

    def join(self, timeout: float | None = None) -> None:
        """Return when it has ended, or the time is up."""


def start(run: Callable[[], object], name: str, *, early: bool = False) -> Thread:
    """Start a real thread, which keeps no process from ending.

    `early`: threads may be replaced only later, as gunicorn does in the child of its fork; Python
    would not find it again in its list when it ends.
    """
    if replaced_by() is None and not early:
        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread
    return _Started(run)


class _Started:
    """A thread below the module that is patched."""

    def __init__(self, run: Callable[[], object]) -> None:
        self._run, self._ended = run, Flag()
        original("_thread", "start_new_thread")(self._main, ())

    def _main(self) -> None:
        try:
            self._run()
        finally:
            self._ended.set()

    def is_alive(self) -> bool:
        """Whether it runs."""
        return not self._ended.is_set()

    def join(self, timeout: float | None = None) -> None:
        """Return when it has ended, or the time is up; greenlets wait too."""
        self._ended.wait(timeout)


class Flag:
    """Something that is so from a moment on; as `threading.Event`, less `clear`."""

    __slots__ = ("_queue", "_set")

    def __init__(self) -> None:
        self._queue: SimpleQueue[None] = SimpleQueue()
        self._set = False

    def is_set(self) -> bool:
        """Whether it is so."""
        return self._set

    def set(self) -> None:
        """Have it so; who waits goes on."""
        self._set = True
        self._queue.put(None)

    def wait(self, timeout: float | None = _FOREVER) -> bool:
        """Return whether it is so, once it is or the time is up."""
        if not self._set:
            with suppress(Empty):
                self._queue.get(timeout=timeout)
                self._queue.put(None)  # for the next who waits
        return self._set


class Bell:
    """Wakes one waiting thread; rung any number of times before it looks, it wakes once."""

    __slots__ = ("_queue",)

    def __init__(self) -> None:
        self._queue: SimpleQueue[None] = SimpleQueue()

    def ring(self) -> None:
        """Wake the thread, from any other; never waits."""
        if self._queue.empty():
            self._queue.put(None)

    def wait(self, timeout: float) -> bool:
        """Return whether it was rung, once it is or the time is up."""
        try:
            self._queue.get(timeout=timeout)
        except Empty:
            return False
        return True
