"""The sidecar for proxies, asked as Envoy's HTTP ext_authz and nginx's auth_request ask.

Envoy sends the caller's method, `path_prefix` + path, `Host`, `Authorization`, the allowed headers
and `Content-Length: 0` (ext_authz, HTTP service). nginx sends a GET with all of the caller's
headers, `Connection: close` by default, and what `proxy_set_header` adds (auth_request module).
"""

import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from rescind import authz
from rescind.errors import BadConfig
from rescind.testing import Fabric, TestBadge
from tests.fakes.terminal import Terminal, did
from tests.fakes.waiting import WITHIN_S, wait_until

IDENTITY = {
    f"x-rescind-{each}" for each in ("code", "agent", "issuer", "badge", "level", "session")
}


@pytest.fixture
def fabric() -> Iterator[Fabric]:
    """A fabric in memory."""
    with Fabric() as fabric:
        yield fabric


@contextmanager
def asking(guard: Any, folder: Path) -> Iterator[httpx2.Client]:
    """A client of a sidecar on a Unix socket."""
    listener = authz.listen("unix:a.sock", folder=folder)
    with authz.Server(authz.Authz(guard), listener) as server:
        wait_until(lambda: server._server.started)
        transport = httpx2.HTTPTransport(uds=str(folder / "a.sock"))
        with httpx2.Client(
            transport=transport, base_url="http://sidecar", timeout=WITHIN_S
        ) as client:
            yield client


def envoy(
    client: httpx2.Client, badge: TestBadge | None, path: str = "/orders/7"
) -> httpx2.Response:
    """Ask as Envoy does."""
    headers = {"X-Capiscio-Badge": badge.token} if badge else {}
    return client.post(f"/envoy{path}", headers=headers)


def nginx(client: httpx2.Client, badge: TestBadge, **more: str) -> httpx2.Response:
    """Ask as nginx does."""
    headers = {
        "X-Original-Method": "POST",
        "X-Original-URI": "/orders/7?a=b",
        "Connection": "close",
    }
    return client.get("/nginx", headers=headers | {"X-Capiscio-Badge": badge.token} | more)


@pytest.mark.parametrize("ask", [envoy, nginx])
def test_who_calls_goes_upstream_and_the_killed_do_not(
    ask: Any, fabric: Fabric, tmp_path: Path
) -> None:
    """200 with every identity header, set even where empty; 401 by code once it is killed."""
    badge = fabric.badge()
    with asking(fabric.guard(), tmp_path) as client:
        good = ask(client, badge)
        assert good.status_code == 200
        assert set(good.headers) >= IDENTITY
        assert good.headers["x-rescind-agent"] == badge.sub
        assert good.headers["x-rescind-session"] == "", "written over what a caller sent"
        removed = good.headers["x-envoy-auth-headers-to-remove"]
        assert removed == "x-capiscio-badge,x-capiscio-badge-map"
        fabric.kill(badge, reason="compromise", reason_user="call the SOC")
        killed = ask(client, badge)
    assert (killed.status_code, killed.json()["code"]) == (401, "BADGE_REVOKED")
    assert not set(killed.headers) & (IDENTITY - {"x-rescind-code"})


def test_each_code_has_its_status(fabric: Fabric, tmp_path: Path) -> None:
    """401 without a badge, 403 by policy, 503 when it cannot be told."""
    follower, asked = fabric.follower(), list[str | None]()

    def policy(_: object, tool: str | None) -> str | None:
        asked.append(tool)
        return None if tool == "POST /orders/7" else "only orders"

    badge = fabric.badge(ttl_s=3600)
    with asking(fabric.guard(follower, policy=policy), tmp_path) as client:
        missing = envoy(client, None)
        assert (missing.status_code, missing.headers["www-authenticate"]) == (401, "Bearer")
        assert nginx(client, badge).status_code == 200
        denied = envoy(client, badge, "/admin")
        assert (denied.status_code, denied.json()["code"]) == (403, "TOOL_POLICY_DENIED")
        fabric.cut(follower)
        fabric.pass_s(400)
        assert envoy(client, badge).status_code == 503
    assert asked[:2] == ["POST /orders/7", "POST /admin"]


def test_a_question_that_is_not_known_gets_no_yes(fabric: Fabric, tmp_path: Path) -> None:
    """Another path, a proxy that does not say what is asked for, or says it twice."""
    badge = fabric.badge()
    with asking(fabric.guard(), tmp_path) as client:
        sent = {"X-Capiscio-Badge": badge.token}
        for path in ("/", "/envoy", "/nginx", "/nginx/x", "/envoyx/orders"):
            assert client.get(path, headers=sent).status_code == 503
        twice = [*sent.items(), ("X-Original-Method", "GET")] + [("X-Original-URI", "/a")] * 2
        assert client.get("/nginx", headers=twice).status_code == 503


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/orders/../admin",
            "//admin",
            "/a/./b",
            "/a/..;x/b",
            "/a\\b",
            "/a\nb",
            "admin",
            "",
            "/a/..",
        ),
        *("/;/admin", "/;x/admin", "/admin;v=1/read", "/admin#/read"),
    ],
)
def test_a_path_that_can_be_read_in_two_ways_is_refused(
    path: str, fabric: Fabric, tmp_path: Path
) -> None:
    """Escaped or not, whichever proxy asks; a slash at the end and an escaped letter are fine."""
    badge = fabric.badge()
    with asking(fabric.guard(), tmp_path) as client:
        for written in (quote(path), quote(path, safe=""), quote(path, safe="/#;")):
            uri = {"X-Original-URI": written}
            assert nginx(client, badge, **uri).status_code == 403
        assert nginx(client, badge, **{"X-Original-URI": "/%61/b%20c/"}).status_code == 200
        if path.startswith("/"):
            assert envoy(client, badge, "/" + quote(path[1:], safe="")).status_code == 403


def test_a_head_is_bounded(fabric: Fabric, tmp_path: Path) -> None:
    """A request head beyond the limit is refused by the server, whatever badge it carries."""
    badge = fabric.badge()
    with asking(fabric.guard(), tmp_path) as client:
        headers = {"X-Capiscio-Badge": badge.token}
        assert client.get("/envoy/x", headers=headers | {"X-More": "x" * 8000}).status_code == 200
        large = headers | {"X-More": "x" * 2 * authz.MAX_HEAD_BYTES}
        assert client.get("/envoy/x", headers=large).status_code in (400, 401)


def test_the_socket_is_the_owners(fabric: Fabric, tmp_path: Path) -> None:
    """0600; gone when it ends; a stale one is replaced, a live one and a file are not."""
    path = tmp_path / "a.sock"
    with asking(fabric.guard(), tmp_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(BadConfig, match="another sidecar"):
            authz.listen("unix:a.sock", folder=tmp_path)
    assert not path.exists()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    authz.listen("unix:a.sock", folder=tmp_path).close()
    (tmp_path / "file").write_text("mine")
    for bad in ("unix:file", "0.0.0.0:9000", "192.0.2.1:9000", "127.0.0.1:x", "nonsense"):
        with pytest.raises(BadConfig):
            authz.listen(bad, folder=tmp_path)


def test_the_command(tmp_path: Path) -> None:
    """`rescind sidecar` beside `rescind up`: a killed badge is refused by what the proxy asks."""
    terminal = Terminal(tmp_path / "h")
    with terminal.start("up", "--port", "0", "--json") as running:
        running.wait_for("state", state="LIVE")
        badge = terminal.issue("x7")
        with terminal.start("sidecar", "--listen", "unix:../s", "--json") as sidecar:
            said = sidecar.wait_for("listening")["address"]
            assert said == f"unix:{terminal.home}/../s"
            transport = httpx2.HTTPTransport(uds=f"{tmp_path}/s", retries=3)
            with httpx2.Client(
                transport=transport, base_url="http://sidecar", timeout=WITHIN_S
            ) as client:

                def ask() -> httpx2.Response:
                    return client.get("/envoy/x", headers={"X-Capiscio-Badge": badge})

                wait_until(lambda: ask().status_code == 200)
                assert terminal.run("kill", "agent", did("x7")).code == 0
                wait_until(lambda: ask().status_code == 401)
                assert ask().json()["code"] == "BADGE_REVOKED"
    for words in (("sidecar", "--listen", "0.0.0.0:80"), ("sidecar", "--group", "no-such-group")):
        assert terminal.run(*words).code == 2
