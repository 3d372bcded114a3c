"""`NatsListener`: reports by one plain subscription, on a connection of its own.

Its own, for it can be cut: what floods it does not reach the connection that carries kills.
"""

from rescind_protocol import subjects
from rescind_publisher.errors import SinkRefused
from rescind_publisher.listeners.base import Ears
from rescind_subscriber.errors import SourceRefused
from rescind_subscriber.nats_link import Link, NatsOptions


class NatsListener:
    """The reports of one fabric on one NATS system; runs on the loop that calls `start`."""

    def __init__(self, fabric: str, options: NatsOptions, *, name: str = "nats") -> None:
        self.name = name
        self._subject = subjects.reports(fabric)
        self._ears: Ears | None = None
        self._problem = ""
        self._link = Link(
            options, on_up=self._up, on_down=self._deaf, on_problem=self._noticed_problem
        )

    def __repr__(self) -> str:
        return f"<NatsListener {self.name} {self._link.options.shown}>"

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

    async def _up(self) -> None:
        self._problem = ""
        await self._link.listen(self._subject, self._heard)
        await self._link.flush()
        if self._problem:  # said before the flush was answered: we would be deaf
            raise SourceRefused(self._problem)
        if self._ears is not None:
            self._ears.listening()

    def _deaf(self, why: str) -> None:
        if self._ears is not None:
            self._ears.deaf(f"reports may be missed: {why}")

    def _noticed_problem(self, why: str) -> None:
        self._problem = why

    def _heard(self, _subject: str, raw: bytes, _headers: bytes) -> None:
        if self._ears is not None:
            self._ears.heard(raw)
