"""Errors of the publisher. Each is one sentence for the person who has to act on it."""

from rescind_protocol.errors import RescindError


class SinkUnavailable(RescindError):
    """Not reachable, or no answer in time: the event may or may not be stored; append it again."""

    code = "SINK_UNAVAILABLE"


class SinkMoved(SinkUnavailable):
    """The store has the log at another place than we thought: append it again, it goes there."""

    code = "SINK_MOVED"


class SinkLost(SinkUnavailable):
    """The store lacks events that it had: it is to be sent the whole log again."""

    code = "SINK_LOST"


class SinkRefused(RescindError):
    """Will not heal by itself: a setting that would lose kills, credentials, an event too large."""

    code = "SINK_REFUSED"


class SinkForked(SinkRefused):
    """Other bytes lie where the event should, and are left there: a fork, or somebody's garbage.

    `found` are the bytes, empty if they are too large for an event; `position` as in `Stored`.
    """

    code = "SINK_FORKED"

    def __init__(self, message: str, *, found: bytes = b"", position: str = "") -> None:
        super().__init__(message)
        self.found, self.position = found, position


class SpoolFailed(RescindError):
    """The spool cannot take or give events (full, read-only, corrupt): nothing was accepted."""

    code = "SPOOL_FAILED"


class SpoolInUse(SpoolFailed):
    """Another publisher holds this spool."""

    code = "SPOOL_IN_USE"


class SpoolForeign(SpoolFailed):
    """The spool belongs to another fabric or key, or to a newer version of this program."""

    code = "SPOOL_FOREIGN"


class BadRequest(RescindError):
    """The request contradicts itself or asks for what cannot be; nothing was accepted."""

    code = "BAD_REQUEST"


class NotPermitted(RescindError):
    """The trust file gives this key no right to say it, so every subscriber would ignore it."""

    code = "NOT_PERMITTED"


class QuotaExceeded(NotPermitted):
    """The key holds as many live revocations as the trust file allows."""

    code = "QUOTA_EXCEEDED"


class NothingLive(RescindError):
    """There is no live kill to reinstate or to retract."""

    code = "NOTHING_LIVE"


class ClockWrong(RescindError):
    """This host's clock cannot be right; what it would sign could be void."""

    code = "CLOCK_WRONG"


class NotRunning(RescindError):
    """The publisher is not started, was closed, or belongs to the process before a fork."""

    code = "NOT_RUNNING"


class BadKeyFile(RescindError):
    """A key or trust file cannot be used as it is; says what to do."""

    code = "BAD_KEY_FILE"


class ControlFailed(RescindError):
    """No publisher answers on the control socket, or what answers does not speak our protocol."""

    code = "CONTROL_FAILED"


class ControlAbsent(ControlFailed):
    """Nothing listens on the control socket: no publisher runs there."""

    code = "CONTROL_ABSENT"


class ControlInUse(ControlFailed):
    """A publisher that is alive listens on this control socket."""

    code = "CONTROL_IN_USE"


class ControlBusy(ControlFailed):
    """The publisher on the control socket had no place free: nothing was done."""

    code = "CONTROL_BUSY"


class ControlUncertain(ControlFailed):
    """The answer was lost after the request was sent: it may or may not have been accepted."""

    code = "CONTROL_UNCERTAIN"


class ControlSilent(ControlUncertain):
    """A publisher listens on the control socket and did not answer in time."""

    code = "CONTROL_SILENT"

    def __init__(self, message: str, pid: int = 0) -> None:
        super().__init__(message)
        self.pid = pid
        """Of the process that listens; 0 where the system does not tell."""


class AuditFailed(RescindError):
    """The audit trail cannot be written or read, or is not what was written."""

    code = "AUDIT_FAILED"
