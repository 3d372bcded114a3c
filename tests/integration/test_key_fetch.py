"""Keys over real HTTPS: what a server may do to us, and where we do not go."""

import datetime as dt
import gzip
import ipaddress
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import rescind
from rescind import config
from rescind.cli.keytrouble import noted
from rescind.errors import BadConfig
from rescind_guard import Code
from rescind_guard.view import View
from rescind_protocol.keys import jwk
from rescind_subscriber.errors import KeysUnavailable, SourceRefused
from rescind_subscriber.keys.fetch import Fetcher
from tests.fakes.badges import Issuer
from tests.fakes.fabric import key_of
from tests.fakes.waiting import wait_until

DOCUMENT = Issuer().jwks()
Answer = Callable[[BaseHTTPRequestHandler], None]


def good(handler: BaseHTTPRequestHandler) -> None:
    """Answer with the document."""
    _body(handler, DOCUMENT)


def _body(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


class Server:
    """An HTTPS server on the loopback that answers as it is told, and counts who asks."""

    def __init__(self, folder: Path) -> None:
        self.answer: Answer = good
        self.asked: list[str] = []
        self.ended = threading.Event()
        self.ca_file = folder / "ca.pem"
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                """Answer."""
                server.asked.append(self.path)
                server.answer(self)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.handle_error = lambda *_: None  # type: ignore[method-assign]
        self._http.socket = self._tls(folder).wrap_socket(self._http.socket, server_side=True)
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self.port = self._http.server_address[1]
        self.url = f"https://127.0.0.1:{self.port}/.well-known/jwks.json"

    def _tls(self, folder: Path) -> SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
        now = dt.datetime.now(dt.UTC)
        names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        names += [x509.DNSName("registry.example")]
        made = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(key, hashes.SHA256())
        )
        self.ca_file.write_bytes(made.public_bytes(Encoding.PEM))
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "key.pem").write_bytes(pem)
        context = SSLContext(PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca_file, folder / "key.pem")
        return context

    def close(self) -> None:
        """End, and whoever still answers too."""
        self.ended.set()
        self._http.shutdown()
        self._http.server_close()

    def fetcher(self, **options: Any) -> Fetcher:
        """Return a fetcher that trusts this server's certificate and may go to this machine."""
        given: dict[str, Any] = {"private": True, "ca_file": self.ca_file} | options
        return Fetcher(**given)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that ends with the test."""
    made = Server(tmp_path)
    yield made
    made.close()


def test_a_document_is_fetched_over_tls(server: Server) -> None:
    """The control for all that follows."""
    assert server.fetcher()(server.url) == DOCUMENT


def _coded(coding: str, body: bytes) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", coding)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(DOCUMENT)),
        ("GZIP", gzip.compress(DOCUMENT)),
        ("deflate", zlib.compress(DOCUMENT)),
        ("identity", DOCUMENT),
    ],
)
def test_a_content_coding_is_taken_off(server: Server, coding: str, body: bytes) -> None:
    """A server may send one unasked (RFC 9110 §12.5.3); the document is a good one."""
    server.answer = _coded(coding, body)
    assert server.fetcher()(server.url) == DOCUMENT


@pytest.mark.parametrize(
    ("coding", "body", "sentence"),
    [
        ("gzip", gzip.compress(bytes(4_000_000)), "too many bytes"),
        ("gzip", gzip.compress(DOCUMENT)[:-9], "damaged"),
        ("gzip", gzip.compress(DOCUMENT) + b"x", "damaged"),
        ("gzip", DOCUMENT, "damaged"),
        ("br", DOCUMENT, "unasked"),
        ("gzip, gzip", gzip.compress(gzip.compress(DOCUMENT)), "unasked"),
    ],
)
def test_a_coded_answer_that_is_bad_is_a_failed_fetch(
    server: Server, coding: str, body: bytes, sentence: str
) -> None:
    """Of four kilobytes that decode to four megabytes no more than the limit is decoded."""
    server.answer = _coded(coding, body)
    with pytest.raises(KeysUnavailable, match=sentence):
        server.fetcher()(server.url)


def _status(code: int, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@pytest.mark.parametrize("code", [204, 301, 302, 307, 308, 401, 404, 500, 503])
def test_only_a_plain_answer_counts_and_no_redirect_is_followed(server: Server, code: int) -> None:
    """A redirect would go where the allowlist does not: it is one more failed fetch."""
    server.answer = _status(code, Location=f"https://127.0.0.1:{server.port}/elsewhere")
    with pytest.raises(KeysUnavailable, match=f"answers HTTP {code}"):
        server.fetcher()(server.url)
    assert server.asked == ["/.well-known/jwks.json"]


def _endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * 65_536)


def _huge_header(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("X", "x" * 1_000_000)
    handler.end_headers()


def _not_http(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"SSH-2.0-nothing\r\n\r\n")


def _cut(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"{")


def _hangs_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("answer", [_endless, _huge_header, _not_http, _cut, _hangs_up])
def test_a_server_that_misbehaves_is_a_failed_fetch(server: Server, answer: Answer) -> None:
    """Too many bytes, no HTTP, half an answer, none: a typed error in a few words."""
    server.answer = answer
    with pytest.raises(KeysUnavailable) as caught:
        server.fetcher()(server.url)
    assert "\n" not in str(caught.value)


def _drip(handler: BaseHTTPRequestHandler, ended: threading.Event, *, header: bool) -> None:
    if not header:
        handler.send_response(200)
        handler.end_headers()
    while not ended.wait(0.02):
        handler.wfile.write(b"H" if header else b" ")


@pytest.mark.parametrize("header", [True, False])
def test_a_server_that_drips_holds_nothing_up(server: Server, *, header: bool) -> None:
    """One deadline for the whole fetch: a byte now and then does not extend it."""
    server.answer = lambda handler: _drip(handler, server.ended, header=header)
    with pytest.raises(KeysUnavailable, match=r"took too long|timed out"):
        server.fetcher(max_seconds=0.5)(server.url)


def test_an_address_of_this_machine_is_not_connected_to(server: Server) -> None:
    """By number or by name; nothing reaches the server, not even the start of TLS."""
    by_name = server.url.replace("127.0.0.1", "registry.test.example")
    with _resolving("127.0.0.1"):
        for url in (server.url, by_name):
            with pytest.raises(KeysUnavailable, match="no public address"):
                server.fetcher(private=False)(url)
    assert server.asked == []


@contextmanager
def _resolving(*addresses: str) -> Iterator[list[str]]:
    """Have every name resolve to these addresses, and note who asked."""
    names: list[str] = []

    def resolve(host: str, port: int, *_: object, **__: object) -> list[Any]:
        known = host in addresses  # an address, for which nobody is asked
        names.extend([] if known else [host])
        found = [host] if known else addresses
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", resolve)
        yield names


def test_a_name_that_is_bound_anew_leads_nowhere_else(server: Server) -> None:
    """The address that was judged is the one connected to: no second look-up comes between."""
    url = server.url.replace("127.0.0.1", "registry.example")
    with _resolving("127.0.0.1") as names:
        with pytest.raises(KeysUnavailable, match="no public address"):
            server.fetcher(private=False)(url)
        assert server.asked == []
        assert server.fetcher()(url) == DOCUMENT  # the control: it is this server, by its name
    assert names == ["registry.example"] * 2


def test_of_several_addresses_only_the_public_are_tried(server: Server) -> None:
    """A private one beside a public one is not a way in."""
    judged: list[str] = []

    def allowed(address: str) -> bool:
        judged.append(address)
        return address == "127.0.0.1"

    url = server.url.replace("127.0.0.1", "registry.example")
    with _resolving("192.0.2.1", "127.0.0.1"):
        fetch = server.fetcher()
        fetch._allowed = allowed
        assert fetch(url) == DOCUMENT
    assert judged == ["192.0.2.1", "127.0.0.1"]


def test_a_certificate_of_nobody_known_is_refused(server: Server) -> None:
    """And one for another name; and plain HTTP, unless it was asked for."""
    with pytest.raises(KeysUnavailable, match="certificate verify failed"):
        Fetcher(private=True)(server.url)
    with _resolving("127.0.0.1"), pytest.raises(KeysUnavailable, match="verify failed"):
        server.fetcher()(server.url.replace("127.0.0.1", "other.example"))
    with pytest.raises(KeysUnavailable, match="not reached over https"):
        server.fetcher()(server.url.replace("https", "http"))
    assert server.asked == []


@pytest.mark.parametrize("url", ["https://", "https://[::1", "https://a b/", "https://x:99999/"])
def test_an_address_that_is_none_is_a_failed_fetch(url: str) -> None:
    """Whatever is configured: a typed error."""
    with pytest.raises(KeysUnavailable):
        Fetcher(private=True)(url)


def test_a_file_of_certificates_that_is_none_is_refused(tmp_path: Path) -> None:
    """Missing or not PEM: said when the fetcher is made."""
    (tmp_path / "bad.pem").write_text("x")
    for name in ("missing.pem", "bad.pem"):
        with pytest.raises(SourceRefused, match=name):
            Fetcher(ca_file=tmp_path / name)


# --- from the settings ---


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A fabric's folder."""
    from rescind import home as folder  # noqa: PLC0415

    made = tmp_path / "home"
    folder.create(made, fabric="default", publisher="local", port=1, now=1)
    return made


def test_a_sidecar_fetches_its_issuers_keys(server: Server, home: Path) -> None:
    """`issuers = {origin = "web"}`: in a thread, kept on disk; a restart has them at once."""
    iss = f"https://127.0.0.1:{server.port}"
    settings: dict[str, Any] = {
        "home": str(home),
        "issuers": {iss: "web"},
        "keys_private": True,
        "keys_ca_file": str(server.ca_file),
    }
    sidecar = rescind.Sidecar(**settings)
    assert sidecar.keys is not None
    sidecar.keys.start()
    try:
        wait_until(lambda: sidecar.keys and sidecar.keys.view.published[iss])
        badge = Issuer(iss).badge()
        decision = sidecar.guard.check(badge)
        assert decision.code is not Code.BADGE_SIGNATURE_INVALID
        assert decision.claims is not None  # it verified
    finally:
        sidecar.keys.stop()
    server.answer = _status(503)
    again = rescind.Sidecar(**settings)
    assert again.keys is not None
    again.keys.load()
    assert json.loads(json.dumps([key.kid for key in again.keys.view.published[iss]]))


def test_a_sidecar_fetches_an_agents_document_and_says_when_it_cannot(
    server: Server, home: Path
) -> None:
    """`cnf.kid` by did:web, over HTTPS; `/readyz` and `rescind status` tell what is in trouble."""
    iss, agent = f"https://127.0.0.1:{server.port}", f"did:web:registry.example%3A{server.port}:x7"
    key = {"publicKeyJwk": jwk(key_of("agent").public)}
    method = {"id": "#key-1", "type": "JsonWebKey", "controller": agent} | key
    document = {"id": agent, "verificationMethod": [method], "authentication": ["#key-1"]}
    server.answer = lambda h: _body(
        h, json.dumps(document).encode() if h.path == "/x7/did.json" else DOCUMENT
    )
    settings: dict[str, Any] = {
        "home": str(home),
        "issuers": {iss: "web"},
        "did_web_domains": [f"*.example:{server.port}"],
        "keys_every_s": 1,
        "keys_private": True,
        "keys_ca_file": str(server.ca_file),
    }
    sidecar = rescind.Sidecar(**settings)
    now = int(time.time())
    bound: dict[str, Any] = {
        "ial": "1",
        "cnf": {"kid": f"{agent}#key-1"},
        "iat": now,
        "exp": now + 300,
    }
    badge = Issuer(iss).badge("1", sub=agent, **bound)
    assert sidecar.keys is not None
    keys = sidecar.keys
    with _resolving("127.0.0.1"):
        keys.start()
        try:
            # Level 1: on a view that was never synced it passes with a warning.
            wait_until(lambda: sidecar.guard.check(badge).code is Code.OK)
            assert "/x7/did.json" in server.asked
            assert keys.trouble() == {} == noted(sidecar.loaded)
            server.answer = _status(503)
            wait_until(lambda: len(keys.troubles) == 2)
        finally:
            keys.stop()
    said = sidecar.health().trouble
    assert "answers HTTP 503" in said[f"keys of {iss}"]
    assert agent in said["DID documents"]
    assert "answers HTTP 503" in noted(sidecar.loaded)[f"keys of {iss}"]
    assert agent in noted(sidecar.loaded)["DID documents"]
    assert not sidecar.health().document()["green"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"did_web_domains": ["a.example"], "profile": "air-gapped"}, "did_web_domains"),
        ({"issuers": {"https://a.example": "web"}, "profile": "air-gapped"}, "fetches nothing"),
        ({"issuers": {"https://a.example": "self"}}, "is for an agent's did:key"),
        ({"issuers": {"https://a.example": "missing.json"}}, "cannot be read"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    home: Path, settings: dict[str, Any], sentence: str
) -> None:
    """One sentence each, when it is made and not at the first call."""
    with pytest.raises(BadConfig, match=sentence):
        rescind.Sidecar(home=str(home), **settings)


def test_keys_are_fetched_only_where_it_is_asked_for(home: Path) -> None:
    """A fabric whose keys are files starts no thread and loads no HTTP."""
    from rescind import compose  # noqa: PLC0415

    assert compose.make_keys(config.load({"home": str(home)}), View()) is None
