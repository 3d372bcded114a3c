"""What the bundle needs of its node: the hub of signed events, and the followed state."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from rescind_subscriber.capture import Captured


class Said(Protocol):
    """A signed event, as the hub keeps it."""

    @property
    def raw(self) -> bytes:
        """The bytes that its publisher signed."""
        ...


class Window(Protocol):
    """The newest events in memory, numbered as this node came to know them."""

    @property
    def first(self) -> int:
        """The oldest number that is here."""
        ...

    @property
    def end(self) -> int:
        """The number of the next event."""
        ...

    def since(self, number: int) -> Iterator[Said]:
        """Yield the events from a number on."""
        ...


class Hub(Protocol):
    """What this module needs of `rescind_registry.feeds.hub.Hub`."""

    @property
    def window(self) -> Window:
        """The newest events."""
        ...

    @property
    def heads(self) -> Mapping[str, tuple[int, bytes]]:
        """The newest head of each publisher."""
        ...

    @property
    def heads_end(self) -> int:
        """A number that grows with each head."""
        ...

    @property
    def versions(self) -> Mapping[int, bytes]:
        """Of the trust file, by number from 2 on."""
        ...

    @property
    def epoch(self) -> int:
        """Changes when the node has come to know something otherwise than by events."""
        ...

    @property
    def behind(self) -> bool:
        """Whether something was relayed that is not taken in yet."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether the node stops: nobody is kept waiting."""
        ...

    async def changed(self) -> None:
        """Return at the next change of any kind."""


class Following(Protocol):
    """What follows the log for this node."""

    @property
    def fresh(self) -> bool:
        """Whether what it knows is proven."""
        ...

    def capture(self, *, proven: bool = True) -> Captured | None:
        """Return the state of one moment; from any thread."""
        ...
