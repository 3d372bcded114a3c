"""Why a guard could not be put in front of a server, or a badge not be read off a message."""

from rescind_protocol.errors import Malformed, RescindError


class BadCarriage(Malformed):
    """The message carries a badge in a way that leaves open which badge speaks: refused."""

    code = "BADGE_MALFORMED"


class CannotGuard(RescindError):
    """The server offers no place where every message can be checked; nothing was installed."""

    code = "CANNOT_GUARD"


class AlreadyGuarded(CannotGuard):
    """The server has a guard; a second one would check each badge twice, by two views."""

    code = "ALREADY_GUARDED"
