"""How a Redis connection is made: where the server is, and with which options of redis-py's."""

import asyncio
from typing import Any

from msgspec import structs
from redis import exceptions
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot

from rescind_subscriber.errors import SourceRefused, SourceUnavailable
from rescind_subscriber.libraries import warn_unknown
from rescind_subscriber.redis_address import Address, Place
from rescind_subscriber.redis_errors import mapped
from rescind_subscriber.redis_plain import open_plain, unknown_part
from rescind_subscriber.redis_wire import OnPush, Wire

CONNECT_TIMEOUT_S = 0.5
FIRST_ATTEMPT_S = 3.0
"""All addresses, TCP, TLS and log-in together."""


_SENTINEL_ADVICE = (
    "it wants a password of its own: give it in the address, ?sentinel_password=… (and "
    "sentinel_user=… where it has users)"
)


def _ignore(_channel: bytes, _message: bytes) -> None:
    """Do nothing with a push."""


async def open_wire(
    place: Place, *, slot_key: str, name: str = "rescind", on_push: OnPush = _ignore
) -> Wire:
    """Connect to where `slot_key` lives; raises `SourceRefused` or `SourceUnavailable`."""
    try:
        async with asyncio.timeout(FIRST_ATTEMPT_S):
            address = await _resolve(place, slot_key)
            return await _open(place, address, name, on_push)
    except TimeoutError as error:
        raise SourceUnavailable(f"Redis at {place.shown}: no connection in time") from error


async def _resolve(place: Place, slot_key: str) -> Address:
    """Return the address of the server to use: as told by the first that answers."""
    if place.kind == "server":
        return place.addresses[0]
    why: SourceUnavailable | None = None
    for address in place.addresses:
        try:
            return await _ask(place, address, slot_key)
        except SourceUnavailable as error:
            why = error
    raise why or SourceUnavailable(f"Redis at {place.shown}: no address")


async def _ask(place: Place, address: Address, slot_key: str) -> Address:
    sentinel = place.kind == "sentinel"
    # A sentinel has users of its own; ours are the servers'.
    user, password = place.sentinel_user, place.sentinel_password
    asked = structs.replace(place, user=user, password=password, db=0) if sentinel else place
    try:
        wire = await _open(asked, address, "rescind", _ignore)
    except SourceRefused as error:
        if not sentinel:
            raise
        raise SourceRefused(f"Sentinel at {address}: {_SENTINEL_ADVICE} ({error})") from error
    try:
        if sentinel:
            found = await wire.request("SENTINEL", "GET-MASTER-ADDR-BY-NAME", place.master)
            if not found:
                raise SourceRefused(f"Redis at {address}: no master {place.master!r} is watched")
            return Address(found[0].decode(), int(found[1]))
        return _owner(await wire.request("CLUSTER", "SLOTS"), key_slot(slot_key.encode()), address)
    finally:
        await wire.close()


def _owner(ranges: list[Any], slot: int, asked: Address) -> Address:
    """Return the primary of a slot from the answer to CLUSTER SLOTS."""
    for first, last, primary, *_ in ranges:
        if first <= slot <= last:
            # No host means: the one that was asked (Redis 7, CLUSTER SLOTS).
            return Address((primary[0] or b"").decode() or asked.host, primary[1])
    raise SourceUnavailable(f"Redis at {asked}: no server has slot {slot} of the cluster now")


async def _open(place: Place, address: Address, name: str, on_push: OnPush) -> Wire:
    """Return a wire; by redis-py's clients where its connections are not known."""
    part = unknown_part()
    if not part:
        return Wire(await _connect(place, address, name), f"Redis at {address}", on_push)
    warn_unknown("redis", part, "its clients are used, and events take longer")
    return await open_plain(place, address, connect_s=CONNECT_TIMEOUT_S, name=name, on_push=on_push)


async def _connect(place: Place, address: Address, name: str) -> AbstractConnection:
    """Return a connection that is logged in."""
    try:
        connection = _connection(place, address, name)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
    except (exceptions.RedisError, OSError, ValueError) as error:
        raise mapped(error, f"Redis at {address}") from error
    return connection


def _connection(place: Place, address: Address, name: str) -> AbstractConnection:
    common: dict[str, Any] = {
        "username": place.user,
        "password": place.password,
        "db": place.db,
        "protocol": 3,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": None,  # each request has a deadline of its own
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "client_name": name.replace(" ", "-"),  # Redis allows no spaces in it
        "driver_info": None,  # CLIENT SETINFO is a right the least users lack
    }
    if address.path:
        return UnixDomainSocketConnection(path=address.path, **common)
    common |= {"host": address.host, "port": address.port}
    return SSLConnection(**common | place.tls_files) if place.tls else Connection(**common)
