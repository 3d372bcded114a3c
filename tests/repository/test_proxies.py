"""The proxies' configurations that are shown: run as they stand, by the real Envoy and nginx.

Only places are changed: the socket, and the two ports. Behind each is a service that says what it
was sent, as one in any language would be.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from rescind import authz
from rescind.testing import Fabric, TestBadge
from rescind_guard.rules import Rules
from tests.fakes.places import serving
from tests.fakes.proxies import COMMANDS, proxy
from tests.fakes.terminal import Terminal, did
from tests.fakes.waiting import WITHIN_S, wait_until

SHOWN = Path(__file__).parents[2] / "examples/proxies"
PROXIES = sorted(COMMANDS)
OWN = ("agent", "issuer", "badge", "level", "session", "code")
BODY = b"widgets " * 20_000

Asked = list[tuple[str, str, list[tuple[str, str]], bytes]]
"""Method, target, headers and body of each request that reached the service."""


class Service:
    """What stands behind the proxy: it answers everything, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: Asked = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in scope["headers"]]
        self.asked.append((scope["method"], scope["raw_path"].decode(), headers, body))
        head = {"type": "http.response.start", "status": 200, "headers": []}
        await send(head)
        await send({"type": "http.response.body", "body": b"300 widgets"})

    def own(self, name: str) -> list[str]:
        """Return every value that the last request has under one of our names."""
        headers = self.asked[-1][2]
        return [value for each, value in headers if each.lower() == f"x-rescind-{name}"]


class Setting:
    """A fabric, a sidecar, the service, and a client of the proxy in front of it."""

    def __init__(self, fabric: Fabric, service: Service, client: httpx2.Client) -> None:
        self.fabric, self.service, self.client = fabric, service, client

    def ask(
        self,
        badge: TestBadge | None = None,
        target: str = "/orders/7",
        method: str = "GET",
        content: bytes = b"",
        **headers: str,
    ) -> httpx2.Response:
        """Ask through the proxy."""
        sent = {"X-Capiscio-Badge": badge.token} if badge else {}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.request(method, target, headers=sent | named, content=content)


@pytest.fixture(params=PROXIES)
def name(request: pytest.FixtureRequest) -> str:
    """Name a configuration that is shown."""
    return str(request.param)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder whose path leaves room for a socket's."""
    return tmp_path_factory.mktemp("p")


@contextmanager
def standing(
    name: str, folder: Path, sidecar: Any = None, without: str | None = None, **how: Any
) -> Iterator[Setting]:
    """Put a proxy before the service, a sidecar beside it; `without`: what the file then lacks."""
    with ExitStack() as stack:
        fabric, service = stack.enter_context(Fabric()), Service()
        app = authz.Authz(fabric.guard(**how)) if sidecar is None else sidecar
        server = authz.Server(app, authz.listen("unix:a.sock", folder=folder))
        stack.enter_context(server)
        behind = stack.enter_context(serving(service))
        changed = places(name, folder, behind) | ({without: ""} if without else {})
        front = stack.enter_context(proxy(SHOWN / name, folder, changed))
        client = stack.enter_context(httpx2.Client(base_url=front, timeout=WITHIN_S))
        yield Setting(fabric, service, client)


def places(name: str, folder: Path, behind: str) -> dict[str, str]:
    """Return what the file says, and what it is here."""
    port = behind.rpartition(":")[2]
    before, after = ("127.0.0.1:9000", "127.0.0.1:%s")
    if name == "envoy.yaml":
        before, after = ("port_value: 9000", "port_value: %s")
    return {"/run/rescind/authz.sock": f"{folder}/a.sock", before: after % port}


def test_who_calls_is_said_and_the_killed_do_not_pass(name: str, folder: Path) -> None:
    """200 with our headers in place of the caller's; 401 without a badge, and once it is killed."""
    with standing(name, folder) as here:
        missing = here.ask()
        assert (missing.status_code, missing.headers["www-authenticate"]) == (401, "Bearer")
        badge = here.fabric.badge()
        false = [(f"X{dash}Rescind{dash}{each}", "forged") for each in OWN for dash in "-_"]
        sent = [*false, ("X-Capiscio-Badge", badge.token)]
        assert here.client.get("/orders/7", headers=sent).text == "300 widgets"
        assert here.service.own("agent") == [badge.sub]
        assert here.service.own("level") == ["2"]
        # Envoy says nothing where there is nothing to say, nginx says it empty; nobody says
        # what the caller said.
        assert here.service.own("session") in ([], [""])
        headers = here.service.asked[-1][2]
        assert not [value for _, value in headers if "forged" in value or badge.token in value]
        here.fabric.kill(badge)
        killed = here.ask(badge)
        assert killed.status_code == 401
        assert 'error="invalid_token"' in killed.headers["www-authenticate"]
        assert len(here.service.asked) == 1, "only the good one reached the service"


def test_without_the_question_anyone_passes(name: str, folder: Path) -> None:
    """Negative control: the same, but that the sidecar says yes to everything."""
    with standing(name, folder, sidecar=_yes) as here:
        badge = here.fabric.badge()
        here.fabric.kill(badge)
        assert here.ask(badge).status_code == 200
        assert here.ask().status_code == 200


async def _yes(_: Any, __: Any, send: Any) -> None:
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def test_a_policy_sees_the_caller_s_own_method_and_path(name: str, folder: Path) -> None:
    """403 beyond it; whatever the caller sends under the names that the proxy uses, or writes."""
    policy = Rules(allowed=["GET /orders/*", "PUT /orders/*"])
    with standing(name, folder, policy=policy) as here:
        badge = here.fabric.badge()
        assert here.ask(badge, "/orders/7?a=/admin").status_code == 200
        assert here.ask(badge, "/orders/7", "PUT", BODY).status_code == 200
        assert here.service.asked[-1][3] == BODY, "the body goes to the service alone, and whole"
        assert here.ask(badge, "/orders/7", "DELETE").status_code == 403
        said: dict[str, Any] = {
            "X_Original_URI": "/orders/7",
            "X_Original_Method": "GET",
            "X_Original_Path": "/orders/7",
            "X_Envoy_Original_Path": "/orders/7",
            "X_Forwarded_Uri": "/orders/7",
            "X_Rewrite_Url": "/orders/7",
            "X_Http_Method_Override": "GET",
            "X_Envoy_Auth_Partial_Body": "false",
        }
        before = len(here.service.asked)
        assert here.ask(badge, "/admin", **said).status_code == 403
        assert here.ask(badge, "/orders/7", "DELETE", **said).status_code == 403
        assert here.ask(badge, "/envoy/orders/7").status_code == 403
        assert len(here.service.asked) == before


def test_no_spelling_of_a_path_slips_past_the_policy(name: str, folder: Path) -> None:
    """Dot segments, escapes and doubled slashes: none reaches the service as another path."""
    policy = Rules(allowed=["GET /*"], denied=["GET /admin*"])
    spellings = (
        "/orders/../admin",
        "/orders/%2e%2e/admin",
        "/orders/..%2fadmin",
        "/orders/.%2E/admin",
        "/%61dmin",
        "//admin",
        "/./admin",
        "/orders/%2e%2e%2fadmin",
        "/orders/..;/admin",
        "http://service/admin",
    )
    with standing(name, folder, policy=policy) as here:
        badge = here.fabric.badge()
        sent = f"X-Capiscio-Badge: {badge.token}\r\nHost: service\r\nConnection: close\r\n"
        for each in spellings:
            head = _raw(here.client, f"GET {each} HTTP/1.1\r\n{sent}\r\n".encode())
            assert head.startswith((b"HTTP/1.1 403", b"HTTP/1.1 400")), (each, head)
        assert here.service.asked == []
        assert _raw(here.client, f"GET /a%20b HTTP/1.1\r\n{sent}\r\n".encode())[9:12] == b"200"


def test_without_the_look_at_its_spelling_a_path_would(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: each proxy passes on what the service may read as another path."""
    monkeypatch.setattr(authz, "asked", lambda method, path: f"{method} {path}")
    with standing(name, folder, policy=Rules(allowed=["GET /orders/*"])) as here:
        sent = f"X-Capiscio-Badge: {here.fabric.badge().token}\r\nHost: x\r\nConnection: close"
        head = _raw(here.client, f"GET /orders/..%2fadmin HTTP/1.1\r\n{sent}\r\n\r\n".encode())
        assert head[9:12] == b"200"
        assert here.service.asked[0][1] == "/orders/..%2fadmin"


def test_what_the_files_guard_against_would_come_through(folder: Path) -> None:
    """Negative control: without its line, a caller of nginx names the path that is decided on."""
    line = "proxy_set_header X-Original-URI $request_uri;"
    policy = Rules(allowed=["GET /orders/*"])
    with standing("nginx.conf", folder, without=line, policy=policy) as here:
        forged: Any = {"X_Original_URI": "/orders/7"}
        assert here.ask(here.fabric.badge(), "/admin", **forged).status_code == 200


def test_envoy_drops_what_some_read_as_our_headers(folder: Path) -> None:
    """Negative control: without its line, X_Rescind_Agent of a caller reaches the service."""
    line = "common_http_protocol_options: {headers_with_underscores_action: DROP_HEADER}"
    with standing("envoy.yaml", folder, without=line) as here:
        sent = {"X-Capiscio-Badge": here.fabric.badge().token, "X_Rescind_Agent": "forged"}
        assert here.client.get("/orders/7", headers=sent).status_code == 200
        assert "forged" in str(here.service.asked)


def _raw(client: httpx2.Client, request: bytes) -> bytes:
    """Send bytes as they are, which no client library would; return the head of the answer."""
    url = client.base_url
    with socket.create_connection((url.host, url.port or 80), WITHIN_S) as connection:
        connection.sendall(request)
        answer = b""
        while more := connection.recv(65_536):
            answer += more
    return answer.partition(b"\r\n\r\n")[0]


def test_odd_and_large_heads(name: str, folder: Path) -> None:
    """What fits passes whole; what does not is refused; two badges are nobody's."""
    with standing(name, folder) as here:
        badge = here.fabric.badge()
        many: Any = {f"X_More_{number}": "x" * 6000 for number in range(3)}
        assert here.ask(badge, **many).status_code == 200
        before = len(here.service.asked)
        assert here.ask(badge, X_More="x" * 70_000).status_code in (400, 431)
        sent = [("X-Capiscio-Badge", badge.token), ("X-Capiscio-Badge", badge.token)]
        assert here.client.get("/orders/7", headers=sent).status_code == 401
        assert here.ask(badge, Authorization=f"Bearer {badge.token}").status_code == 401
        assert here.ask(X_Capiscio_Badge="\xe4\xff".encode("latin-1")).status_code == 401  # type: ignore[arg-type]
        assert len(here.service.asked) == before
        lent = here.ask(Authorization=f"Bearer {badge.token}")
        assert lent.status_code == 200
        assert badge.token not in str(here.service.asked[-1])
        hop = "X-Rescind-Agent, X-Capiscio-Badge, X-Original-URI"
        assert here.ask(badge, Connection=hop).status_code in (200, 400, 401)
        assert here.service.own("agent") == [badge.sub], "not taken out on the way"


def test_cannot_tell_is_503(name: str, folder: Path) -> None:
    """A view that is not fresh."""
    with standing(name, folder) as here:
        badge = here.fabric.badge(ttl_s=3600)
        assert here.ask(badge).status_code == 200
        for follower in here.fabric._followers:
            here.fabric.cut(follower)
        here.fabric.pass_s(400)
        assert here.ask(badge).status_code == 503
        assert len(here.service.asked) == 1


async def _silent(_: Any, receive: Any, __: Any) -> None:
    """Answer nothing until the proxy gives up."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _broken(_: Any, __: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 500, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _elsewhere(_: Any, __: Any, send: Any) -> None:
    headers = [(b"location", b"http://127.0.0.1:1/")]
    await send({"type": "http.response.start", "status": 302, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("sidecar", [_silent, _broken, _elsewhere])
def test_a_sidecar_that_does_not_say_yes_says_no(
    name: str, folder: Path, sidecar: Callable[..., Any]
) -> None:
    """Silent, broken, or sending elsewhere: the request does not reach the service."""
    with standing(name, folder, sidecar=sidecar) as here:
        answer = here.ask(here.fabric.badge())
        assert not answer.is_success
        assert answer.status_code != 404
        assert here.service.asked == []


def test_the_command_behind_a_proxy(name: str, folder: Path) -> None:
    """`rescind up`, `rescind sidecar`, a kill from the shell; a sidecar that ended fails closed."""
    terminal, service = Terminal(folder / "h"), Service()
    with (
        terminal.start("up", "--port", "0", "--json") as running,
        serving(service) as behind,
    ):
        running.wait_for("state", state="LIVE")
        headers = {"X-Capiscio-Badge": terminal.issue("x7")}
        with (
            terminal.start("sidecar", "--listen", f"unix:{folder}/a.sock", "--json") as sidecar,
            proxy(SHOWN / name, folder, places(name, folder, behind)) as front,
            httpx2.Client(base_url=front, headers=headers, timeout=WITHIN_S) as client,
        ):
            sidecar.wait_for("listening")
            wait_until(lambda: client.get("/orders/7").status_code == 200, WITHIN_S)
            assert service.own("agent") == [did("x7")]
            assert terminal.run("kill", "agent", did("x7")).code == 0
            wait_until(lambda: client.get("/orders/7").status_code == 401, WITHIN_S)
            client.headers["X-Capiscio-Badge"] = terminal.issue("x8")
            assert client.get("/orders/7").status_code == 200
            reached = len(service.asked)
            sidecar.process.terminate()
            sidecar.process.wait(WITHIN_S)
            assert client.get("/orders/7").status_code == 503
            assert len(service.asked) == reached
