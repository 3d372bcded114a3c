"""Errors of a source of events: weather, refusal, and a history that is not the one we read."""

from rescind_protocol.errors import RescindError
from rescind_subscriber.faults import Fault


class SourceUnavailable(RescindError):
    """Not reachable now, or not in time; trying again later may well work."""

    code = "SOURCE_UNAVAILABLE"


class SourceRefused(RescindError):
    """Will not heal by itself: bad credentials, a server too old, a certificate not trusted."""

    code = "SOURCE_REFUSED"


class KeysUnavailable(RescindError):
    """An issuer's keys could not be fetched, or are none; those known before stay in use."""

    code = "KEYS_UNAVAILABLE"


class PolicyUnavailable(RescindError):
    """A policy could not be fetched; the one in force goes on deciding."""

    code = "POLICY_UNAVAILABLE"


class ListUnavailable(RescindError):
    """An unsigned list could not be fetched or read; what was known of it goes on to deny."""

    code = "LIST_UNAVAILABLE"


class ListUnkept(RescindError):
    """An unsigned list is not kept over a restart: a damaged file, disk, rights."""

    code = "LIST_UNKEPT"


class Rewound(RescindError):
    """What lies at the cursor is gone or has other bytes: purged, made anew, or an old copy.

    The reader starts again from the beginning; nothing it has applied is taken back.
    """

    code = "REWOUND"

    def __init__(self, sentence: str, fault: Fault = Fault.STREAM_REWOUND) -> None:
        super().__init__(sentence)
        self.fault = fault
        """What it looks like from the cursor."""


class FollowerEnded(RescindError):
    """A part of the subscriber ended that never should; it starts anew."""

    code = "FOLLOWER_ENDED"


class TrustUnkept(RescindError):
    """The trust that is gone by cannot be kept over a restart: disk, rights."""

    code = "TRUST_UNKEPT"


class BadKeeper(RescindError):
    """A badge keeper cannot be made like this; says what to do."""

    code = "BAD_KEEPER"


class BadgeRefused(RescindError):
    """The registry refuses this agent: it is suspended, killed, or not enrolled."""

    code = "BADGE_REFUSED"


class BadgeUnavailable(RescindError):
    """There is no badge that lives now; the keeper goes on asking."""

    code = "BADGE_UNAVAILABLE"
