"""The followed state of one moment, for whoever makes a snapshot of it."""

from collections.abc import Mapping

import msgspec

from rescind_protocol.image import Image
from rescind_protocol.table import Table
from rescind_subscriber.memory import image_of
from rescind_subscriber.sources.base import Cursor


class Captured(msgspec.Struct, frozen=True):
    """What was joined, and how far each source was read; taken between two events."""

    positions: Image
    """All but revocations and floors."""
    table: Table
    cursors: Mapping[str, Cursor]
    """By source; everything up to there is part of the state."""
    trust: int
    """The version of the trust file by which the state came about: a newer one may void some."""

    def image(self) -> Image:
        """Return the whole as data; takes a while, and may run in any thread."""
        said = image_of(self.table)
        return msgspec.structs.replace(
            self.positions, revocations=said.revocations, floors=said.floors
        )
