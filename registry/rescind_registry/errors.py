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


class AgentDisabled(RescindError):
    """The agent is suspended or killed: no badge is issued."""

    code = "AGENT_DISABLED"
