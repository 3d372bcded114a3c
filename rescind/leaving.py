"""Lets a process that is ended by a signal say goodbye: neither `finally` nor `atexit` runs then.

Only where the signal's default action would end the process: a program that handles it ends in its
own way, after its last call is served, and its guard goes on until then. The default action
follows the goodbye, so that whoever waits for the process sees it end by the signal.
"""

import logging
import os
import signal
import threading
import weakref
from types import FrameType
from typing import Protocol

log = logging.getLogger("rescind")

ENDINGS = (signal.SIGTERM, signal.SIGHUP)
WITHIN_S = 3.0
"""A goodbye that takes longer is given up; another process of this host says it (`ended`)."""


class Leaves(Protocol):
    """What says goodbye as it stops."""

    def stop(self) -> None:
        """Stop."""


_followed: "weakref.WeakSet[Leaves]" = weakref.WeakSet()


def arm(each: Leaves) -> None:
    """Have it stopped before a signal ends this process; nothing happens beyond the main thread."""
    _followed.add(each)
    if threading.current_thread() is threading.main_thread():
        for number in ENDINGS:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _leave)


def disarm(each: Leaves) -> None:
    """Know that it has stopped."""
    _followed.discard(each)


def _leave(number: int, _: FrameType | None) -> None:
    """In a thread, for this one may hold a lock that a goodbye needs, a logger's say."""
    work = threading.Thread(target=_stop_all, name="rescind goodbye", daemon=True)
    work.start()
    work.join(WITHIN_S)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _stop_all() -> None:
    for each in list(_followed):
        try:
            each.stop()
        except Exception:
            log.exception("no goodbye was said")
