"""What the server that has loaded this program demands of whoever wants to run threads in it."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from rescind.errors import BadConfig
from rescind_guard import forks, native


def check() -> None:
    """Raise `BadConfig` where what follows the kills would not run, or only now and then."""
    if native.replaced_by() == "eventlet":
        raise BadConfig(
            "eventlet.monkey_patch() has replaced this process's threads: a handler that computes "
            "would keep kills from its guard; serve it with threads, processes or gevent"
        )
    uwsgi = _uwsgi()
    if uwsgi is not None and not _has_threads(uwsgi.opt):
        raise BadConfig(
            "uWSGI runs no threads of Python here, so no kill would be heard: set "
            "`enable-threads = true` (--enable-threads)"
        )


def later(start: Callable[[], object]) -> bool:
    """Have `start` called in each worker, if this is a master that is going to fork them.

    uWSGI forks below Python: a thread of its master may hold the interpreter's lock at that moment,
    and the worker waits for it without end.
    """
    uwsgi = _uwsgi()
    if uwsgi is None or uwsgi.worker_id() > 0:
        return False
    before = getattr(uwsgi, "post_fork_hook", None)

    def begin() -> None:
        forks.seen()
        start()

    def hook() -> None:
        if before is not None:
            before()
        begin()

    decorators = sys.modules.get("uwsgidecorators")
    if decorators is not None:
        decorators.postfork(begin)
    else:
        uwsgi.post_fork_hook = hook
    return True


def _has_threads(options: Mapping[str, Any]) -> bool:
    """Whether uWSGI lets go of the interpreter between two requests; `has_threads` is always 1."""
    said, threads = options.get("enable-threads", b"false"), options.get("threads", b"1")
    # uWSGI's own reading of a flag in a file.
    return said is True or said.lower() not in (b"false", b"off", b"no", b"0") or int(threads) > 1


def _uwsgi() -> Any:
    """Return uWSGI's module, which is there in its own processes alone; else None."""
    found = sys.modules.get("uwsgi")
    return found if hasattr(found, "worker_id") else None
