"""What listeners share whose transport is a link of its own, which reconnects by itself.

Its own, for it can be cut: what floods it does not reach the connection that carries kills.
"""

from typing import Protocol

from rescind_publisher.errors import SinkRefused
from rescind_publisher.listeners.base import Ears
from rescind_subscriber.errors import SourceRefused


class Link(Protocol):
    """A connection that is replaced when it is lost."""

    async def start(self) -> None:
        """Connect; raises `SourceRefused` for what will not heal."""

    async def stop(self) -> None:
        """Close."""


class LinkedListener:
    """Hands on what its link brings; runs on the loop that calls `start`."""

    _link: Link
    """Made by whoever knows the transport."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._ears: Ears | None = None

    async def start(self, ears: Ears) -> None:
        """Connect and subscribe; see `Listener.start`."""
        self._ears = ears
        try:
            await self._link.start()
        except SourceRefused as error:
            raise SinkRefused(str(error)) from error

    async def stop(self) -> None:
        """Close."""
        self._ears = None
        await self._link.stop()

    def _listening(self) -> None:
        if self._ears is not None:
            self._ears.listening()

    def _deaf(self, why: str) -> None:
        if self._ears is not None:
            self._ears.deaf(f"reports may be missed: {why}")

    def _heard(self, raw: bytes) -> None:
        if self._ears is not None:
            self._ears.heard(raw)
