"""The guard in each framework, on a real server, asked by a real client."""

import asyncio
import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from rescind.testing import Fabric, TestBadge
from rescind_guard.integrations.asgi import GuardASGI
from rescind_guard.integrations.wsgi import GuardWSGI
from tests.fakes.places import FRAMEWORKS, ORDER, Steps, serving
from tests.fakes.waiting import WITHIN_S, wait_until


@pytest.fixture
def fabric() -> Iterator[Fabric]:
    """A fabric in memory: real badges, real kills."""
    with Fabric() as fabric:
        yield fabric


def get(url: str, badge: TestBadge | None = None, **headers: str) -> httpx2.Response:
    """Ask with a badge."""
    sent = {"X-Capiscio-Badge": badge.token} if badge else {}
    return httpx2.get(url, headers=sent | headers, timeout=WITHIN_S)


@pytest.mark.parametrize("name", sorted(FRAMEWORKS))
def test_every_framework_is_guarded(fabric: Fabric, name: str) -> None:
    """No badge, a good one, a killed one; unknown paths are refused like known ones."""
    steps = Steps()
    guard = fabric.guard(minimum_level=1)
    badge = fabric.badge()
    with serving(FRAMEWORKS[name](steps, guard)) as url:
        missing = get(f"{url}/orders/7")
        assert (missing.status_code, missing.json()["code"]) == (401, "TOOL_AUTH_MISSING")
        assert missing.headers["www-authenticate"] == "Bearer"
        assert get(f"{url}/nothing/here").status_code == 401
        spoofed = {"X-Rescind-Agent": "did:web:evil.example", "X-Rescind-Level": "4"}
        assert get(f"{url}/orders/7", badge, **spoofed).text == ORDER
        low = get(f"{url}/orders/7", fabric.badge(level=0))
        assert low.status_code in (401, 403)
        fabric.kill(badge, reason="compromise", reason_user="ask the security team")
        killed = get(f"{url}/orders/7", badge)
    assert (killed.status_code, killed.json()["code"]) == (401, "BADGE_REVOKED")
    assert "ask the security team" in killed.json()["error"]
    assert killed.headers["x-rescind-code"] == "BADGE_REVOKED"
    (headers,) = steps.seen
    assert not [each for each in headers if each.startswith(("x-rescind", "x-capiscio"))]


@pytest.mark.parametrize("name", sorted(FRAMEWORKS))
def test_cannot_tell_is_503(fabric: Fabric, name: str) -> None:
    """A view that is not fresh is neither yes nor no."""
    follower, badge = fabric.follower(), fabric.badge(ttl_s=3600)
    with serving(FRAMEWORKS[name](Steps(), fabric.guard(follower))) as url:
        fabric.cut(follower)
        fabric.pass_s(400)
        answer = get(f"{url}/orders/7", badge)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_two_badges_are_refused(fabric: Fabric) -> None:
    """Before either is looked at, over ASGI and WSGI; a foreign bearer is nobody's badge."""
    badge = fabric.badge()
    for name in ("starlette", "flask"):
        with serving(FRAMEWORKS[name](Steps(), fabric.guard())) as url:
            both = get(f"{url}/orders/7", badge, Authorization=f"Bearer {badge.token}")
            assert both.json()["code"] == "BADGE_MALFORMED"
            headers = [("X-Capiscio-Badge", badge.token)] * 2
            assert httpx2.get(f"{url}/orders/7", headers=headers).status_code == 401
            lent = get(f"{url}/orders/7", Authorization=f"Bearer {badge.token}")
            assert lent.text == ORDER


def test_an_exempt_route_needs_none(fabric: Fabric) -> None:
    """For its method; a killed badge is refused there too."""
    badge = fabric.badge()
    with serving(FRAMEWORKS["starlette"](Steps(), fabric.guard())) as url:
        assert get(f"{url}/healthz").text == "up"
        assert httpx2.post(f"{url}/healthz").status_code == 401
        assert get(f"{url}/healthz/").status_code == 401
        fabric.kill(badge)
        assert get(f"{url}/healthz", badge).status_code == 401


@pytest.mark.parametrize("name", ["starlette", "flask"])
def test_the_answer_of_a_killed_call_is_withheld(fabric: Fabric, name: str) -> None:
    """The kill comes while the handler works: it is let run, and its caller gets the refusal."""
    steps, badge = Steps(), fabric.badge()
    with serving(FRAMEWORKS[name](steps, fabric.guard())) as url:
        answer = _ask_meanwhile(fabric, steps, f"{url}/slow", badge)
    assert (answer.status_code, answer.json()["code"]) == (401, "BADGE_REVOKED")
    assert ORDER not in answer.text


@pytest.mark.parametrize("name", ["starlette", "flask"])
def test_without_the_second_look_it_would_not_be(
    fabric: Fabric, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: a guard that does not look again answers."""
    guard = fabric.guard()
    monkeypatch.setattr(guard, "recheck", lambda decision: decision)
    steps, badge = Steps(), fabric.badge()
    with serving(FRAMEWORKS[name](steps, guard)) as url:
        assert _ask_meanwhile(fabric, steps, f"{url}/slow", badge).text == ORDER


def _ask_meanwhile(fabric: Fabric, steps: Steps, url: str, badge: TestBadge) -> httpx2.Response:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(get, url, badge)
        assert steps.entered.wait(WITHIN_S)
        fabric.kill(badge)
        steps.go_on.set()
        return asked.result(WITHIN_S)


def test_an_idle_event_stream_ends(fabric: Fabric) -> None:
    """Its handler is cancelled; another agent's stream goes on."""
    steps, other, badge = Steps(), Steps(), fabric.badge()
    guard = fabric.guard()
    with (
        serving(FRAMEWORKS["starlette"](steps, guard)) as url,
        serving(FRAMEWORKS["starlette"](other, guard)) as url2,
    ):
        live = fabric.badge("did:web:a.example:x8")
        with (
            _stream(f"{url}/events", badge) as killed,
            _stream(f"{url2}/events", live) as kept,
        ):
            lines, others = killed.iter_lines(), kept.iter_lines()
            assert next(lines) == "data: first"
            assert next(others) == "data: first"
            assert steps.entered.wait(WITHIN_S)
            fabric.kill(badge)
            assert [each for each in lines if each] == []
            assert steps.cancelled.is_set()
            assert not other.cancelled.is_set()


def _stream(url: str, badge: TestBadge) -> Any:
    return httpx2.stream("GET", url, headers={"X-Capiscio-Badge": badge.token}, timeout=WITHIN_S)


@pytest.mark.parametrize("path", ["/events", "/export"])
def test_a_stream_of_threads_ends_with_its_next_part(fabric: Fabric, path: str) -> None:
    """Flask: nothing of the second part leaves."""
    steps, badge, seen = Steps(), fabric.badge(), b""
    app = FRAMEWORKS["flask"](steps, fabric.guard())
    with serving(app) as url, _stream(url + path, badge) as response:
        for part in response.iter_bytes():
            seen += part
            fabric.kill(badge)
            steps.go_on.set()
    assert seen == b"data: first\n\n"


def test_a_web_socket_is_refused_and_ended(fabric: Fabric) -> None:
    """With the status before it is accepted; closed with 1008 and the code once it is killed."""
    badge = fabric.badge()
    with serving(FRAMEWORKS["starlette"](Steps(), fabric.guard())) as url:
        address = f"{url.replace('http', 'ws', 1)}/listen"
        with pytest.raises(InvalidStatus) as refused, connect(address):
            pass
        assert refused.value.response.status_code == 401
        with connect(address, additional_headers={"X-Capiscio-Badge": badge.token}) as socket:
            socket.send("hello")
            assert socket.recv(WITHIN_S) == "hello"
            fabric.kill(badge)
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(WITHIN_S)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "BADGE_REVOKED")


class Stubborn:
    """An application that goes on through every cancellation, and notes what comes in."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a WebSocket, or an event stream."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
        elif scope["type"] == "http":
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        while scope["type"] != "lifespan" and not self.go_on.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                message = await receive()
                self.heard.append(message.get("text") or message["type"])
                if message["type"] == "websocket.receive":
                    await send({"type": "websocket.send", "text": "more"})


def test_a_web_socket_that_goes_on_through_its_cancellation_is_cut(fabric: Fabric) -> None:
    """It is closed; nothing that is sent to it then is heard, and nothing it says leaves."""
    badge, app = fabric.badge(), Stubborn()
    with serving(GuardASGI(app, fabric.guard())) as url:
        address = f"{url.replace('http', 'ws', 1)}/listen"
        headers = {"X-Capiscio-Badge": badge.token}
        with connect(address, additional_headers=headers) as socket:
            socket.send("first")
            assert socket.recv(WITHIN_S) == "more"
            fabric.kill(badge)
            with contextlib.suppress(ConnectionClosed):
                socket.send("second")
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(WITHIN_S)
        wait_until(lambda: "websocket.disconnect" in app.heard)
        app.go_on.set()
    # Where the second one came too late, the server's reset may overtake its own closing words.
    rcvd = closed.value.rcvd
    assert rcvd is None or (rcvd.code, rcvd.reason) == (1008, "BADGE_REVOKED")
    assert "second" not in app.heard


@pytest.mark.parametrize("exempt", [False, True])
def test_a_stream_that_goes_on_through_its_cancellation_ends(
    fabric: Fabric, *, exempt: bool
) -> None:
    """Its reader sees the end; also on an exempt path, where a badge came all the same."""
    badge, app = fabric.badge(), Stubborn()
    rules = {"GET /events": "a feed"} if exempt else {}
    with serving(GuardASGI(app, fabric.guard(), exempt=rules)) as url:
        with _stream(f"{url}/events", badge) as response:
            lines = response.iter_lines()
            assert next(lines) == "data: 1"
            fabric.kill(badge)
            assert [each for each in lines if each] == []
        app.go_on.set()


def test_an_exempt_stream_of_threads_ends_too(fabric: Fabric) -> None:
    """Exempt is not immune; without a badge it goes on."""
    steps, badge, seen = Steps(), fabric.badge(), b""
    app = FRAMEWORKS["flask"](steps, fabric.guard())
    app.wsgi_app = GuardWSGI(app.wsgi_app.app, fabric.guard(), exempt={"GET /events": "a feed"})
    with serving(app) as url:
        with _stream(f"{url}/events", badge) as response:
            for part in response.iter_bytes():
                seen += part
                fabric.kill(badge)
                steps.go_on.set()
        assert seen == b"data: first\n\n"
        assert get(f"{url}/events").text.endswith("data: second\n\n")
