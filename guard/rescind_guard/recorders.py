"""Whoever is told of each decision, and what of it that raises: it changes no answer."""

import logging
from collections.abc import Callable
from time import monotonic

from rescind_guard.decision import Decision

log = logging.getLogger(__name__)

Recorder = Callable[[Decision, str | None, object], None]
"""Told of each decision, the tool and what it was called with; in the caller's thread."""
COMPLAIN_EVERY_S = 60.0


def careful(recorder: Recorder) -> Recorder:
    """Return a recorder that raises nothing: a decision stands whether or not it is recorded.

    Without it the caller of a good badge would be refused, and the watcher of work in flight would
    end at the first refusal, so that no kill after it ends any work.
    """
    complained_at = -COMPLAIN_EVERY_S

    def record(decision: Decision, tool: str | None, params: object) -> None:
        nonlocal complained_at
        try:
            recorder(decision, tool, params)
        except Exception as broken:  # noqa: BLE001 - whatever a service's own code raises
            if monotonic() - complained_at >= COMPLAIN_EVERY_S:
                complained_at = monotonic()
                # Without its words: no token in a log.
                log.error("a recorder of decisions failed: %s", type(broken).__name__)  # noqa: TRY400

    return record
