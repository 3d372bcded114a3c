"""Unsigned lists over real HTTP: our own registry's bundle without its heads, and a foreign one."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from math import inf
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.types import ASGIApp, Message, Receive, Scope, Send

import rescind
from rescind import home as folder
from rescind.errors import BadConfig
from rescind_guard import Code, Outcome
from rescind_protocol import bundles
from rescind_registry.bundle.archive import pack
from rescind_registry.bundle.routes import routes
from rescind_subscriber.errors import ListUnavailable, SourceRefused
from rescind_subscriber.unsigned import fetch as fetching
from rescind_subscriber.unsigned.fetch import Fetcher
from rescind_subscriber.unsigned.keeper import ListKeeper
from rescind_subscriber.unsigned.place import Place, place
from rescind_subscriber.unsigned.reader import read
from tests.fakes.badges import AGENT, ISSUER, Issuer, Scene, read_jti
from tests.fakes.bundles import PATH, BundleNode, bundled, serving
from tests.fakes.fabric import FABRIC, Log
from tests.fakes.following import kills, victim
from tests.fakes.foreign import ForeignRegistry, answer, foreign_registry
from tests.fakes.lists import jtis
from tests.fakes.waiting import until, wait_until

# --- our own registry, as any other ---


def without_heads(node: BundleNode, dropped: list[bytes]) -> ASGIApp:
    """Return a node's bundle behind a proxy that drops the publishers' heads."""
    app = Litestar(routes(FABRIC, node.bundles), logging_config=None)

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        async def drop(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [each for each in message["headers"] if each[0].lower() != HEADS]
                dropped.extend(value for name, value in message["headers"] if name.lower() == HEADS)
                message["headers"] = headers
            await send(message)

        await app(scope, receive, drop)

    return proxy


HEADS = bundles.HEADS.lower().encode()


@pytest.mark.parametrize("suffix", ["", ".tar.gz"], ids=["json", "archive"])
async def test_our_own_bundle_without_heads_is_an_unsigned_list(suffix: str) -> None:
    """It denies whom it names, from one interval to the next, and makes nothing fresh."""
    log, scene, dropped = Log(), Scene(), list[bytes]()
    view = scene.revocations.view
    view.distrust()
    guard = scene.guard()
    badges = [scene.issuer.badge(sub=victim(number).id) for number in (1, 2, 3)]
    async with bundled() as node, serving(without_heads(node, dropped)) as url:
        await node.say(*kills(log, 1))
        await node.head(log)
        keeper = ListKeeper(
            [place(ISSUER, url + PATH + suffix)], Fetcher(private=True), view, every_s=0.05
        )
        keeper.start()
        try:
            await until(lambda: guard.check(badges[0]).unsigned_list == ISSUER)
            await node.say(*kills(log, 1))
            await until(lambda: guard.check(badges[1]).unsigned_list == ISSUER)
            await until(lambda: keeper.fetches.read().get("unchanged"))
            assert guard.check(badges[2]).outcome is Outcome.CANNOT_TELL
            assert view.published.as_of_wall == -inf
            assert len(view.published.table) == 0
            assert dropped  # there was something to drop
        finally:
            await asyncio.to_thread(keeper.stop)


# --- a foreign one ---


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[ForeignRegistry]:
    """A foreign registry that ends with the test."""
    with foreign_registry(tmp_path) as made:
        yield made


@pytest.fixture
def fetch(registry: ForeignRegistry) -> Fetcher:
    """A fetcher that trusts its certificate and may go to this machine."""
    return Fetcher(private=True, ca_file=registry.ca_file)


def at(registry: ForeignRegistry, token: str | None = None) -> Place:
    """Return the place of its list."""
    return place(ISSUER, registry.url, token)


def test_a_list_is_fetched_by_its_tag(registry: ForeignRegistry, fetch: Fetcher) -> None:
    """Whole, then 304 until it is another one; with the token, and never packed."""
    registry.raw = jtis("1")
    first = fetch(at(registry, "t0ken"), "")
    assert first.raw == registry.raw
    assert fetch(at(registry, "t0ken"), first.tag).raw is None
    registry.raw = jtis("1", "2")
    assert fetch(at(registry, "t0ken"), first.tag).raw == registry.raw
    assert registry.statuses == [200, 304, 200]
    for asked in registry.asked:
        assert asked["Authorization"] == "Bearer t0ken"
        assert asked["Accept-Encoding"] == "identity"
        assert asked["Cache-Control"] == "no-cache"


def test_an_archive_from_a_web_server_is_read_whatever_it_is_called(
    registry: ForeignRegistry, fetch: Fetcher
) -> None:
    """Many web servers know no media type for it: its first bytes say what it is."""
    registry.raw = pack({".manifest": b'{"revision":"1"}', "data.json": b'{"revocations":["1"]}'})
    raw = fetch(at(registry), "").raw
    assert raw is not None
    assert len(read(raw, ISSUER)) == 1


def _redirect(handler: BaseHTTPRequestHandler) -> None:
    answer(handler, 302, Location="/elsewhere")


def _unasked_304(handler: BaseHTTPRequestHandler) -> None:
    answer(handler, 304)


def _packed(handler: BaseHTTPRequestHandler) -> None:
    answer(handler, 200, jtis(), Content_Encoding="br")


def _endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * 65536)


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        (_redirect, "answers HTTP 302"),
        (_unasked_304, "answers HTTP 304"),
        (_packed, "in the content coding .br., unasked"),
        (_endless, "too many bytes"),
        (lambda handler: answer(handler, 404), "answers HTTP 404"),
        (lambda handler: answer(handler, 401), "answers HTTP 401"),
        (lambda handler: handler.wfile.write(b"no HTTP\r\n\r\n"), "status line"),
    ],
    ids=["redirect", "304 unasked", "packed", "endless", "404", "401", "no HTTP"],
)
def test_what_is_no_list_is_weather(
    registry: ForeignRegistry, fetch: Fetcher, answers: Any, sentence: str
) -> None:
    """A typed error each; a redirect is not followed."""
    registry.answer = answers
    with pytest.raises(ListUnavailable, match=sentence):
        fetch(at(registry), "")
    assert [each["path"] for each in registry.asked] == ["/v1/bundles/foreign"]


def test_a_server_that_drips_is_given_up(
    registry: ForeignRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One deadline for all of an answer."""

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not registry.ended.wait(0.02):
            handler.wfile.write(b" ")

    registry.answer = drip
    monkeypatch.setattr(fetching, "MAX_SECONDS", 0.3)
    with pytest.raises(ListUnavailable):
        Fetcher(private=True, ca_file=registry.ca_file)(at(registry), "")


def test_strangers_certificates_and_private_addresses_are_refused(
    registry: ForeignRegistry,
) -> None:
    """TLS is all that says who wrote a list; and nobody is asked who must not be."""
    with pytest.raises(ListUnavailable, match="certificate verify failed"):
        Fetcher(private=True)(at(registry), "")
    with pytest.raises(ListUnavailable, match="`unsigned_list_private`"):
        Fetcher(ca_file=registry.ca_file)(at(registry), "")
    with pytest.raises(SourceRefused, match="cannot be read"):
        Fetcher(ca_file=Path("missing.pem"))
    assert registry.asked == []


# --- from the settings ---


class Service:
    """The settings of a sidecar that follows the registry's list, and a badge of its issuer."""

    def __init__(self, registry: ForeignRegistry, at: Path) -> None:
        self.registry, self.issuer = registry, Issuer()
        folder.create(at, fabric="default", publisher="local", port=1, now=1)
        (at / "jwks.json").write_bytes(self.issuer.jwks())
        self.settings: dict[str, Any] = {
            "home": str(at),
            "issuers": {ISSUER: "jwks.json"},
            "unsigned_lists": {ISSUER: registry.url},
            "unsigned_list_tokens": {ISSUER: "t0ken"},
            "unsigned_list_private": True,
            "unsigned_list_ca_file": str(registry.ca_file),
            "unsigned_list_every_s": 1,
            "metrics_port": 0,
        }

    def sidecar(self, **more: Any) -> rescind.Sidecar:
        """Return one, not started."""
        return rescind.Sidecar(**(self.settings | more))


@pytest.fixture
def service(registry: ForeignRegistry, tmp_path: Path) -> Service:
    """A service's settings."""
    return Service(registry, tmp_path / "home")


def ready(sidecar: rescind.Sidecar) -> dict[str, Any]:
    """Return what `/readyz` says."""
    assert sidecar.monitor is not None
    try:
        with urllib.request.urlopen(sidecar.monitor.url + "/readyz") as said:  # noqa: S310 - ours
            found = json.load(said)
    except urllib.error.HTTPError as error:
        found = json.load(error)
    assert isinstance(found, dict)
    return found


def now(issuer: Issuer) -> str:
    """Return a badge that is good now, of a level that a stale view lets pass."""
    import time  # noqa: PLC0415

    at = int(time.time())
    return issuer.badge("1", iat=at, exp=at + 3600)


def test_a_sidecar_denies_by_a_list_over_a_restart_without_the_registry(service: Service) -> None:
    """Denied as soon as it is fetched, and before anything is when the registry is away."""
    registry, badge = service.registry, now(service.issuer)
    registry.raw = jtis(read_jti(badge))
    with service.sidecar() as sidecar:
        wait_until(lambda: sidecar.guard.check(badge).unsigned_list == ISSUER)
        assert sidecar.guard.check(badge).code is Code.BADGE_REVOKED
        assert f"unsigned list {ISSUER}" not in ready(sidecar)["trouble"]
    registry.answer = lambda handler: answer(handler, 503)
    asked = len(registry.asked)
    with service.sidecar() as sidecar:
        assert sidecar.guard.check(badge).unsigned_list == ISSUER
        wait_until(lambda: len(registry.asked) > asked)
        wait_until(lambda: "503" in ready(sidecar)["trouble"][f"unsigned list {ISSUER}"])
        assert not ready(sidecar)["green"]
        assert sidecar.guard.check(badge).unsigned_list == ISSUER
        registry.answer, registry.raw = registry.serve, jtis()
        wait_until(lambda: sidecar.guard.check(badge))
        wait_until(lambda: f"unsigned list {ISSUER}" not in ready(sidecar)["trouble"])


def test_without_the_kept_file_the_restart_would_let_the_badge_pass(service: Service) -> None:
    """Negative control of the one above."""
    registry, badge = service.registry, now(service.issuer)
    registry.raw = jtis(read_jti(badge))
    with service.sidecar() as sidecar:
        wait_until(lambda: not sidecar.guard.check(badge))
    registry.answer = lambda handler: answer(handler, 503)
    home = Path(service.settings["home"])
    wait_until(lambda: list((home / folder.LISTS).glob("*.list")))
    for kept in (home / folder.LISTS).glob("*.list"):
        kept.unlink()
    with service.sidecar() as sidecar:
        assert sidecar.guard.check(badge)


def test_a_list_is_nowhere_in_what_the_subscriber_keeps(service: Service) -> None:
    """Its own folder, and no byte of it in the local snapshots."""
    badge = now(service.issuer)
    service.registry.raw = jtis(read_jti(badge))
    home = Path(service.settings["home"])
    with service.sidecar() as sidecar:
        wait_until(lambda: not sidecar.guard.check(badge))
        assert sidecar.subscriber.status().targets == 0
        found = sidecar.subscriber.capture(proven=False)
        assert found is not None
        assert len(found.table) == 0
    assert list((home / folder.LISTS).iterdir())
    listed = next(iter(sidecar.subscriber.view.lists.lists.values())).killed
    kept = b"".join(each.read_bytes() for each in (home / folder.SUBSCRIBERS).iterdir())
    assert not any(digest in kept for digest in listed)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"unsigned_lists": {ISSUER: "http://h.example/list"}}, "over https:// only"),
        ({"unsigned_lists": {"https://typo.example": "https://h.example/"}}, "none of 'issuers'"),
        ({"unsigned_lists": {"nobody": "https://h.example/"}}, "'unsigned_lists': issuer"),
        ({"unsigned_lists": {}}, "'unsigned_list_tokens': .* has no unsigned list"),
        ({"unsigned_list_tokens": {ISSUER: "two words"}}, "its token is empty, or has a blank"),
        ({"unsigned_list_ca_file": "missing.pem"}, "'unsigned_list_ca_file': .* cannot be read"),
        ({"profile": "air-gapped"}, "fetches nothing"),
        ({"unsigned_list_every_s": 0.5}, "unsigned_list_every_s"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    service: Service, settings: dict[str, Any], sentence: str
) -> None:
    """One sentence each, when it is made and not at the first call."""
    with pytest.raises(BadConfig, match=sentence):
        service.sidecar(**settings)


def test_a_service_without_lists_starts_nothing(service: Service) -> None:
    """No thread, no HTTP, and a badge that some list names passes."""
    badge = now(service.issuer)
    service.registry.raw = jtis(read_jti(badge))
    with service.sidecar(unsigned_lists={}, unsigned_list_tokens={}) as sidecar:
        assert sidecar.lists is None
        assert sidecar.guard.check(badge)
    assert service.registry.asked == []


def test_an_agent_is_named_by_its_did(service: Service) -> None:
    """All of its badges by this issuer."""
    badge = now(service.issuer)
    said = {"data": {"revocations": [], "agents": {AGENT: {"status": "disabled"}}}}
    service.registry.raw = json.dumps(said).encode()
    with service.sidecar() as sidecar:
        wait_until(lambda: sidecar.guard.check(badge).unsigned_list == ISSUER)
