"""Whoever is told of each decision, and what of it that raises: it changes no answer."""

import logging
from collections.abc import Callable

from rescind_guard.decision import Decision

log = logging.getLogger(__name__)

Recorder = Callable[[Decision, str | None, object], None]
"""Told of each decision, the tool and what it was called with; in the caller's thread."""


def careful(recorder: Recorder) -> Recorder:
    """Return a recorder that raises nothing: a decision stands whether or not it is recorded.

    Without it the caller of a good badge would be refused, and the watcher of work in flight would
    end at the first refusal, so that no kill after it ends any work.
    """
    failed = 0

    def record(decision: Decision, tool: str | None, params: object) -> None:
        nonlocal failed
        try:
            recorder(decision, tool, params)
        except Exception as broken:  # noqa: BLE001 - whatever a service's own code raises
            failed += 1
            if not failed & (
                failed - 1
            ):  # 1, 2, 4, 8 …: it may be called a thousand times a second
                # Without its words: no token in a log.
                what = type(broken).__name__
                log.error("a recorder of decisions failed, %d times so far: %s", failed, what)  # noqa: TRY400

    return record
