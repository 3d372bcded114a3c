"""What of a request is in force already, so that nothing new is signed for it. The pure rules.

A kill is covered by another of the same target and effect that reaches as many badges and lasts at
least as long. Reasons do not count: an alert rule that fires a thousand times gives a thousand of
them, and they stand in the audit trail of whoever asked.
"""

from collections.abc import Callable, Iterable, Sequence

from rescind_protocol import killset
from rescind_protocol.changes import Change, Effect, Kill, Revocation, RevocationId
from rescind_protocol.events import Event, digest_of
from rescind_protocol.killset import ALL, Kills
from rescind_protocol.targets import Target
from rescind_publisher.chain import Numbered, Voice
from rescind_publisher.sinks.base import Record

Living = Callable[[Target], Iterable[Revocation]]
"""The kills of a target that a repeated one may rely on."""
_LOOKS = 64
"""Candidates that are looked at for one kill; beyond it a new kill is signed, which is never wrong.
"""


def covers(old: Kill, new: Kill) -> bool:
    """Whether a kill in force stops all that another one would, for at least as long."""
    if old.target != new.target or old.effect is not new.effect:
        return False
    if old.issued_before is not None and (
        new.issued_before is None or new.issued_before > old.issued_before
    ):
        return False
    if old.expires_at is None:
        return True
    return new.expires_at is not None and new.expires_at <= old.expires_at


def candidates(kills: Kills, kill: Kill) -> Iterable[Revocation]:
    """Yield kills that may cover another one; parts in which none can be are passed over."""
    if isinstance(kills, killset.Many):
        sums = kills.sums.use if kill.effect is Effect.USE else kills.sums.issuance
        before = ALL if kill.issued_before is None else kill.issued_before
        if sums is None or sums.cut < before or not _lasts(sums.until, kill.expires_at):
            return
        for part in kills.parts:
            yield from candidates(part, kill)
    else:
        yield from kills


def _lasts(until: int | None, asked: int | None) -> bool:
    return until is None or (asked is not None and asked <= until)


def split(
    changes: Sequence[Change], find: Callable[[Kill], Revocation | None]
) -> tuple[tuple[Change, ...], tuple[Revocation, ...]]:
    """Return the changes to sign, and the kills in force that cover the others.

    `find` returns a kill in force that covers one. Of repeats within the request the first counts.
    """
    fresh: list[Change] = []
    living: dict[RevocationId, Revocation] = {}
    strongest: dict[tuple[Target, Effect], Kill] = {}
    for change in changes:
        if not isinstance(change, Kill):
            fresh.append(change)
            continue
        place = (change.target, change.effect)
        before = strongest.get(place)
        if before is not None and covers(before, change):
            continue
        if before is None or covers(change, before):
            strongest[place] = change
        found = find(change)
        if found is None:
            fresh.append(change)
        else:
            living[found.id] = found
    return tuple(fresh), tuple(living.values())


def cover(kills: Kills, kill: Kill, usable: Callable[[Revocation], bool]) -> Revocation | None:
    """Return a kill in force that covers another one and that may be relied on."""
    for looked, found in enumerate(candidates(kills, kill)):
        if looked >= _LOOKS:
            break
        if covers(found.kill, kill) and usable(found):
            return found
    return None


def ids_of(changes: Sequence[Change], made: Iterable[Numbered]) -> tuple[RevocationId, ...]:
    """Return for each change the id under which it stands in these events: its own, or another's.

    `made` holds the events that were signed for the changes, and those of kills that cover some.
    """
    own: dict[Change, RevocationId] = {}
    by_target: dict[Target, list[tuple[RevocationId, Kill]]] = {}
    for each in made:
        for index, change in each.event.changes:
            name = RevocationId(each.event.log, each.event.seq, index)
            own.setdefault(change, name)
            if isinstance(change, Kill):
                by_target.setdefault(change.target, []).append((name, change))
    return tuple(
        own[change]
        if change in own
        else next(
            name
            for name, kill in by_target[change.target]
            if isinstance(change, Kill) and covers(kill, change)
        )
        for change in changes
    )


Read = Callable[[str, int, int], list[Record]]
"""Up to so many events of a log beyond a number, as they lie in the spool."""


def events_of(living: Iterable[Revocation], read: Read, voice: Voice) -> list[Numbered]:
    """Return the events of these kills, each with nothing but them."""
    by_event: dict[tuple[str, int], list[Revocation]] = {}
    for each in living:
        by_event.setdefault((each.id.log, each.id.seq), []).append(each)
    return [_event_of(log, seq, some, read, voice) for (log, seq), some in by_event.items()]


def _event_of(log: str, seq: int, some: list[Revocation], read: Read, voice: Voice) -> Numbered:
    (record,) = read(log, seq - 1, 1)
    event = Event(
        log=log,
        seq=seq,
        prev=b"",
        digest=digest_of(record.raw),
        publisher=voice.publisher,
        quota=voice.quota,
        at=some[0].at,
        changes=tuple((each.id.index, each.kill) for each in some),
        void=0,
    )
    return Numbered(event, record.raw)
