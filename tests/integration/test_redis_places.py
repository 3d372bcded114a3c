"""Redis in its other places: behind Sentinel, in a cluster, behind TLS, on a Unix socket."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rescind.embedded import EmbeddedRedis
from rescind.embedded.process import bound, end, spawn
from rescind.embedded.redis import find_redis, free_port
from rescind_protocol import subjects
from rescind_publisher.sinks.base import Record
from rescind_publisher.sinks.redis import RedisSink
from rescind_publisher.switch import KillSwitch
from rescind_subscriber.errors import SourceRefused, SourceUnavailable
from rescind_subscriber.redis_address import RedisOptions, parse
from rescind_subscriber.redis_connect import open_wire
from rescind_subscriber.sources.redis import RedisSource
from rescind_subscriber.subscriber import Subscriber
from tests.fakes.fabric import make_trust
from tests.fakes.nats import RecordingFeed
from tests.fakes.publishing import publisher, target
from tests.fakes.redis import FABRIC, INDEX, LOG, redis_server, wired
from tests.fakes.waiting import WITHIN_S, until


def url(where: str, user: str, *, scheme: str = "redis", tail: str = "") -> RedisOptions:
    """Return options of one of the test servers' users."""
    return RedisOptions(url=f"{scheme}://{user}:{user}-password@{where}{tail}")


@asynccontextmanager
async def ends(
    feed: RecordingFeed, to: Callable[[str], RedisOptions]
) -> AsyncIterator[tuple[RedisSink, RedisSource]]:
    """Give a started sink and a started source."""
    sink, source = RedisSink(FABRIC, to("publisher")), RedisSource(FABRIC, to("subscriber"))
    await sink.start()
    await source.start(feed)
    try:
        yield sink, source
    finally:
        await source.stop()
        await sink.stop()


async def works(sink: RedisSink, source: RedisSource, feed: RecordingFeed) -> None:
    """Store one event, hear it live, and read it."""
    raw = b"event one"
    stored = await sink.append(Record(LOG, 1, raw))
    assert await sink.read_back(stored) == raw
    await until(lambda: raw in feed.events, WITHIN_S)
    assert raw in [event async for batch in source.read(None) for event in batch.events]


# --- Sentinel ---


@contextmanager
def sentinel(folder: Path, master: EmbeddedRedis) -> Iterator[int]:
    """Run a sentinel that watches `main`; gives its port."""
    port = free_port()
    config = folder / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\nprotected-mode no\n"
        f"sentinel monitor main 127.0.0.1 {master.port} 1\n"
        "sentinel auth-user main admin\nsentinel auth-pass main admin-password\n"
        "sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 3000\n"
    )
    with (folder / "sentinel.log").open("w+b") as log:
        words = [str(find_redis()), str(config), "--sentinel"]
        process = spawn(bound(*words), os.environ, log)
        try:
            yield port
        finally:
            end(process)


@contextmanager
def replica_of(master: EmbeddedRedis) -> Iterator[EmbeddedRedis]:
    """Run a replica."""
    follow = ("--replicaof", "127.0.0.1", str(master.port))
    login = ("--masteruser", "admin", "--masterauth", "admin-password")
    with redis_server(None, *follow, *login) as server:
        yield server


REPLICAS = ("SENTINEL", "REPLICAS", "main")
MASTER = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")


def dead(subscriber: Subscriber, *numbers: int) -> bool:
    """Whether the view denies all of these targets."""
    table = subscriber.view.published.table
    return all(table.get(target(number).digest) is not None for number in numbers)


async def asked(port: int, *words: str) -> object:
    """Ask a sentinel."""
    wire = await open_wire(parse(f"redis://127.0.0.1:{port}"), slot_key=INDEX)
    try:
        return await wire.request(*words)
    finally:
        await wire.close()


async def answers(port: int, accept: Callable[[object], bool], *words: str) -> None:
    """Return when a sentinel or server gives the answer that is wanted."""
    while True:
        with contextlib.suppress(SourceUnavailable, SourceRefused):
            if accept(await asked(port, *words)):
                return
        await asyncio.sleep(0.01)


async def test_sentinel_and_a_failover(tmp_path: Path) -> None:
    """Sink and source find the master by its name; a kill that the old one took alone is not lost.

    During a failover the old master still acknowledges what the new one will never have. The
    publisher finds that out, and sends it again.
    """
    login = ("--masteruser", "admin", "--masterauth", "admin-password")
    with (
        redis_server(None, *login) as master,
        replica_of(master) as replica,
        sentinel(tmp_path, master) as port,
    ):
        where = f"127.0.0.1:{port}"

        def to(user: str) -> RedisOptions:
            return url(where, user, scheme="redis+sentinel", tail="/main")

        async with asyncio.timeout(WITHIN_S):
            await answers(port, lambda found: b"slave" in str(found).encode(), *REPLICAS)
        with publisher(tmp_path, RedisSink(FABRIC, to("publisher"))) as engine:
            switch = KillSwitch(engine)
            receipt = await asyncio.to_thread(switch.kill, target(0), timeout_s=WITHIN_S)
            assert receipt.durable == ("redis",), receipt
            async with asyncio.timeout(WITHIN_S):
                failover = ("SENTINEL", "FAILOVER", "main")  # once it knows the replica to be well
                await answers(port, lambda found: found == b"OK", *failover)
                for number in range(1, 200):
                    await asyncio.to_thread(switch.kill, target(number), timeout_s=0)
                want = [b"127.0.0.1", str(replica.port).encode()]
                await answers(port, lambda found: found == want, *MASTER)
            source = to("subscriber")
            with Subscriber(make_trust(), lambda: [RedisSource(FABRIC, source)]) as late:
                await until(lambda: dead(late, *range(200)), WITHIN_S)
            await until(lambda: engine.status().sinks[0].pending == 0, WITHIN_S)
        async with wired(replica) as wire:
            log = next(iter(await wire.request("HGETALL", INDEX))).decode()
            assert await wire.request("XLEN", subjects.redis_log(FABRIC, log)) == 200


async def test_an_unknown_master_is_refused(tmp_path: Path, feed: RecordingFeed) -> None:
    """A master's name that no sentinel watches is a mistake, not weather."""
    with redis_server() as master, sentinel(tmp_path, master) as port:
        options = url(f"127.0.0.1:{port}", "subscriber", scheme="redis+sentinel", tail="/other")
        await answers(port, lambda found: found == b"PONG", "PING")
        with pytest.raises(SourceRefused, match="no master 'other' is watched"):
            await RedisSource(FABRIC, options).start(feed)


# --- cluster ---


async def test_a_cluster(feed: RecordingFeed) -> None:
    """Asked for one node, sink and source go to the one that has the fabric's slot."""

    def node() -> EmbeddedRedis:
        bus = ("--cluster-port", str(free_port()))
        return redis_server(None, "--cluster-enabled", "yes", *bus)

    with node() as first, node() as second:
        async with wired(first) as one, wired(second) as two:
            await one.request("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
            await two.request("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
            bus = second._options[-1]
            await one.request("CLUSTER", "MEET", "127.0.0.1", second.port, bus)
            for wire in (one, two):
                while b"cluster_state:ok" not in await wire.request("CLUSTER", "INFO"):
                    pass
            for seed in (first, second):
                where = f"127.0.0.1:{seed.port}"

                def to(user: str, where: str = where) -> RedisOptions:
                    return url(where, user, scheme="redis+cluster")

                async with ends(feed, to) as (sink, source):
                    await works(sink, source, feed)
            held = [await wire.request("DBSIZE") for wire in (one, two)]
            assert sorted(held) == [0, 2]


# --- TLS and Unix sockets ---


def certificate(folder: Path) -> Path:
    """Write a key and a certificate of 127.0.0.1 that signs itself; return the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "redis")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "redis.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    path = folder / "redis.crt"
    path.write_bytes(made.public_bytes(pem))
    return path


async def test_tls(tmp_path: Path, feed: RecordingFeed) -> None:
    """A trusted certificate of that host is needed: neither an unknown one nor another's passes."""
    ca = certificate(tmp_path)
    port = free_port()
    files = ("--tls-cert-file", str(ca), "--tls-key-file", str(tmp_path / "redis.key"))
    trust = ("--tls-ca-cert-file", str(ca), "--tls-auth-clients", "no")
    both = ("--bind", "127.0.0.1", "127.0.0.2")  # the certificate is for the first
    with redis_server(None, "--tls-port", str(port), *files, *trust, *both):

        def to(
            user: str, host: str = "127.0.0.1", tail: str = f"?ssl_ca_certs={ca}"
        ) -> RedisOptions:
            return url(f"{host}:{port}", user, scheme="rediss", tail=tail)

        async with ends(feed, to) as (sink, source):
            await works(sink, source, feed)
        for bad in (
            to("subscriber", tail=""),
            to("subscriber", host="127.0.0.2"),
            to("subscriber", tail="?ssl_ca_certs=/nowhere.pem"),
        ):
            with pytest.raises(SourceRefused):
                await RedisSource(FABRIC, bad).start(feed)


async def test_a_unix_socket(feed: RecordingFeed) -> None:
    """A socket's path is an address like others."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/redis.sock"
        with redis_server(None, "--unixsocket", path):
            async with ends(feed, lambda user: url(path, user, scheme="unix")) as (sink, source):
                await works(sink, source, feed)
