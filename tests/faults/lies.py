"""What a hostile broker does to messages, whatever the protocol that frames them.

It can hide, drop, double, reorder and replay, flip bits, and acknowledge what it does not store; it
cannot sign. A `Lies` object is shared by all connections of a way and is changed while they run;
each connection has a `Liar`, which remembers what passed there.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

import msgspec

REMEMBERED = 200
"""Old messages of each kind that a connection can replay."""


class Kind(StrEnum):
    """What a message is to the fabric."""

    EVENT = "event"
    HEAD = "head"
    STORED = "stored"
    """A stored event, answered to a reader."""
    OTHER = "other"


class Frame(msgspec.Struct, frozen=True):
    """One message as it travels, and where its payload lies in it."""

    raw: bytes
    kind: Kind = Kind.OTHER
    start: int = 0
    end: int = 0


@dataclass
class Lies:
    """What is done to the messages of a way now; shares are between 0 and 1."""

    random: Random = field(default_factory=lambda: Random(0))  # noqa: S311 - keeps no secret
    drop: float = 0.0
    """Of the live events."""
    hide: bool = False
    """No event passes, neither live nor stored: only heads do."""
    double: float = 0.0
    reorder: float = 0.0
    """An event held back until the next one has passed."""
    replay: float = 0.0
    """After an event, an old one again."""
    old_heads: bool = False
    """In each head's place, the first one that this connection has heard."""
    heads_late: int = 0
    """Each head is told when so many newer ones have come."""
    no_heads: bool = False
    flip: float = 0.0
    """One bit of an event's payload, on its way to a subscriber."""
    flip_stored: float = 0.0
    """The same on its way to the store."""
    forge_acks: bool = False
    """What is to be stored is thrown away, and acknowledged."""
    told: int = 0
    """How often anything of this was done: a lie that was never told tests nothing."""

    def truth(self) -> None:
        """Be honest from now on."""
        self.drop = self.double = self.reorder = self.replay = self.flip = self.flip_stored = 0.0
        self.heads_late = 0
        self.hide = self.old_heads = self.no_heads = self.forge_acks = False

    def happens(self, share: float) -> bool:
        """Whether a lie of this share is told now."""
        told = share > 0 and self.random.random() < share
        self.told += told
        return told

    def flipped(self, frame: Frame) -> bytes:
        """Return the frame with one bit of its payload changed."""
        at = self.random.randrange(frame.start, frame.end)
        raw = bytearray(frame.raw)
        raw[at] ^= 1 << self.random.randrange(8)
        return bytes(raw)


class Liar:
    """Lies to the client of one connection."""

    def __init__(self, lies: Lies) -> None:
        self._lies = lies
        self._events: list[bytes] = []
        self._heads: list[bytes] = []
        self._held: list[bytes] = []
        self._late: deque[bytes] = deque()

    def tell(self, frame: Frame) -> Iterable[bytes]:
        """Return what the client gets in place of a message."""
        match frame.kind:
            case Kind.EVENT:
                return self._event(frame)
            case Kind.HEAD:
                return self._head(frame)
            case Kind.STORED:
                return self._stored(frame)
            case Kind.OTHER:
                return [frame.raw]

    def _event(self, frame: Frame) -> list[bytes]:
        lies, raw = self._lies, frame.raw
        self._remember(self._events, raw)
        if lies.hide or lies.happens(lies.drop):
            lies.told += lies.hide
            return []
        if lies.happens(lies.flip):
            raw = lies.flipped(frame)
        if lies.happens(lies.reorder):
            self._held.append(raw)
            return []
        passed, self._held = [raw, *self._held], []
        if lies.happens(lies.double):
            passed.append(raw)
        if lies.happens(lies.replay):
            passed.append(lies.random.choice(self._events))
        return passed

    def _head(self, frame: Frame) -> list[bytes]:
        lies = self._lies
        self._remember(self._heads, frame.raw)
        if lies.no_heads:
            lies.told += 1
            return []
        if lies.old_heads:
            lies.told += 1
            return [self._heads[0]]
        self._late.append(frame.raw)
        if lies.heads_late:
            lies.told += 1
            return [self._late.popleft()] if len(self._late) > lies.heads_late else []
        passed = list(self._late)
        self._late.clear()
        return passed

    def _stored(self, frame: Frame) -> list[bytes]:
        lies = self._lies
        if lies.hide:
            lies.told += 1
            return []
        return [lies.flipped(frame) if lies.happens(lies.flip) else frame.raw]

    @staticmethod
    def _remember(old: list[bytes], raw: bytes) -> None:
        if len(old) < REMEMBERED:
            old.append(raw)
