"""Who is told in the child of a fork that its threads, sockets and locks are the parent's."""

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


def tell(each: Forked) -> None:
    """Have it told for as long as it lives."""
    _every.add(each)


def untell(each: Forked) -> None:
    """Have it told no more."""
    _every.discard(each)


def _in_child() -> None:
    for each in list(_every):
        try:
            each.after_fork()
        except Exception:
            log.exception("%r is not ready in this process, which was forked", each)


os.register_at_fork(after_in_child=_in_child)
