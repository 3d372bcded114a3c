"""Where a log stands, or where it ends."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from rescind_protocol.changes import Sha256
from rescind_protocol.encoding import b64url_decode, b64url_encode


class Position(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a log stands: its newest number (0: nothing yet) and that event's digest."""

    seq: Annotated[int, Meta(ge=0, lt=2**53)]
    digest: Sha256


START = Position(0, bytes(32))
"""Before the first event of a log; what comes first names it as the one before (`prev`)."""


def from_text(said: Mapping[str, tuple[int, str]]) -> dict[str, Position]:
    """Return positions as JSON carries them, by log; raises `Malformed`."""
    return {
        log: Position(seq, b64url_decode(digest.encode("ascii", "replace")))
        for log, (seq, digest) in said.items()
    }


def to_text(positions: Mapping[str, Position]) -> dict[str, tuple[int, str]]:
    """Return positions as JSON carries them, by log."""
    return {log: (at.seq, b64url_encode(at.digest)) for log, at in positions.items()}
