"""What a source of events is, and what it tells: the types between transport and reconcile.

A source hands over bytes: it neither reads nor verifies an event. It may lose, repeat, reorder and
withhold; numbers, digests and heads inside the signed bytes show that to the reader (I6).
"""

from collections.abc import AsyncIterator
from typing import Protocol, runtime_checkable

import msgspec


class Cursor(msgspec.Struct, frozen=True):
    """A position in one source, proven by what lies there."""

    position: str
    """The source's own notation: "1834" is a NATS stream sequence."""
    digest: bytes
    """SHA-256 of the bytes at that position."""


class Batch(msgspec.Struct, frozen=True):
    """Stored events in order, and the cursor of the last one."""

    events: list[bytes]
    cursor: Cursor


class Listed(msgspec.Struct, frozen=True):
    """A snapshot that a store says it holds; nothing of it is verified yet."""

    place: str
    """The store's own notation for where it lies: "<writer>.<slot>"."""
    manifest: bytes
    """The signed statement of `rescind_protocol.snapshots`."""


class Feed(Protocol):
    """What a source calls: plain functions, on its event loop, that never block or raise."""

    def heard(self, source: str, raw: bytes, /) -> None:
        """Take a live event."""

    def heard_head(self, source: str, raw: bytes, /) -> None:
        """Take a publisher's head."""

    def linked(self, source: str) -> None:
        """Know that the source is (again) connected and subscribed: a catch-up is due."""

    def unlinked(self, source: str, why: str) -> None:
        """Know that live events may be missed from now on; `why` is a sentence."""

    def spread_s(self) -> float:
        """Return over how many seconds the fleet spreads its connections to a lost server."""
        ...


class Source(Protocol):
    """One transport's stream of events."""

    name: str

    async def start(self, feed: Feed) -> None:
        """Subscribe live and keep reconnecting for ever; weather is told by `unlinked`.

        Raises `SourceRefused` for what will not heal by itself.
        """

    def read(self, after: Cursor | None) -> AsyncIterator[Batch]:
        """Yield the stored events behind the cursor, in order, up to the mark; None: all of them.

        Raises `Rewound` if the bytes at the cursor differ or are gone, `SourceUnavailable`.
        """
        ...

    async def stop(self) -> None:
        """Close the connection; nothing is called on the feed afterwards."""


@runtime_checkable
class SnapshotStore(Protocol):
    """What a source can be besides: a store of snapshots. Optional; a reader asks by `isinstance`.

    The cursor in a snapshot's statement is one of this very store.
    """

    async def list_snapshots(self) -> list[Listed]:
        """Return what lies there, the newest written last; raises `SourceUnavailable`."""
        ...

    async def read_snapshot(self, place: str, size: int) -> list[bytes]:
        """Return the parts at a place, in any order; others may be among them, or some be missing.

        `size` is that of the whole body, in bytes: not much more is read. Raises
        `SourceUnavailable`.
        """
        ...


@runtime_checkable
class Reporter(Protocol):
    """A source that can also carry a subscriber's reports; one that cannot is a source still."""

    async def report(self, subscriber: str, raw: bytes, /) -> None:
        """Send one report to whoever listens now; it is not stored. Raises `SourceUnavailable`."""
