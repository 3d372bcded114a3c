"""The state of the join as data: what a snapshot carries, and what two replicas are merged from."""

from hashlib import sha256

import msgspec

from rescind_protocol.changes import Revocation, RevocationId
from rescind_protocol.heads import Position


class Link(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event above a gap: its own digest and that of the one before it."""

    digest: bytes
    prev: bytes


class Name(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A kill named by a reinstatement, on one target."""

    id: RevocationId
    target: bytes


class Floor(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A floor and the log that set it."""

    target: bytes
    iat: int
    log: str


class Image(msgspec.Struct, frozen=True):
    """The whole state as data: what snapshots carry."""

    vector: dict[str, Position] = {}
    above: dict[str, dict[int, Link]] = {}
    named: tuple[Name, ...] = ()
    horizons: dict[str, int] = {}
    revocations: tuple[Revocation, ...] = ()
    floors: tuple[Floor, ...] = ()

    def seen(self, name: RevocationId) -> bool:
        """Whether the event that holds this id is part of the state."""
        at = self.vector.get(name.log)
        return (at is not None and name.seq <= at.seq) or name.seq in self.above.get(name.log, {})


def id_number(name: RevocationId) -> int:
    """A revocation id as a 128-bit number, for sums that do not depend on order."""
    return int.from_bytes(sha256(msgspec.msgpack.encode(name)).digest()[:16], "big")
