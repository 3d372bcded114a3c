"""The decision log that the settings ask for."""

import sys

from rescind.config import OTEL, STDERR, STDOUT, Loaded
from rescind.errors import BadConfig
from rescind_guard.decision import Decision
from rescind_guard.decision_log import DecisionLog, Sink
from rescind_guard.errors import BadGuard, LogFailed
from rescind_guard.evidence import About
from rescind_guard.log_files import Lines, LogFile
from rescind_guard.policy import Policy
from rescind_guard.recorders import Recorder, careful


def make(loaded: Loaded, policy: Policy | None) -> DecisionLog | None:
    """Make the log, not started; None if none is asked for. `BadConfig` if it cannot be written."""
    where = loaded.settings.decision_log
    if not where:
        return None
    try:
        sink = _sink(loaded, where)
    except (LogFailed, BadGuard) as error:
        raise BadConfig(f"setting 'decision_log': {error}") from error
    return DecisionLog(sink, about=About(loaded.settings.audience), policy=policy)


def _sink(loaded: Loaded, where: str) -> Sink:
    if where == OTEL:
        from rescind_guard.log_otel import OpenTelemetry  # noqa: PLC0415 - only when used

        return OpenTelemetry()
    if where in (STDOUT, STDERR):
        stream = sys.__stdout__ if where == STDOUT else sys.__stderr__
        if stream is None:
            raise LogFailed(f"this process has no {where}")
        return Lines(stream.fileno(), where)
    return LogFile(loaded.path(where))


def both(own: Recorder | None, log: DecisionLog | None) -> Recorder | None:
    """Return one recorder for a service's own and the log."""
    if own is None or log is None:
        return own or log
    first, second = careful(own), careful(log)

    def record(decision: Decision, tool: str | None, params: object) -> None:
        second(decision, tool, params)
        first(decision, tool, params)

    return record
