"""Snapshots on NATS: a stream of their own, in which each writer has a few slots of subjects.

    rescind.<fabric>.snap.<writer>.<slot>.part.<n>    parts, written first
    rescind.<fabric>.snap.<writer>.<slot>.manifest    the signed statement, written last

The stream keeps the last message of each subject, so that writing a slot again replaces it and
nothing has to be deleted. A slot that is half written has a statement whose parts are not there.
"""

from rescind_protocol import subjects
from rescind_protocol.limits import SNAPSHOT_PART_BYTES
from rescind_subscriber.nats_link import Link
from rescind_subscriber.nats_reader import StreamMissing, StreamReader
from rescind_subscriber.sources.base import Listed

MAX_LISTED = 256
"""Statements looked at; whoever may write snapshots could leave any number."""
_PLACE_AT = slice(3, 5)  # rescind.<fabric>.snap.<writer>.<slot>.manifest


class ShelfReader:
    """Reads the snapshots of one fabric over a link; is a `SnapshotStore`."""

    def __init__(self, link: Link, fabric: str, *, name: str) -> None:
        self._fabric, self._name = fabric, name
        self._reader = StreamReader(link, subjects.snapshot_stream(fabric), name=name)

    async def list_snapshots(self) -> list[Listed]:
        """Return the statements in the order of writing, none if nobody has made the stream."""
        listed: list[Listed] = []
        at, of = 1, subjects.manifest(self._fabric, "*", "*")
        while len(listed) < MAX_LISTED:
            try:
                replies = await self._reader.fetch(at, of)
            except StreamMissing:
                break
            for subject, payload in zip(replies.subjects, replies.payloads, strict=True):
                listed.append(Listed(".".join(subject.split(".")[_PLACE_AT]), payload))
            if replies.pending == 0:
                break
            at = replies.last + 1
        return listed[:MAX_LISTED]

    async def read_snapshot(self, place: str, size: int) -> list[bytes]:
        """Return the parts of a slot; see `SnapshotStore`.

        The first part is found by its name and the others behind it: what a larger snapshot has
        left in the slot was stored before it.
        """
        writer, _, slot = place.partition(".")
        first = await self._reader.fetch(1, subjects.part(self._fabric, writer, slot, 0))
        if not first.payloads:
            return []
        parts: list[bytes] = []
        at, of = first.first, subjects.part(self._fabric, writer, slot, "*")
        room = size + SNAPSHOT_PART_BYTES
        while room > 0:
            replies = await self._reader.fetch(at, of)
            parts += replies.payloads
            room -= sum(map(len, replies.payloads))
            if replies.pending == 0:
                break
            at = replies.last + 1
        return parts
