"""What is in force on a target, from a view: for `status` and `watch`."""

from collections.abc import Iterable
from typing import Any

import msgspec

from rescind_protocol.changes import Effect, Revocation
from rescind_protocol.table import ALIVE, Table
from rescind_protocol.targets import Kind, Target, everyone, issuer
from rescind_protocol.trust import Trust


class Standing(msgspec.Struct, frozen=True):
    """Whether a target is killed, and by what."""

    target: str
    killed: bool
    """Whether any badge of it is refused by a kill."""
    suspended: bool
    """Whether the issuing of new badges is refused."""
    floor: int | None
    """After a reinstatement: badges whose `iat` is up to this stay dead (unix seconds)."""
    kills: tuple[dict[str, Any], ...]


def standing(target: Target, wider: Iterable[Target], table: Table, trust: Trust) -> Standing:
    """Look a target up, and the wider ones that kill it too."""
    found: dict[str, dict[str, Any]] = {}
    for each in looked_up(target, wider):
        entry = table.get(each.digest)
        for revocation in entry.revocations if entry else ():
            found[str(revocation.id)] = describe(revocation, trust)
    own = table.get(target.digest)
    return Standing(
        target=str(target),
        killed=any(kill["effect"] == Effect.USE for kill in found.values()),
        suspended=any(kill["effect"] == Effect.ISSUANCE for kill in found.values()),
        floor=own.floor if own and own.floor != ALIVE else None,
        kills=tuple(found.values()),
    )


def looked_up(target: Target, wider: Iterable[Target]) -> list[Target]:
    """Return a target and all whose kill is one of it too."""
    return list(dict.fromkeys((target, *wider, *_around(target))))


def _around(target: Target) -> tuple[Target, ...]:
    if target.kind is Kind.EVERYONE:
        return ()
    by_issuer = (issuer(target.iss),) if target.kind is Kind.BADGE else ()
    return (*by_issuer, everyone())


def describe(revocation: Revocation, trust: Trust) -> dict[str, Any]:
    """Return a revocation as JSON types; times in unix seconds."""
    kill = revocation.kill
    owner = trust.owner(revocation.id.log)
    said = {
        "target": str(kill.target),
        "effect": kill.effect.value,
        "publisher": owner.publisher if owner else None,
        "actor": kill.actor,
        "since": revocation.at,
        "until": kill.expires_at,
        "issued_before": kill.issued_before,
        "reason": kill.reason,
        "reason_admin": kill.reason_admin,
        "reason_user": kill.reason_user,
        "id": str(revocation.id),
    }
    return {name: value for name, value in said.items() if value is not None}
