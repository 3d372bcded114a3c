"""Who is told of a fork: in the child that its threads, sockets and locks are the parent's.

Python tells of its own forks (`os.fork`, `multiprocessing`, gunicorn, celery). A server in C that
forks by itself tells nobody; so each place where a call arrives asks `seen` first.
"""

import logging
import os
import weakref
from typing import Protocol


class Forked(Protocol):
    """Has what a fork leaves behind."""

    def after_fork(self) -> None:
        """In the child, before anything else of ours runs there."""


log = logging.getLogger("rescind")
_every: "weakref.WeakSet[Forked]" = weakref.WeakSet()
_here = os.getpid()


def tell(each: Forked) -> None:
    """Have it told for as long as it lives; what has `forked`, in the parent too."""
    _every.add(each)


def untell(each: Forked) -> None:
    """Have it told no more."""
    _every.discard(each)


def seen() -> None:
    """Make up for a fork that nobody told of; costs a system call where there was none."""
    if os.getpid() != _here:
        _in_child()


def _in_child() -> None:
    global _here  # noqa: PLW0603 - one process, one number
    _here = os.getpid()
    _call("after_fork")


def _in_parent() -> None:
    _call("forked")


def _call(method: str) -> None:
    for each in list(_every):
        try:
            getattr(each, method, _nothing)()
        except Exception:
            log.exception("%r is not ready after a fork", each)


def _nothing() -> None: ...


os.register_at_fork(after_in_child=_in_child, after_in_parent=_in_parent)
