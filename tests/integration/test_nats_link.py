"""The link: what it refuses, what it never reveals, what it survives."""

import asyncio
import datetime as dt
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from nats.aio.client import Client

from rescind.embedded import EmbeddedServer
from rescind_subscriber import nats_client, nats_link
from rescind_subscriber.errors import SourceRefused, SourceUnavailable
from rescind_subscriber.nats_link import NatsOptions
from rescind_subscriber.pace import Redial
from tests.fakes.nats import Watched, admin_server, linked, options
from tests.fakes.waiting import WITHIN_S, until

INFO = {"server_id": "X", "version": "2.11.0", "headers": True, "max_payload": 1048576}


class FakeServer:
    """A TCP server that says INFO and PONG, then `after`; it keeps what clients sent."""

    def __init__(self, info: dict[str, Any], after: bytes = b"") -> None:
        self.hello = b"INFO " + json.dumps(info).encode() + b"\r\n"
        self.after = after
        self.got = b""
        self.url = ""
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk to one client."""
        self.writers.append(writer)
        writer.write(self.hello)
        while line := await reader.readline():
            self.got += line
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n" + self.after)


@asynccontextmanager
async def fake(info: dict[str, Any], after: bytes = b"") -> AsyncIterator[FakeServer]:
    """Give a running fake server."""
    talker = FakeServer(INFO | info, after)
    server = await asyncio.start_server(talker.serve, "127.0.0.1", 0)
    talker.url = f"nats://user:secret@127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield talker
    finally:
        server.close()
        for writer in talker.writers:
            writer.transport.abort()
        await server.wait_closed()


def watched(url: str, **changes: Any) -> Watched:
    """Return a link to that address, not started."""
    return Watched(NatsOptions(url=url, inbox_prefix="_INBOX_sub", **changes))


async def test_too_old_is_refused() -> None:
    """A server before 2.11 is refused with its version and the one needed."""
    async with fake({"version": "2.9.10"}) as server:
        with pytest.raises(SourceRefused, match=r"version 2.9.10: 2.11 or newer is needed"):
            await watched(server.url).link.start()


async def test_password_is_not_sent_in_clear_where_tls_is_wanted() -> None:
    """A server that offers no TLS gets no CONNECT, hence no password, from a `tls://` address."""
    async with fake({}) as server:
        with pytest.raises(SourceRefused, match="offers no TLS"):
            await watched(server.url.replace("nats://", "tls://")).link.start()
        assert b"secret" not in server.got
        control = watched(server.url)
        await control.link.start()
        assert b"secret" in server.got
        await control.link.stop()


async def test_not_a_nats_server_is_weather() -> None:
    """Something else on the port is told in a sentence; the link goes on trying."""

    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(web, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link = watched(f"nats://127.0.0.1:{port}")
    await link.link.start()
    assert "cannot be reached" in link.told[0]
    await link.link.stop()
    server.close()


async def test_an_endless_message_cuts_the_link() -> None:
    """A server that announces a gigabyte does not get the memory for it."""
    flood = b"MSG x 1 1000000000\r\n" + bytes(3 * 1024 * 1024)
    async with fake({}, flood) as server:
        link = watched(server.url)
        await link.link.start()
        await until(lambda: any("beyond every limit" in told for told in link.told))
        await link.link.stop()


@pytest.mark.parametrize("url", ["", "nats://127.0.0.1:port", "nats://"])
async def test_an_unusable_address_is_refused(url: str) -> None:
    """An address that no server can have is refused, not tried for ever."""
    with pytest.raises(SourceRefused):
        await watched(url).link.start()


async def test_missing_key_file_is_refused(nats: EmbeddedServer, tmp_path: Path) -> None:
    """A creds or nkey file that is not there is refused."""
    for which in ("creds_file", "nkey_file"):
        with pytest.raises(SourceRefused):
            await watched(nats.url, **{which: tmp_path / "none"}).link.start()


async def test_anonymous_is_refused(nats: EmbeddedServer) -> None:
    """Nobody connects without credentials, nor with those of another user."""
    for url in (nats.url, nats.url.replace("//", "//token@")):
        with pytest.raises(SourceRefused, match="refused our credentials"):
            await watched(url).link.start()


async def test_a_flush_follows_what_was_sent_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """After `flush` the server has the subscription; control: the library's own PING overtakes."""

    async def sent() -> list[bytes]:
        async with fake({}) as server:
            link = watched(server.url)
            await link.link.start()
            await link.link.listen("subject", lambda *_: None)
            await link.link.flush()
            lines = server.got.splitlines()
            await link.link.stop()
            return [line[:8] for line in lines[-2:]]

    assert await sent() == [b"SUB subj", b"PING"]
    monkeypatch.setattr(nats_client.LeanClient, "_send_ping", Client._send_ping)
    monkeypatch.setattr(nats_client.LeanClient, "_flush_pending", Client._flush_pending)
    assert await sent() != [b"SUB subj", b"PING"]


async def test_subscriptions_of_a_new_connection_are_one_write(
    monkeypatch: pytest.MonkeyPatch, nats: EmbeddedServer
) -> None:
    """With the PING behind them; in a reconnect storm the server has so many fewer to read."""
    written: list[bytes] = []
    write = asyncio.StreamWriter.writelines

    def noted(self: asyncio.StreamWriter, data: Iterable[bytes]) -> None:
        data = list(data)
        written.append(b"".join(data))
        write(self, data)

    monkeypatch.setattr(asyncio.StreamWriter, "writelines", noted)

    async def up() -> None:
        await link.listen("rescind.test.log.*", lambda *_: None)
        await link.listen("rescind.test.head.*", lambda *_: None)
        await link.flush()

    problems: list[str] = []
    link = nats_link.Link(
        options(nats, "subscriber"), on_up=up, on_down=problems.append, on_problem=problems.append
    )
    await link.start()
    await link.stop()
    (sent,) = (each for each in written if b"SUB " in each)
    assert [line.split()[0] for line in sent.splitlines()] == [b"SUB", b"SUB", b"SUB", b"PING"]
    assert not [why for why in problems if "permission" in why.lower()]


async def test_what_nothing_is_sent_behind_goes_out_all_the_same() -> None:
    """The inbox of a link that only waits, and what it listens to later."""
    async with fake({}) as server:
        link = watched(server.url)
        await link.link.start()
        await until(lambda: b"SUB _INBOX_sub." in server.got)
        await link.link.listen("later", lambda *_: None)
        await until(lambda: b"SUB later" in server.got)
        assert server.got.count(b"PING") == 1  # of the log-in
        await link.link.stop()


async def test_a_request_on_a_new_connection_is_written_at_once(nats: EmbeddedServer) -> None:
    """A kill waits for nothing that is still to be sent."""
    async with linked(nats, "publisher") as at:
        armed = at.link.arm("rescind.test.log.a", lambda _: True)
        assert armed is not None
        assert at.link.fire(armed, b"NATS/1.0\r\n\r\n", b"{}")


async def test_what_was_armed_on_a_lost_connection_is_neither_sent_nor_awaited(
    nats: EmbeddedServer,
) -> None:
    """Its inbox is gone: whoever waited for an answer there would wait for the whole deadline."""
    async with linked(nats, "publisher") as at:
        armed = at.link.arm("rescind.test.log.a", lambda _: True)
        assert armed is not None
        assert at.link.is_armed(armed)
        at.link.give_up("for a test")
        await until(lambda: at.link.reconnects == 1)
        assert not at.link.is_armed(armed)
        assert not at.link.fire(armed, b"NATS/1.0\r\n\r\n", b"{}")
        with pytest.raises(SourceUnavailable, match="lost meanwhile"):
            await at.link.answer(armed.question, 3600)


async def test_before_a_lost_connection_is_replaced_the_fleet_is_asked_for_its_spread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each time anew: it may have grown, and a link that has just begun knows of nobody."""
    spreads: list[float] = []

    def wait_s(self: Redial, up_s: float) -> float:
        assert up_s >= 0.0
        spreads.append(self._spread_s())
        return 0.0

    monkeypatch.setattr(Redial, "wait_s", wait_s)

    async def up() -> None:
        raise SourceUnavailable("once more")

    async with fake({}) as server:
        link = nats_link.Link(
            NatsOptions(url=server.url, inbox_prefix="_INBOX_sub"),
            on_up=up,
            on_down=lambda _: None,
            on_problem=lambda _: None,
            spread_s=lambda: 1.0 + len(spreads),
        )
        await link.start()
        await until(lambda: len(spreads) > 2)
        await link.stop()
    assert spreads[:3] == [1.0, 2.0, 3.0]


def test_secrets_are_not_shown() -> None:
    """Neither repr nor reason shows a password, a token or a second server's password."""
    given = NatsOptions(
        url="nats://user:s3cret@one:4222, tls://t0ken@two:4222", inbox_prefix="_INBOX_sub"
    )
    assert given.shown == "one:4222,two:4222"
    assert "s3cret" not in repr(given)
    assert "t0ken" not in f"{given}"


def test_credentials_in_the_address_are_decoded() -> None:
    """A password may hold '@', ':' and '/', percent-encoded in the address (RFC 3986 §2.1)."""
    given = NatsOptions(url="nats://user:p%40%2F%3Ax@one:4222", inbox_prefix="_INBOX_sub")
    assert given.connect_arguments()["password"] == "p@/:x"
    token = NatsOptions(url="nats://t%40ken@one:4222", inbox_prefix="_INBOX_sub")
    assert token.connect_arguments()["token"] == "t@ken"


async def test_stops_though_a_cancellation_is_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library call that swallows one cancellation does not keep the link from stopping."""
    swallowed = asyncio.Event()

    async def stubborn(*_: object) -> nats_client.LeanClient:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed.set()
        raise SourceUnavailable("swallowed")

    monkeypatch.setattr(nats_link, "connect", stubborn)
    link = watched("nats://127.0.0.1:1")
    starting = asyncio.create_task(link.link.start())
    await asyncio.sleep(0)
    await asyncio.wait_for(link.link.stop(), WITHIN_S)
    assert swallowed.is_set()
    starting.cancel()


def certificate(directory: Path) -> Path:
    """Write a self-signed certificate for 127.0.0.1 and its key into one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = directory / "server.pem"
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(built.public_bytes(Encoding.PEM) + key.private_bytes(*form))
    return pem


def with_tls(pem: Path) -> tuple[str, str]:
    """Return the edit of the server's configuration that turns TLS on."""
    limit = "max_payload: 512KB"
    return limit, f'tls {{ cert_file: "{pem}", key_file: "{pem}" }}\n{limit}'


async def test_over_tls_no_other_thread_writes_to_the_socket(tmp_path: Path) -> None:
    """It would write in clear between two records; the loop itself may send at once."""
    pem = certificate(tmp_path)
    with admin_server(tmp_path, with_tls(pem)) as server:
        trusting = ssl.create_default_context(cafile=str(pem))
        at = Watched(options(server, "admin", tls=trusting))
        await at.link.start()
        armed = at.link.arm("$SYS.REQ.USER.INFO", lambda _: True)
        assert armed is not None
        block = b"NATS/1.0\r\n\r\n"
        assert not await asyncio.to_thread(at.link.fire, armed, block, b"")
        assert at.link.fire(armed, block, b"")
        assert b"admin" in (await at.link.answer(armed.question, 15)).payload
        assert at.told == ["up"]
        await at.link.stop()


async def test_tls_with_a_trusted_certificate(tmp_path: Path) -> None:
    """The context given is used: the certificate it trusts is taken, another one is refused."""
    pem = certificate(tmp_path)
    with admin_server(tmp_path, with_tls(pem)) as server:
        trusting = ssl.create_default_context(cafile=str(pem))
        good = Watched(options(server, "subscriber", tls=trusting))
        await good.link.start()
        assert good.told == ["up"]
        await good.link.stop()
        wary = Watched(options(server, "subscriber", tls=ssl.create_default_context()))
        with pytest.raises(SourceRefused, match="certificate is not trusted"):
            await wary.link.start()


async def test_a_second_address_is_tried(nats: EmbeddedServer) -> None:
    """With several addresses, one that is dead does not matter."""
    alive = nats.url_for("subscriber")
    link = watched(f"{alive.rpartition(':')[0]}:1,{alive}")
    await link.link.start()
    await until(lambda: link.link.connected)
    await link.link.stop()


async def test_requests_without_a_link_fail_at_once(nats: EmbeddedServer) -> None:
    """Nothing is kept for later: what a caller has given up on is never sent."""
    async with linked(nats, "publisher") as publisher:
        pass
    with pytest.raises(SourceUnavailable, match="not connected"):
        await publisher.link.publish("rescind.test.log.a", b"")
    assert options(nats, "publisher").connect_arguments()["allow_reconnect"] is False
