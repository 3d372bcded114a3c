"""The cold start: the newest valid snapshot that a source holds, and where to read on from it.

1. list the signed statements; those that nobody trusted signed, or for another fabric, fall out
2. newest first: read the parts, check each by its digest; a damaged one gives way to the next best
3. one that holds what has become void (a cut, a right), or is by a newer trust than ours, gives way
   as well
4. merge, which never loses a kill (I2), and read on from the cursor that the snapshot names for
   this very source. The source proves it by the bytes that lie there, else all is read

An older snapshot is as good: what is fresh is for heads to say. So none is refused for its age, and
a broker that shows an old one or none can delay, and hide nothing beyond the limit (I6).
"""

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from rescind_guard.metrics import Counter
from rescind_protocol import snapshots
from rescind_protocol.encoding import b64url_decode
from rescind_protocol.errors import Malformed, RescindError
from rescind_protocol.image import Image
from rescind_protocol.snapshots import Place, Statement
from rescind_protocol.trust import Trust
from rescind_subscriber.faults import Fault, Faults
from rescind_subscriber.sources.base import Cursor, Listed, SnapshotStore


class Taken(msgspec.Struct, frozen=True):
    """What a snapshot gives."""

    image: Image | None
    """None: the same body was merged before, from another source."""
    cursor: Cursor | None
    """Where to read on; None: from the beginning."""


class Readable(msgspec.Struct, frozen=True):
    """A listed snapshot whose statement is signed by a key with the right."""

    place: str
    statement: Statement


class ColdStart:
    """What was taken from the snapshots of any source, so that none is merged twice."""

    def __init__(self, trust: Trust, faults: Faults, usable: Callable[[Image, int], bool]) -> None:
        """`usable`: whether a state by a version of the trust holds nothing void."""
        self.counts = Counter()
        self._faults, self._usable = faults, usable
        self.begin(trust)

    def begin(self, trust: Trust) -> None:
        """Start anew: nothing has been merged yet of what is to be built."""
        self._trust = trust
        self._merged: set[str] = set()
        self._damaged: set[Statement] = set()

    async def take(self, name: str, store: SnapshotStore) -> Taken | None:
        """Return what the newest good snapshot gives, None if there is none.

        Raises `SourceUnavailable`.
        """
        listed, trust = await store.list_snapshots(), self._trust
        for found in readable(listed, trust, self.counts):
            statement = found.statement
            if statement in self._damaged:
                continue
            cursor = _cursor(statement.cursor) if statement.trust == self._trust.version else None
            if statement.sha256 in self._merged:
                return Taken(None, cursor)
            parts = await store.read_snapshot(found.place, statement.size)
            try:
                # In a thread: at a million revocations this would make us deaf for a second.
                image = await asyncio.to_thread(snapshots.assemble, statement, parts)
            except Malformed as error:
                self.counts.add("damaged")
                self._damaged.add(statement)
                self._faults.note(
                    Fault.SNAPSHOT_DAMAGED,
                    f"source {name}: snapshot {found.place} is damaged: {error}",
                    about=name,
                )
                continue
            if self._trust is not trust:  # meanwhile: its writer may be revoked
                return None
            if not self._usable(image, statement.trust):
                self.counts.add("void")
                self._damaged.add(statement)
                continue
            if statement.sha256 in self._merged:  # meanwhile, from another source
                return Taken(None, cursor)
            self.counts.add("taken")
            self._merged.add(statement.sha256)
            return Taken(image, cursor)
        return None


def readable(
    listed: Iterable[Listed], trust: Trust, counts: Counter | None = None
) -> list[Readable]:
    """Return the snapshots with a good statement, the newest first."""
    found = []
    for each in listed:
        try:
            found.append(Readable(each.place, snapshots.read_statement(each.manifest, trust)))
        except RescindError as error:
            if counts is not None:
                counts.add(error.code.lower())
    found.reverse()  # of those signed in one second, the one that was written last
    return sorted(found, key=lambda one: one.statement.iat, reverse=True)


def _cursor(place: Place | None) -> Cursor | None:
    """What a reader resumes by; the events up to it were judged by the same trust file."""
    if place is None:
        return None
    try:
        return Cursor(place.position, b64url_decode(place.sha256.encode("ascii")))
    except (Malformed, UnicodeEncodeError):
        return None
