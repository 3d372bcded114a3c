"""What a publisher needs of a subscriber: one truth, also of what others have killed."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from rescind_protocol.heads import Position
from rescind_protocol.table import Table
from rescind_subscriber.capture import Captured
from rescind_subscriber.known import Known

__all__ = ["Captured", "Follower", "KnowingFollower", "Known", "SnapshotFollower"]


class _Published(Protocol):
    @property
    def table(self) -> Table: ...


class _View(Protocol):
    @property
    def published(self) -> _Published: ...


class Follower(Protocol):
    """A subscriber of the same fabric; `rescind_subscriber` brings the real one.

    It is started and stopped by whoever made it.
    """

    @property
    def view(self) -> _View:
        """The view that it writes."""
        ...

    def wait_synced(self, timeout_s: float, /) -> bool:
        """Wait until the view has once been proven complete; whether it has."""
        ...


@runtime_checkable
class KnowingFollower(Follower, Protocol):
    """One that says where the others stand."""

    def known(self) -> Known | None:
        """Return positions and heads of one moment, proven or not; may block."""
        ...

    def retired(self, key: str) -> Mapping[str, Position]:
        """Return where others have a key's logs end, nothing if it was not retired; may block."""
        ...


@runtime_checkable
class SnapshotFollower(Follower, Protocol):
    """One whose state can be made into a snapshot."""

    def capture(self) -> Captured | None:
        """Return the whole state of one moment, None unless it is proven fresh; may block."""
        ...
