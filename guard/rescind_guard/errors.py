"""Errors of the guard: `Refused` is the caller's fault, the others are ours."""

from rescind_guard.codes import Code
from rescind_protocol.changes import RevocationId
from rescind_protocol.errors import RescindError


class Refused(RescindError):
    """A badge does not pass; carries the code and a sentence that the caller may see."""

    code = "REFUSED"

    def __init__(
        self,
        code: Code,
        reason: str,
        *,
        revocation: RevocationId | None = None,
        reason_user: str | None = None,
        reason_admin: str | None = None,
        decision_id: str | None = None,
        unsigned_list: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.answer = code
        self.reason = reason
        self.revocation = revocation
        self.reason_user = reason_user
        self.reason_admin = reason_admin
        self.decision_id = decision_id
        self.unsigned_list = unsigned_list


class BadGuard(RescindError):
    """The guard was configured so that it could not protect anything; says what to do."""

    code = "BAD_GUARD"


class TwoWriters(RescindError):
    """A second thread wrote to a view; two writers lose kills (attack B3)."""

    code = "TWO_WRITERS"


class LogFailed(RescindError):
    """The decision log cannot be written; says what is wrong with it."""

    code = "LOG_FAILED"

    def __init__(self, message: str, written: int = 0) -> None:
        super().__init__(message)
        self.written = written
        """How many of the records given were written all the same."""
