"""The state of the join as data: what a snapshot carries, and what two replicas are merged from."""

from hashlib import sha256
from typing import Annotated

import msgspec
from msgspec import Meta

from rescind_protocol.changes import Kid, LogId, Revocation, RevocationId, Seconds, Seq, Sha256
from rescind_protocol.positions import Position
from rescind_protocol.targets import DIGEST_BYTES

TargetDigest = Annotated[bytes, Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]


class Link(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event above a gap: its own digest and that of the one before it."""

    digest: Sha256
    prev: Sha256


class Name(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A kill named by a reinstatement, on one target."""

    id: RevocationId
    target: TargetDigest


class Floor(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A floor and the log that set it."""

    target: TargetDigest
    iat: Seconds
    log: LogId


class Image(msgspec.Struct, frozen=True):
    """The whole state as data: what snapshots carry."""

    vector: dict[LogId, Position] = {}
    above: dict[LogId, dict[Seq, Link]] = {}
    named: tuple[Name, ...] = ()
    horizons: dict[LogId, Seconds] = {}
    revocations: tuple[Revocation, ...] = ()
    floors: tuple[Floor, ...] = ()
    forked: tuple[LogId, ...] = ()
    """Logs with two events of one number: never covered again."""
    retired: dict[Kid, dict[LogId, Position]] = {}
    """Keys whose publisher is gone, with the last event of each log that counts."""

    def seen(self, name: RevocationId) -> bool:
        """Whether the event that holds this id is part of the state."""
        at = self.vector.get(name.log)
        return (at is not None and name.seq <= at.seq) or name.seq in self.above.get(name.log, {})

    def within(self, log: str, cut: Position) -> bool:
        """Whether nothing of `log` in here is beyond a cut, as far as numbers and digests show."""
        if log in self.forked or any(seq > cut.seq for seq in self.above.get(log, ())):
            return False
        at, link = self.vector.get(log), self.above.get(log, {}).get(cut.seq)
        if link is not None and link.digest != cut.digest:
            return False
        return at is None or at.seq < cut.seq or at == cut


def id_number(name: RevocationId) -> int:
    """A revocation id as a 128-bit number, for sums that do not depend on order."""
    return int.from_bytes(sha256(msgspec.msgpack.encode(name)).digest()[:16], "big")
