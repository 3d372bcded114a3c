"""A library of a version that the code does not know stops nobody: its public interface serves."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from redis.asyncio.connection import AbstractConnection
from uvicorn.protocols.http.h11_impl import H11Protocol

from rescind.embedded import EmbeddedRedis, EmbeddedServer
from rescind_publisher.sinks.base import Sink
from rescind_publisher.sinks.nats import NatsSink
from rescind_publisher.switch import KillSwitch
from rescind_registry import patience
from rescind_subscriber import libraries, nats_connect, redis_plain
from rescind_subscriber.errors import SourceRefused
from rescind_subscriber.nats_link import NatsOptions
from rescind_subscriber.nats_plain import PlainClient, header_block
from rescind_subscriber.sources.base import Source
from rescind_subscriber.sources.nats import NatsSource
from rescind_subscriber.sources.redis import RedisSource
from rescind_subscriber.subscriber import Subscriber
from tests.fakes import redis as fakes
from tests.fakes.fabric import FABRIC, make_trust
from tests.fakes.nats import Watched, options
from tests.fakes.publishing import publisher, target
from tests.fakes.waiting import wait_until

UNKNOWN = "rescind_library_unknown"


def renamed(owner: type, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a private method take one parameter more, as it might in a version to come."""
    was = getattr(owner, name)

    def otherwise(self: Any, *given: Any, of_tomorrow: object = None, **named: Any) -> Any:
        del of_tomorrow
        return was(self, *given, **named)

    monkeypatch.setattr(owner, name, otherwise)


@pytest.fixture(autouse=True)
def nothing_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin as a process does."""
    monkeypatch.setattr(libraries, "_unknown", {})


def kill_over(
    sink: Sink, source: Callable[[], Source], folder: Path, library: str
) -> tuple[Any, dict[str, float]]:
    """Kill a target by a publisher; return the client in use and what the metric says."""
    with (
        KillSwitch(publisher(folder, sink)) as switch,
        Subscriber(make_trust(), lambda: [source()]) as subscriber,
    ):
        subscriber.wait_fresh(15)
        assert switch.kill(target(), timeout_s=15).durable
        wait_until(lambda: subscriber.view.published.table.get(target().digest) is not None)
        link: Any = sink
        shown = {each.metric.name: each.values for each in subscriber.metrics()}
        assert shown[UNKNOWN].keys() == set(libraries.NAMES)
        assert shown[UNKNOWN][library] in (0.0, 1.0)
        return link._link, dict(shown[UNKNOWN])


def over_nats(nats: EmbeddedServer, folder: Path) -> tuple[Any, dict[str, float]]:
    """Kill over a real nats-server."""
    sink = NatsSink(FABRIC, options(nats, "publisher"))
    source = options(nats, "subscriber")
    return kill_over(sink, lambda: NatsSource(FABRIC, source), folder, "nats-py")


def over_redis(redis: EmbeddedRedis, folder: Path) -> tuple[Any, dict[str, float]]:
    """Kill over a real redis-server."""
    source = fakes.options(redis, "subscriber")
    return kill_over(fakes.sink_of(redis), lambda: RedisSource(FABRIC, source), folder, "redis")


def test_a_kill_goes_through_with_a_nats_py_of_tomorrow(
    nats: EmbeddedServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """All start, the kill arrives, a warning is logged and a metric shows it."""
    renamed(Client, "_process_msg", monkeypatch)
    _, shown = over_nats(nats, tmp_path)
    assert shown == {"nats-py": 1.0, "redis": 0.0, "uvicorn": 0.0}
    warned = [each for each in caplog.messages if "this version of nats-py" in each]
    assert len(warned) == 1
    assert "Client._process_msg" in warned[0]


def test_control_a_known_nats_py_is_not_warned_of(
    nats: EmbeddedServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Negative control: with the version of the lock the metric is 0, and nothing is logged."""
    _, shown = over_nats(nats, tmp_path)
    assert shown == dict.fromkeys(libraries.NAMES, 0.0)
    assert not [each for each in caplog.messages if "this version of" in each]


def test_a_kill_goes_through_with_a_redis_of_tomorrow(
    redis: EmbeddedRedis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The same over Redis, by its clients instead of its connections."""
    was = AbstractConnection.read_response

    async def otherwise(self: Any, *given: Any, **named: Any) -> Any:
        return await was(self, *given, **named)

    monkeypatch.setattr(AbstractConnection, "read_response", otherwise)
    assert redis_plain.unknown_part() == "AbstractConnection.read_response"
    _, shown = over_redis(redis, tmp_path)
    assert shown == {"nats-py": 0.0, "redis": 1.0, "uvicorn": 0.0}
    assert any("this version of redis" in each for each in caplog.messages)


def test_a_registry_serves_with_a_uvicorn_of_tomorrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own protocol serves where the one that is extended is not known."""
    assert patience.http_protocol() is patience.Patience
    renamed(H11Protocol, "data_received", monkeypatch)
    assert patience.http_protocol() == "h11"
    assert libraries.unknown()["uvicorn"] == 1.0


async def test_no_password_goes_out_before_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where TLS was asked for and the server offers none, CONNECT is never sent."""
    monkeypatch.setattr(nats_connect, "unknown_part", lambda: "all of it")
    got = b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        writer.write(b'INFO {"server_id": "X", "version": "2.11.0", "auth_required": true}\r\n')
        got += await reader.read(4096)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        for secret in ("user:s3cret", "t0ken"):
            watched = Watched(
                NatsOptions(url=f"tls://{secret}@127.0.0.1:{port}", inbox_prefix="_INBOX_sub")
            )
            with pytest.raises(SourceRefused, match="offers no TLS"):
                await watched.link.start()
    assert b"CONNECT" not in got


async def test_control_without_the_look_at_tls_the_password_goes_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: the library alone follows the server, and says the password in clear."""
    monkeypatch.setattr(PlainClient, "_check_tls", lambda _: None)
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id": "X", "version": "2.11.0", "auth_required": true}\r\n')
        got.set_result(await reader.read(4096))
        writer.close()

    async def ignore(_: Exception) -> None:
        pass

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = NatsOptions(url=f"tls://user:s3cret@127.0.0.1:{port}", inbox_prefix="_INBOX_sub")
        client = PlainClient(tls_required=True)
        await client.connect(error_cb=ignore, **url.connect_arguments())
        assert b"s3cret" in await got
        await client.close()


@pytest.mark.parametrize(
    "block",
    [
        b"NATS/1.0\r\nNats-Sequence: 7\r\nNats-Num-Pending: 0\r\n\r\n",
        b"NATS/1.0 404 Message Not Found\r\n\r\n",
        b"NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\n\r\n",
        b"",
    ],
)
async def test_headers_are_what_the_server_wrote(block: bytes) -> None:
    """Put together again from what the library parsed, for readers of the raw block."""
    assert header_block(await Client()._process_headers(block)) == block
