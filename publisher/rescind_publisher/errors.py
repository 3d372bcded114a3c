"""Errors of a sink of events: weather, or a store that would lose kills."""

from rescind_protocol.errors import RescindError


class SinkUnavailable(RescindError):
    """Not reachable, or no answer in time: the event may or may not be stored; append it again."""

    code = "SINK_UNAVAILABLE"


class SinkRefused(RescindError):
    """Will not heal by itself: a setting that would lose kills, credentials, an event too large."""

    code = "SINK_REFUSED"
