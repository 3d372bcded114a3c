"""`RedisListener`: reports by Pub/Sub, on a connection of its own."""

from rescind_protocol import subjects
from rescind_publisher.listeners.linked import LinkedListener
from rescind_subscriber.redis_address import RedisOptions
from rescind_subscriber.redis_link import RedisLink
from rescind_subscriber.redis_wire import Wire


class RedisListener(LinkedListener):
    """The reports of one fabric on one Redis."""

    def __init__(self, fabric: str, options: RedisOptions, *, name: str = "redis") -> None:
        super().__init__(name)
        self._channel = subjects.redis_reports(fabric)
        self._link: RedisLink = RedisLink(
            options,
            slot_key=subjects.redis_logs(fabric),
            on_up=self._up,
            on_down=self._deaf,
            on_push=lambda _channel, message: self._heard(message),
        )

    def __repr__(self) -> str:
        return f"<RedisListener {self.name} {self._link.place.shown}>"

    async def _up(self, wire: Wire) -> None:
        await wire.subscribe(self._channel)
        self._listening()
