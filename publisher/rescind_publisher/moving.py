"""Moving old kills into the current log, so that heads stay small. The pure rules.

A head names every log in which something is in force, and holds about 500. Each start opens a log;
a kill without an end would keep its log open for ever, and a publisher that is started often would
end with a head too large to sign: the fleet stale for good.

A move is one new kill of the same target, effect and expiry, and a retraction of the old id, which
leaves no floor. Both are in *one event*: whoever has heard of the end has the new kill (in two
events, the second one heard first would let a dead badge live). To the join it is a rename, so that
whatever ends the old id, before or after, ends the new one (`rescind_protocol.renames`); each move
names all ids by which the kill went, for a retirement may void the moves in between. What another
publisher is known to have ended is not said again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from rescind_protocol import killset
from rescind_protocol.changes import Change, Retract, Revocation, RevocationId
from rescind_protocol.killset import Kills
from rescind_protocol.limits import MAX_NAMES
from rescind_protocol.renames import MOVED
from rescind_protocol.table import Table
from rescind_publisher.follower import Captured

OLD_LOGS = 64
"""Old logs with something in force, from which on their kills are moved."""
LEAVE = OLD_LOGS // 2
CROWDED = 256
"""Logs a head may name before nothing is waited for any more: a head holds about 500."""
AT_ONCE = 1024
"""Kills moved in one step: under a megabyte, and some milliseconds of the ledger's lock."""

Group = tuple[Change, ...]
Permit = Callable[[Change], bool]


def in_force(table: Table) -> dict[str, list[Revocation]]:
    """Return what lives, by log; a log with only a floor has an empty list."""
    found: dict[str, list[Revocation]] = {}
    for _, entry in table.items():  # noqa: PERF102 - a Table has no values()
        for log, _ in entry.floors:
            found.setdefault(log, [])
        for revocation in entry.revocations:
            found.setdefault(revocation.id.log, []).append(revocation)
    return found


def chosen(
    live: Mapping[str, list[Revocation]], current: str, room: int, old_logs: int | None = None
) -> list[Revocation]:
    """Return the kills to move: of old logs the smallest first, until few enough are left.

    `room` is how many more kills the key may hold.
    """
    old = sorted((found for log, found in live.items() if log != current and found), key=len)
    most, leave = (OLD_LOGS, LEAVE) if old_logs is None else (old_logs, old_logs // 2)
    if len(old) <= most:
        return []
    budget = min(AT_ONCE, room)
    some: list[Revocation] = []
    for found in old[: len(old) - leave]:
        if len(some) + len(found) > budget:
            break
        some += found
    return some


def groups(
    some: Iterable[Revocation], followed: Captured | None, permit: Permit
) -> Iterator[Group]:
    """Yield for each kill what is said in one event; `permit` is for both, or neither is said."""
    for revocation in some:
        end = Retract(
            target=revocation.kill.target,
            names=(revocation.id, *revocation.was)[:MAX_NAMES],
            reason=MOVED,
            actor=revocation.kill.actor,
        )
        group: Group = (end,) if _ended(revocation, followed) else (revocation.kill, end)
        if all(map(permit, group)) and not _forked(revocation, followed):
            yield group


def _ended(revocation: Revocation, followed: Captured | None) -> bool:
    """Whether somebody else has ended it: its event was seen there, and it does not live."""
    if followed is None or not followed.positions.seen(revocation.id):
        return False
    entry = followed.table.get(revocation.kill.target.digest)
    return entry is None or not lives(entry.revocations, revocation.id)


def lives(kills: Kills, name: RevocationId) -> bool:
    """Whether a kill is in force by this id, or goes on by a newer one."""
    return bool(killset.find(kills, name)) or any(name in each.was for each in kills)


def _forked(revocation: Revocation, followed: Captured | None) -> bool:
    """In a forked log an id does not say which branch's kill it is: it is left alone."""
    return followed is not None and revocation.id.log in followed.positions.forked
