"""The badge map as it comes with a plain HTTP request."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from rescind_guard import Code, Decision, Guard
from rescind_guard.integrations import carriage, http
from rescind_guard.integrations.asgi import GuardASGI
from rescind_guard.integrations.wsgi import GuardWSGI
from rescind_protocol import targets
from tests.fakes.badges import AGENT, Scene
from tests.unit.guard.test_hops import ROOT, chain, encoded


def decide(scene: Scene, *maps: str, exempt: bool = False) -> Decision:
    """Decide on a request with these maps."""
    headers = [("X-Capiscio-Badge", scene.issuer.badge())]
    headers += [("X-Capiscio-Badge-Map", each) for each in maps]
    return http.decide(scene.guard(), iter(headers), tool="t", bearer="badge", exempt=exempt)


def test_a_killed_hop_denies_a_request() -> None:
    """And a living one does not."""
    scene = Scene()
    header = encoded(chain(scene))
    assert decide(scene, header)
    scene.revocations.kill(targets.agent(ROOT))
    assert decide(scene, header).code is Code.BADGE_REVOKED
    assert decide(scene), "what is left out cannot be seen"


def test_two_maps_and_a_dead_caller_are_refused() -> None:
    """The caller's own kill is the answer, whatever is behind it."""
    scene = Scene()
    header = encoded(chain(scene))
    assert decide(scene, header, header).code is Code.BADGE_MALFORMED
    scene.revocations.kill(targets.agent(AGENT))
    assert not decide(scene, header).reason.startswith("a hop")


Work = Callable[[], object]
"""What a handler does before it answers."""
Place = Callable[[Guard, dict[str, str], Work], int]
"""Sends one request with these headers through a guarded application; returns the status."""


def over_wsgi(guard: Guard, headers: dict[str, str], work: Work) -> int:
    """As a WSGI server does it."""
    statuses: list[int] = []

    def app(_: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        work()
        start("200 OK", [])
        return [b"300 widgets"]

    def start(status: str, _: object, *__: object) -> Callable[[bytes], object]:
        statuses.append(int(status[:3]))
        return lambda _: None

    named = {f"HTTP_{name.upper().replace('-', '_')}": said for name, said in headers.items()}
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/orders"} | named
    list(GuardWSGI(app, guard)(environ, start))
    return statuses[0]


def over_asgi(guard: Guard, headers: dict[str, str], work: Work) -> int:
    """As an ASGI server does it."""
    sent: list[Any] = []

    async def app(_: object, __: object, send: Any) -> None:
        work()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"300 widgets"})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    raw = [(name.encode(), said.encode()) for name, said in headers.items()]
    scope = {"type": "http", "method": "GET", "path": "/orders", "headers": raw}
    asyncio.run(GuardASGI(app, guard)(scope, receive, send))
    status: int = sent[0]["status"]
    return status


PLACES = pytest.mark.parametrize("ask", [over_asgi, over_wsgi])


@PLACES
def test_every_place_reads_the_map(ask: Place) -> None:
    """A place that left the header out would let every killed hop pass."""
    scene = Scene()
    guard = scene.guard()
    sent = {"x-capiscio-badge": scene.issuer.badge()}
    mapped = sent | {"x-capiscio-badge-map": encoded(chain(scene))}
    assert ask(guard, mapped, lambda: None) == 200
    scene.revocations.kill(targets.agent(ROOT))
    assert ask(guard, mapped, lambda: None) == 401
    assert ask(guard, sent, lambda: None) == 200


@PLACES
def test_a_hop_killed_while_the_handler_runs_withholds_its_answer(ask: Place) -> None:
    """The second look (I3) is at the hops too; the caller itself is alive."""
    scene = Scene()
    sent = {"x-capiscio-badge": scene.issuer.badge()}
    mapped = sent | {"x-capiscio-badge-map": encoded(chain(scene))}
    assert ask(scene.guard(), mapped, lambda: scene.revocations.kill(targets.agent(ROOT))) == 401
    assert ask(scene.guard(), sent, lambda: None) == 200


@pytest.mark.parametrize("name", [b"X-Capiscio-Badge-Map", b"x-capiscio-badge-map"])
def test_no_handler_sees_the_map(name: bytes) -> None:
    """It is full of badges."""
    assert carriage.carries_badge(name, b"x")
    assert not http.is_kept(name, b"x", bearer="badge")


def test_a_policy_that_failed_is_no_fault_of_the_badge() -> None:
    """403: another badge would not help."""
    scene = Scene()
    guard = scene.guard(policy=lambda *_: 1 / 0)
    assert http.status_of(guard.check(scene.issuer.badge())) == 403
