"""Errors of the registry. Each is one sentence, and has one status in `problems.py`."""

from rescind_protocol.errors import RescindError


class BadRegistryConfig(RescindError):
    """The settings of a node contradict each other, or would open it to the network."""

    code = "BAD_CONFIG"


class StoreFailed(RescindError):
    """The database cannot be read or written."""

    code = "STORE_FAILED"


class CannotTell(RescindError):
    """What is killed is not known for certain now: try again."""

    code = "CANNOT_TELL"


class AgentUnknown(RescindError):
    """No agent of this name is enrolled."""

    code = "AGENT_UNKNOWN"


class BadgeUnknown(RescindError):
    """No badge of this name was issued here lately."""

    code = "BADGE_UNKNOWN"


class AgentDisabled(RescindError):
    """The agent is suspended or killed: no badge is issued."""

    code = "AGENT_DISABLED"


class AgentExists(RescindError):
    """An agent of this name is enrolled otherwise."""

    code = "AGENT_EXISTS"


class BadKeyring(RescindError):
    """The keys that sign badges cannot be used as they are."""

    code = "BAD_KEYRING"


class ProofFailed(RescindError):
    """The agent did not prove that it holds its key."""

    code = "PROOF_FAILED"


class TokenInvalid(RescindError):
    """No API token, or one that is unknown, revoked or expired."""

    code = "TOKEN_INVALID"


class ScopeMissing(RescindError):
    """The API token is good, and may not do this."""

    code = "SCOPE_MISSING"


class TooManyFailures(RescindError):
    """This address failed too often: wait."""

    code = "TOO_MANY_FAILURES"

    def __init__(self, sentence: str, retry_after_s: int) -> None:
        super().__init__(sentence)
        self.retry_after_s = retry_after_s


class CursorGone(RescindError):
    """The cursor belongs to another fabric or to a state that this node does not have."""

    code = "CURSOR_GONE"


class KeyReused(RescindError):
    """The Idempotency-Key was used with another request."""

    code = "IDEMPOTENCY_KEY_REUSED"


class KeyOutlived(RescindError):
    """What was done under this Idempotency-Key has been ended since."""

    code = "IDEMPOTENCY_KEY_OUTLIVED"


class StillRunning(RescindError):
    """The first request with this Idempotency-Key has not been answered yet."""

    code = "STILL_RUNNING"


class Busy(RescindError):
    """Too many such requests are under way: nothing was done."""

    code = "BUSY"
