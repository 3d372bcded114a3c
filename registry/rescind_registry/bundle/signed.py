"""The signed form of the bundle: a snapshot, and the events after it, as they were signed.

The node writes the snapshot by its publisher's key, if that has the right; the events it only hands
on. A reader verifies both by the trust file, as if they had come from a broker.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import msgspec

from rescind_protocol import bundles, snapshots
from rescind_protocol.image import Image
from rescind_protocol.keys import SigningKey
from rescind_registry.bundle import archive
from rescind_registry.bundle.lines import encode

MAX_TAIL = 1000
"""Events after a snapshot; a reader verifies them in a tenth of a second (95 µs each)."""
MAX_DELTA = 4096
"""Events in a delta; beyond it a snapshot is quicker to read."""


class _Window(Protocol):
    @property
    def first(self) -> int: ...

    @property
    def end(self) -> int: ...


class Author(msgspec.Struct, frozen=True):
    """In whose name a node signs what it knows."""

    key: SigningKey
    publisher: str
    fabric: str
    wall: Callable[[], float]
    """Gives unix seconds."""

    def write(self, image: Image, trust: int) -> bytes:
        """Return a signed snapshot; takes a while, raises `TooLarge`.

        `trust`: the version of the trust file by which the state came about.
        """
        body = snapshots.body_of(image)
        statement = snapshots.sign(
            body,
            key=self.key,
            publisher=self.publisher,
            fabric=self.fabric,
            trust=trust,
            at=int(self.wall()),
        )
        return b"".join((statement, b"\n", *body.parts))


class Base(msgspec.Struct, frozen=True):
    """A snapshot; the window's events from `number` on are not all in it."""

    number: int
    epoch: int
    member: bytes


def goes_on(window: _Window, number: int) -> bool:
    """Whether a snapshot taken at `number` is still worth handing out."""
    return window.first <= number and window.end - number <= MAX_TAIL


def fits(window: _Window, number: int) -> bool:
    """Whether the events from `number` on are here, and few enough for a delta."""
    return window.first <= number and window.end - number <= MAX_DELTA


def pack(revision: str, snapshot: bytes, events: Iterable[bytes]) -> bytes:
    """Return the archive; without a snapshot it is a delta."""
    members = dict(_members(revision, snapshot, events))
    return archive.pack(members)


def _members(
    revision: str, snapshot: bytes, events: Iterable[bytes]
) -> Iterator[tuple[str, bytes]]:
    yield bundles.MANIFEST, encode({"revision": revision})
    yield bundles.EVENTS, bundles.join_events(events)
    if snapshot:
        yield bundles.SNAPSHOT, snapshot
