"""Snapshots on Redis: one hash of signed statements by place, one small key for each part.

    rescind:{<fabric>}:snaps                hash: <writer>.<slot> -> statement, written last
    rescind:{<fabric>}:snap:<place>:<n>     hash with one field: part n

Each key is written again in its turn; nothing is deleted. All is read by HGETALL, which is what a
subscriber may do.
"""

from rescind_protocol import subjects
from rescind_protocol.errors import RescindError
from rescind_protocol.limits import SNAPSHOT_PART_BYTES
from rescind_subscriber.errors import SourceUnavailable
from rescind_subscriber.redis_link import RedisLink
from rescind_subscriber.sources.base import Listed

MAX_LISTED = 256
"""Statements looked at; whoever may write snapshots could leave any number."""
FIELD = "part"


class RedisShelf:
    """Reads the snapshots of one fabric over a link; is a `SnapshotStore`."""

    def __init__(self, link: RedisLink, fabric: str) -> None:
        self._link, self._fabric = link, fabric

    async def list_snapshots(self) -> list[Listed]:
        """Return the statements, in no order that means anything."""
        found = await self._read(subjects.redis_snapshots(self._fabric))
        listed = [Listed(place.decode("ascii", "replace"), raw) for place, raw in found.items()]
        return listed[:MAX_LISTED]

    async def read_snapshot(self, place: str, size: int) -> list[bytes]:
        """Return the parts that a body of this size has; see `SnapshotStore`."""
        parts: list[bytes] = []
        for number in range(-(-size // SNAPSHOT_PART_BYTES)):
            found = await self._read(subjects.redis_part(self._fabric, place, number))
            parts += found.values()
        return parts

    async def _read(self, key: str) -> dict[bytes, bytes]:
        try:
            found: dict[bytes, bytes] = await self._link.request("HGETALL", key)
        except RescindError as error:  # a key of another type, a right that is missing
            raise SourceUnavailable(f"{key} cannot be read: {error}") from error
        return found
