"""The decision log to OpenTelemetry (`pip install 'rescind[otel]'`).

By the API alone: where records go, and how they are batched, is the logger provider's business that
the program has set up. Without one the API throws everything away and says nothing, so that is
refused.
"""

from collections.abc import Sequence
from datetime import datetime

from rescind_guard.codes import Outcome
from rescind_guard.errors import BadGuard, LogFailed
from rescind_guard.evidence import EVENT_NAME, Record

try:
    from opentelemetry import _logs
except ImportError as missing:
    raise BadGuard("OpenTelemetry needs more packages: pip install 'rescind[otel]'") from missing

SCOPE = "rescind.guard"
_OF_THE_API = "opentelemetry._logs"
_NS = 1_000_000_000


class OpenTelemetry:
    """Emits each record as a log record with attributes."""

    def __init__(self) -> None:
        """Raise `LogFailed` if the program has set up no logger provider."""
        provider = _logs.get_logger_provider()
        if type(provider).__module__.startswith(_OF_THE_API):
            raise LogFailed(
                "no OpenTelemetry logger provider is set up: call "
                "opentelemetry._logs.set_logger_provider before the guard is made"
            )
        self._logger = provider.get_logger(SCOPE)

    def __repr__(self) -> str:
        return "OpenTelemetry"

    def write(self, records: Sequence[Record]) -> None:
        """Emit them; raises `LogFailed`."""
        for number, record in enumerate(records):
            try:
                self._logger.emit(_record(record))
            except Exception as error:  # whatever a processor raises
                raise LogFailed(f"OpenTelemetry: {type(error).__name__}", number) from error


def _record(record: Record) -> _logs.LogRecord:
    fine = record["rescind.outcome"] == Outcome.ALLOW
    attributes = {name: said for name, said in record.items() if name not in ("time", "event.name")}
    return _logs.LogRecord(
        timestamp=int(datetime.fromisoformat(str(record["time"])).timestamp() * 1000) * _NS // 1000,
        severity_number=_logs.SeverityNumber.INFO if fine else _logs.SeverityNumber.WARN,
        body=record.get("capiscio.deny_reason", "allowed"),
        attributes=attributes,
        event_name=EVENT_NAME,
    )
