"""What a publisher can be asked, as data: the same in a thread of ours and over the socket.

Times that are relative stay so until the publisher that signs resolves them by its own clock.
"""

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from rescind_protocol.changes import Effect, Kill, Reason, Seconds
from rescind_protocol.errors import Malformed
from rescind_protocol.limits import (
    BADGE_KILL_MARGIN_S,
    MAX_CHANGES,
    MAX_REASON_CHARS,
    MAX_TRUST_VERSIONS,
    SKEW_S,
    UNKNOWN_EXP_KILL_S,
)
from rescind_protocol.targets import Kind, Target, check
from rescind_publisher.errors import BadRequest

MAX_KILLS = 16 * MAX_CHANGES
"""Kills in one request."""
MAX_TIMEOUT_S = 60.0
"""How long a request may wait for its sinks."""

Duration = Annotated[int, Meta(gt=0, lt=2**40)]
Timeout = Annotated[float, Meta(ge=0, le=MAX_TIMEOUT_S)]


class _Request(msgspec.Struct, frozen=True, tag_field="op", forbid_unknown_fields=True):
    """Of orders, `actor` is who asks, `by` who hands it in, `where` from what address.

    The publisher's socket writes `by` over with what the system says.
    """


class KillSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One kill as it was asked for; at most one of `expires_in_s` and `expires_at`."""

    target: Target
    effect: Effect = Effect.USE
    issued_before: Seconds | None = None
    expires_in_s: Duration | None = None
    expires_at: Seconds | None = None
    badge_exp: Seconds | None = None
    """`exp` of the badge, where it is known by its signature, or by whoever issued it."""
    reason: Annotated[str, Meta(max_length=64)] = "unspecified"
    reason_user: Reason | None = None
    reason_admin: Reason | None = None


class KillRequest(_Request, frozen=True, tag="kill", omit_defaults=True):
    """Kill some targets at once: all of them are accepted, or none."""

    kills: Annotated[tuple[KillSpec, ...], Meta(min_length=1, max_length=MAX_KILLS)]
    actor: Reason | None = None
    by: Reason | None = None
    where: Reason | None = None
    timeout_s: Timeout = 2.0
    wait_s: Timeout = 0.0
    """How long to wait for the subscribers to say that they have applied it."""
    share: Annotated[int, Meta(ge=1)] | None = None
    """`actor` may hold one in so many of the key's places; None: all of them."""


class EndRequest(_Request, frozen=True, tag="end"):
    """End every live kill of a target: reinstate it, or retract them as mistakes."""

    target: Target
    retract: bool = False
    floor: Seconds | None = None
    reason: Annotated[str, Meta(max_length=64)] = "unspecified"
    reason_user: Reason | None = None
    reason_admin: Reason | None = None
    actor: Reason | None = None
    by: Reason | None = None
    where: Reason | None = None
    timeout_s: Timeout = 2.0
    wait_s: Timeout = 0.0
    """As of a kill."""


class RetireRequest(_Request, frozen=True, tag="retire"):
    """A publisher is gone: go on without its heads, and void what it said beyond what is known."""

    publisher: Annotated[str, Meta(max_length=32)]
    force: bool = False
    """Also where its last head names events that are not here: these are given up."""
    reason: Annotated[str, Meta(max_length=64)] = "unspecified"
    reason_admin: Reason | None = None
    actor: Reason | None = None
    by: Reason | None = None
    where: Reason | None = None
    timeout_s: Timeout = 2.0
    wait_s: ClassVar[float] = 0.0


class TrustRequest(_Request, frozen=True, tag="trust"):
    """Go by these versions of the trust file, oldest first, and put them into the brokers."""

    versions: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MAX_TRUST_VERSIONS)]
    timeout_s: Timeout = 5.0


class FleetRequest(_Request, frozen=True, tag="fleet"):
    """Who the subscribers are, and how."""

    timeout_s: ClassVar[float] = 0.0


class ForgetRequest(_Request, frozen=True, tag="forget"):
    """Take subscribers off the roster that are gone for good; one that lives comes back."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    """As `Roster.label` gives it: NAME, NAME@HOST or NAME@HOST#PID."""
    timeout_s: ClassVar[float] = 0.0


class ScrubRequest(_Request, frozen=True, tag="scrub"):
    """Compare all that the sinks hold with the spool."""

    timeout_s: ClassVar[float] = 0.0


class StatusRequest(_Request, frozen=True, tag="status"):
    """How the publisher, its spool and its sinks are."""

    timeout_s: ClassVar[float] = 0.0


Request = (
    KillRequest
    | EndRequest
    | RetireRequest
    | TrustRequest
    | StatusRequest
    | FleetRequest
    | ForgetRequest
    | ScrubRequest
)
Order = KillRequest | EndRequest | RetireRequest


def to_kill(spec: KillSpec, *, actor: str | None, now: float, horizon: int) -> Kill:
    """Return the change to sign; raises `BadRequest` where it could stop nothing."""
    try:
        target = check(spec.target)
    except Malformed as error:
        raise BadRequest(str(error)) from error
    expires_at = _expiry(spec, int(now))
    if expires_at is not None:
        if expires_at <= now:
            raise BadRequest(
                f"the kill of {target} would be over before it began: check its expiry"
            )
        # Expiry is reached when the horizon is there. Where our clock is behind that, or was ahead
        # when it was set, the kill would live for less than was asked.
        expires_at += max(0, horizon + SKEW_S - int(now))
    return Kill(
        target=target,
        effect=spec.effect,
        issued_before=spec.issued_before,
        expires_at=expires_at,
        reason=spec.reason,
        reason_user=text("reason_user", spec.reason_user),
        reason_admin=text("reason_admin", spec.reason_admin),
        actor=text("actor", actor),
    )


def _expiry(spec: KillSpec, now: int) -> int | None:
    """As asked; else by I8: a badge's kill outlives the badge, any other lasts until ended."""
    if spec.expires_at is not None and spec.expires_in_s is not None:
        raise BadRequest("give either a duration or a time for the expiry, not both")
    if spec.expires_at is not None:
        return spec.expires_at
    if spec.expires_in_s is not None:
        return now + spec.expires_in_s
    if spec.target.kind is not Kind.BADGE:
        return None
    # No badge lives longer than that, whatever `exp` it names.
    latest = now + UNKNOWN_EXP_KILL_S
    return latest if spec.badge_exp is None else min(spec.badge_exp + BADGE_KILL_MARGIN_S, latest)


def text(what: str, value: str | None) -> str | None:
    """Return a text if it fits; every subscriber would find a longer one unreadable (I10)."""
    if value is not None and len(value) > MAX_REASON_CHARS:
        raise BadRequest(f"{what} has {len(value)} characters, limit {MAX_REASON_CHARS}")
    return value
