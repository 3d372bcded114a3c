"""`RedisListener`: reports by Pub/Sub, on a connection of its own, which can be cut."""

from rescind_protocol import subjects
from rescind_publisher.errors import SinkRefused
from rescind_publisher.listeners.base import Ears
from rescind_subscriber.errors import SourceRefused
from rescind_subscriber.redis_address import RedisOptions
from rescind_subscriber.redis_link import RedisLink
from rescind_subscriber.redis_wire import Wire


class RedisListener:
    """The reports of one fabric on one Redis; runs on the loop that calls `start`."""

    def __init__(self, fabric: str, options: RedisOptions, *, name: str = "redis") -> None:
        self.name = name
        self._channel = subjects.redis_reports(fabric)
        self._ears: Ears | None = None
        self._link = RedisLink(
            options,
            slot_key=subjects.redis_logs(fabric),
            on_up=self._up,
            on_down=self._deaf,
            on_push=self._pushed,
        )

    def __repr__(self) -> str:
        return f"<RedisListener {self.name} {self._link.place.shown}>"

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

    async def _up(self, wire: Wire) -> None:
        await wire.subscribe(self._channel)
        if self._ears is not None:
            self._ears.listening()

    def _deaf(self, why: str) -> None:
        if self._ears is not None:
            self._ears.deaf(f"reports may be missed: {why}")

    def _pushed(self, _channel: bytes, message: bytes) -> None:
        if self._ears is not None:
            self._ears.heard(message)
