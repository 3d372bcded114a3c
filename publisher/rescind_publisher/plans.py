"""From a request to the changes that are signed. The pure step: no I/O, no lock.

What every subscriber would ignore is refused here, before anything is accepted.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from rescind_protocol.changes import (
    Change,
    Effect,
    Reinstate,
    Retire,
    Retract,
    Revocation,
    RevocationId,
)
from rescind_protocol.limits import MAX_FLOOR_AHEAD_S, MAX_NAMES, SKEW_S
from rescind_protocol.targets import Kind
from rescind_publisher.errors import BadRequest, NothingLive
from rescind_publisher.requests import EndRequest, KillRequest, text, to_kill


class Plan(msgspec.Struct, frozen=True):
    """What one request comes to."""

    changes: tuple[Change, ...]
    retires: tuple[Retire, ...] = ()
    ended: tuple[RevocationId, ...] = ()
    floor: int | None = None
    warnings: tuple[str, ...] = ()


def kill(request: KillRequest, *, now: float, horizon: int) -> Plan:
    """Plan kills; `now` and `horizon` in unix seconds. Raises `BadRequest`."""
    kills = (to_kill(s, actor=request.actor, now=now, horizon=horizon) for s in request.kills)
    return Plan(tuple(kills))


def end(
    request: EndRequest, live: Iterable[Revocation], *, now: float, warnings: tuple[str, ...] = ()
) -> Plan:
    """Plan the end of the live kills given; raises `NothingLive`, `BadRequest`."""
    target = request.target
    if target.kind is Kind.BADGE and not request.retract:
        raise BadRequest(
            "a badge is not reinstated, for its iat never changes: retract the kill if it was a "
            "mistake, else let the agent fetch a new badge"
        )
    live = tuple(live)
    # Also the ids by which it went before it was moved: what moved it may be void somewhere.
    names = tuple(sorted({name for each in live for name in (each.id, *each.was)}))
    if not names:
        raise NothingLive("; ".join([f"no kill of {target} is in force", *warnings]))
    floor = request.floor if request.floor is not None else _floor(live, now)
    if floor > now + MAX_FLOOR_AHEAD_S:
        raise BadRequest(f"the floor may be {MAX_FLOOR_AHEAD_S} s ahead at most: nothing ends it")
    parts = (names[i : i + MAX_NAMES] for i in range(0, len(names), MAX_NAMES))
    changes = tuple(_end(request, part, floor) for part in parts)
    new_badges_from = None if request.retract or not floor else floor
    return Plan(changes, ended=names, floor=new_badges_from, warnings=warnings)


def _floor(live: tuple[Revocation, ...], now: float) -> int:
    """Up to which `iat` badges stay dead, where nobody says (attack B4).

    A foreign issuer may run a skew ahead: its badges of before carry an iat up to now + 60 s. Where
    only the issuing was stopped, no badge was ever dead, and none may die by its return.
    """
    used = any(revocation.kill.effect is Effect.USE for revocation in live)
    return int(now) + SKEW_S if used else 0


def _end(request: EndRequest, names: tuple[RevocationId, ...], floor: int) -> Change:
    said: dict[str, Any] = {
        "target": request.target,
        "names": names,
        "reason": request.reason,
        "reason_user": text("reason_user", request.reason_user),
        "reason_admin": text("reason_admin", request.reason_admin),
        "actor": text("actor", request.actor),
    }
    return Retract(**said) if request.retract else Reinstate(**said, floor=floor)
