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
    """Whether any badge of it is refused by a kill; of one badge, whether that one is."""
    suspended: bool
    """Whether the issuing of new badges is refused."""
    floor: int | None
    """After a reinstatement of it or of a wider one: `iat` up to this stays dead (unix seconds)."""
    kills: tuple[dict[str, Any], ...]


def standing(
    target: Target, wider: Iterable[Target], table: Table, trust: Trust, iat: int | None = None
) -> Standing:
    """Look a target up, and the wider ones that kill it too.

    With `iat` (unix seconds) it is one badge, and judged as a guard does (`Table.killer`): a floor
    kills it also where no kill is left, and a kill that spares later badges may spare it.
    """
    digests = tuple(each.digest for each in looked_up(target, wider))
    entries = [entry for digest in digests if (entry := table.get(digest)) is not None]
    kills = [revocation for entry in entries for revocation in entry.revocations]
    if iat is None:
        killed = any(each.kill.effect is Effect.USE for each in kills)
        suspended = any(each.kill.effect is Effect.ISSUANCE for each in kills)
    else:
        killed = table.killer(digests, iat) is not None
        suspended = table.suspender(digests, iat) is not None
    floor = max((entry.floor for entry in entries), default=ALIVE)
    return Standing(
        target=str(target),
        killed=killed,
        suspended=suspended,
        floor=floor if floor != ALIVE else None,
        kills=tuple(describe(each, trust) for each in kills),
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
