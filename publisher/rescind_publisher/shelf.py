"""When a snapshot is due, where it goes, what two of them allow. The pure rules: no I/O, no clock.

A writer has three slots in each store. The two newest snapshots stay whole while the third is being
written, whatever moment the writer dies at; the statement is stored last, so that a slot that is
half written holds none that its parts answer to.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from rescind_protocol.heads import Position
from rescind_protocol.image import Image
from rescind_protocol.snapshots import Place, Statement
from rescind_protocol.trust import LOG_PREFIX_CHARS

SLOTS = ("0", "1", "2")
KEEP = 2
"""So many must have been read back before what they carry may be dropped (ADR 13)."""
RENEW_S = 6 * 3600.0
"""Without any event, so often all the same: what has expired leaves, and the cursor moves on."""


class Schedule(msgspec.Struct, frozen=True):
    """The rule of time and size."""

    every_s: float
    """Between two, where there is anything new."""
    events: int
    """So many new events are reason enough at once: a reader would have to go through them."""


class Kept(msgspec.Struct, frozen=True):
    """A snapshot of ours that was read back from a store, byte for byte."""

    place: str
    statement: Statement
    vector: Mapping[str, int]
    """Newest number of each log in it."""

    @property
    def events(self) -> int:
        """How many events it stands for."""
        return sum(self.vector.values())


def kept(place: str, statement: Statement, image: Image) -> Kept:
    """Return what is remembered of a snapshot."""
    return Kept(place, statement, {log: at.seq for log, at in image.vector.items()})


def due(
    have: Sequence[Kept], image: Image, now: float, schedule: Schedule, *, cursor: bool = False
) -> bool:
    """Whether a store needs another one; `have` the newest first, `now` in unix seconds.

    `cursor`: whether it is known how far the store was read. Those of before that were written
    without are replaced at once: by them, all would be read.
    """
    if len(have) < KEEP or (cursor and any(k.statement.cursor is None for k in have)):
        return True
    new = sum(at.seq for at in image.vector.values()) - have[0].events
    age_s = abs(now - have[0].statement.iat)  # a clock that was set back is no reason to wait
    if new >= schedule.events:
        return True
    return age_s >= RENEW_S or (new > 0 and age_s >= schedule.every_s)


def writer(kid: str) -> str:
    """Return the token that names a key's slots; its logs begin with the same."""
    return kid[:LOG_PREFIX_CHARS]


def next_place(kid: str, have: Iterable[Kept]) -> str:
    """Return the slot that none of the snapshots to be kept lies in."""
    taken = {each.place for each in have}
    places = [f"{writer(kid)}.{slot}" for slot in SLOTS]
    return next(place for place in places if place not in taken)


def trimmable(have: Sequence[Kept]) -> Place | None:
    """Return the newest position of a store up to which it may be trimmed at the front.

    That of the older of two snapshots that were read back; None: nothing may go. What lies *at* the
    position has to stay, for readers prove their cursor by it.
    """
    return have[KEEP - 1].statement.cursor if len(have) >= KEEP else None


def shelved(stores: Iterable[Sequence[Kept]]) -> dict[str, int]:
    """Return up to which number two snapshots in every store carry each log."""
    newest = [each for have in stores for each in _pair(have)]
    if not newest:
        return {}
    logs = set.intersection(*(set(each.vector) for each in newest))
    return {log: min(each.vector[log] for each in newest) for log in logs}


def _pair(have: Sequence[Kept]) -> Sequence[Kept]:
    nothing = Kept("", Statement("", "", 0, 0, 0, 0, ""), {})
    return have[:KEEP] if len(have) >= KEEP else (nothing,)


def carries(image: Image, logs: Mapping[str, Position]) -> bool:
    """Whether an image has all that own logs hold: a snapshot without would be a lie of ours."""
    return all(
        at.seq == 0 or (log in image.vector and image.vector[log].seq >= at.seq)
        for log, at in logs.items()
    )
