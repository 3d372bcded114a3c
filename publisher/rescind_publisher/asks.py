"""From what a person or a program says to what is asked of the publisher: one kill, in data."""

import os
import pwd
import socket
from datetime import datetime, timedelta
from functools import cache

import msgspec

from rescind_protocol.changes import Effect
from rescind_protocol.encoding import check_json
from rescind_protocol.errors import Malformed
from rescind_protocol.limits import MAX_BADGE_BYTES, MAX_REASON_CHARS, MAX_UNIX_S
from rescind_protocol.targets import Target, badge
from rescind_publisher.errors import BadRequest
from rescind_publisher.requests import KillSpec

LATEST_EXP = MAX_UNIX_S - 1
"""What an `exp` that nobody verified counts for: the publisher keeps it within the longest life."""
Moment = int | datetime
"""Unix seconds, or a time with its zone."""
Expiry = int | timedelta | datetime
"""Seconds from now, a duration, or a time with its zone."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One kill of `kill_many`; fields as in `KillSwitch.kill`."""

    target: Target | str
    reason: str = "unspecified"
    reason_admin: str | None = None
    reason_user: str | None = None
    effect: Effect = Effect.USE
    expires: Expiry | None = None
    issued_before: Moment | None = None
    badge_exp: int | None = None
    """`exp` of the badge, of claims whose signature was verified: a forged one ends the kill."""


@cache  # a look-up in the system's user data each time
def default_actor() -> str:
    """Who asks, where nobody says: `user@host`."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name  # not by LOGNAME, which anybody may set
    except KeyError:
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"[:MAX_REASON_CHARS]


def badge_of(token: str) -> Target:
    """Return the badge that a token is; nothing is verified, nothing is kept.

    Its `exp` is not believed: whoever hands the token over may have lowered it, and the kill would
    end before the badge does. Raises `BadRequest` without showing the token.
    """
    from rescind_protocol import jws  # noqa: PLC0415 - only a token needs cryptography

    try:
        claims = check_json(jws.read(token.encode("ascii"), limit=MAX_BADGE_BYTES).payload)
        return badge(claims["iss"], claims["jti"])
    except (Malformed, UnicodeEncodeError, AttributeError, KeyError, TypeError) as error:
        raise BadRequest("this is neither a target nor a badge's token") from error


def to_spec(ask: Ask) -> KillSpec:
    """Return what is sent to the publisher; raises `BadRequest`."""
    target = badge_of(ask.target) if isinstance(ask.target, str) else ask.target
    expires = ask.expires
    if isinstance(expires, timedelta):
        expires = int(expires.total_seconds())
    absolute = isinstance(expires, datetime)
    return KillSpec(
        target=target,
        effect=ask.effect,
        issued_before=_optional("issued_before", ask.issued_before),
        expires_in_s=_duration(expires) if isinstance(expires, int) else None,
        expires_at=_optional("expires", expires) if absolute else None,
        badge_exp=_exp(ask),
        reason=ask.reason,
        reason_user=ask.reason_user,
        reason_admin=ask.reason_admin,
    )


def _exp(ask: Ask) -> int | None:
    """Return a badge's `exp`; for a token that nobody verified, the latest there is."""
    return LATEST_EXP if ask.badge_exp is None and isinstance(ask.target, str) else ask.badge_exp


def _duration(seconds: int) -> int:
    if seconds <= 0:
        raise BadRequest("expires must be more than 0 seconds from now")
    return seconds


def _optional(what: str, moment: Moment | None) -> int | None:
    return None if moment is None else seconds(what, moment)


def seconds(what: str, moment: Moment) -> int:
    """Return unix seconds; raises `BadRequest` for a time without a zone."""
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise BadRequest(
                f"{what}: this time has no zone; use datetime.now(tz=UTC) and the like"
            )
        moment = int(moment.timestamp())
    if moment < 0:
        raise BadRequest(f"{what} must not be negative")
    return moment
