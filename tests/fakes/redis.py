"""Real redis-servers for tests, wires as each user, and a way to store behind the sink's back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rescind.embedded import EmbeddedRedis
from rescind.embedded.redis import USERS
from rescind_protocol import subjects
from rescind_publisher.sinks.redis import RedisSink
from rescind_subscriber.redis_address import RedisOptions, parse
from rescind_subscriber.redis_connect import open_wire
from rescind_subscriber.redis_wire import Wire

FABRIC = "test"
LOG = "a"
KEY = subjects.redis_log(FABRIC, LOG)
INDEX = subjects.redis_logs(FABRIC)
LIVE = subjects.redis_live(FABRIC)
HEADS = subjects.redis_heads(FABRIC)
QUICK = ("--appendfsync", "everysec")


def redis_server(store: Path | None = None, *options: str, **how: Any) -> EmbeddedRedis:
    """Return a server, not started, with the shipped users and an `admin` who may do all."""
    passwords = {user: f"{user}-password" for user in (*USERS, "admin")}
    admin = "user admin reset on >admin-password ~* &* +@all"
    return EmbeddedRedis(
        store, fabric=FABRIC, passwords=passwords, options=options, users=[admin], **how
    )


def options(server: EmbeddedRedis, user: str) -> RedisOptions:
    """Return the options of one of the server's users."""
    return RedisOptions(url=server.url_for(user), name=f"test {user}")


def sink_of(server: EmbeddedRedis, **changes: Any) -> RedisSink:
    """Return the publisher's sink, not started."""
    given = {"system": options(server, "system")} | changes
    return RedisSink(FABRIC, options(server, "publisher"), **given)


@asynccontextmanager
async def wired(server: EmbeddedRedis, user: str = "admin") -> AsyncIterator[Wire]:
    """Give a connection as that user."""
    wire = await open_wire(parse(server.url_for(user)), slot_key=INDEX)
    try:
        yield wire
    finally:
        await wire.close()
