"""What `rescind config check` looks at where a Redis is configured."""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from rescind import compose
from rescind.config import Loaded
from rescind_protocol import subjects
from rescind_protocol.errors import RescindError

if TYPE_CHECKING:
    from rescind_subscriber.redis_address import RedisOptions

NAME = "rescind config check"


def addresses(loaded: Loaded) -> list[str]:
    """Return every address of Redis in the settings, with its secrets."""
    settings = loaded.settings
    urls = (settings.redis_url, settings.publisher_redis_url, settings.system_redis_url)
    return [url for url in urls if url]


def checks(loaded: Loaded) -> Iterator[tuple[str, Callable[[], str]]]:
    """Return what is to be looked at, each with how: a sentence, or a `RescindError`."""
    settings = loaded.settings
    looks: tuple[tuple[str, str, str | None, Callable[[str, RedisOptions], str]], ...] = (
        ("Redis as subscriber", "redis_url", settings.redis_url, _read),
        ("Redis as publisher", "publisher_redis_url", settings.publisher_redis_url, _write),
        ("Redis fsync", "system_redis_url", settings.system_redis_url, _fsync),
    )
    for what, setting, url, look in looks:
        if url:
            yield what, partial(_look, loaded, url, setting, look)


def _look(
    loaded: Loaded, url: str, setting: str, look: "Callable[[str, RedisOptions], str]"
) -> str:
    options = compose.redis_options(url, setting, name=NAME)
    assert options is not None  # noqa: S101 - the setting is not empty
    return look(loaded.settings.fabric, options)


def _read(fabric: str, options: "RedisOptions") -> str:
    from rescind_subscriber.redis_address import parse  # noqa: PLC0415 - only when used
    from rescind_subscriber.redis_connect import open_wire  # noqa: PLC0415

    async def look() -> int:
        index = subjects.redis_logs(fabric)
        wire = await open_wire(parse(options.url), slot_key=index, name=NAME)
        try:
            await wire.subscribe(subjects.redis_live(fabric), subjects.redis_heads(fabric))
            return len(await wire.request("HGETALL", index))
        finally:
            await wire.close()

    return f"{parse(options.url).shown}, {asyncio.run(look())} logs"


def _write(fabric: str, options: "RedisOptions") -> str:
    from rescind_publisher.sinks.redis import RedisSink  # noqa: PLC0415 - only when used

    async def look() -> str:
        sink = RedisSink(fabric, options)
        try:
            await sink.start()
        finally:
            await sink.stop()
        return sink.shown

    return f"{asyncio.run(look())}, its settings lose no kills"


def _fsync(fabric: str, options: "RedisOptions") -> str:
    from rescind_publisher.redis_check import Persistence, fsync_of  # noqa: PLC0415
    from rescind_subscriber.redis_address import parse  # noqa: PLC0415
    from rescind_subscriber.redis_connect import open_wire  # noqa: PLC0415

    async def look() -> Persistence:
        index = subjects.redis_logs(fabric)
        wire = await open_wire(parse(options.url), slot_key=index, name=NAME)
        try:
            return Persistence(await fsync_of(wire))
        finally:
            await wire.close()

    if caveat := asyncio.run(look()).caveat:
        raise RescindError(caveat)
    return "the server writes to disk before it acknowledges"
