"""The example services do what they say, run as a person runs them, beside `rescind up`."""

import sys
from pathlib import Path

import httpx2
import pytest

from tests.fakes.terminal import Running, Terminal, did, free_port
from tests.fakes.waiting import WITHIN_S, wait_until

ROOT = Path(__file__).parents[2]


def asked(url: str, badge: str | None = None) -> tuple[int, str]:
    """Return status and body; (0, "") while nobody listens."""
    headers = {"X-Capiscio-Badge": badge} if badge else {}
    try:
        answer = httpx2.get(url, headers=headers, timeout=WITHIN_S)
    except httpx2.TransportError:
        return 0, ""
    return answer.status_code, answer.text


SERVICES = ("asgi_orders", "django_orders", "fastapi_orders", "litestar_orders", "wsgi_orders")


@pytest.mark.parametrize("name", SERVICES)
def test_one_line_guards_a_service(name: str, tmp_path: Path) -> None:
    """`rescind.protect(app)`: an order for a good badge, none for a killed one, health for all."""
    terminal, port = Terminal(tmp_path / "home"), free_port()
    command = [sys.executable, str(ROOT / f"examples/{name}.py"), "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with terminal.start("up", "--port", "0", "--json") as running:
        running.wait_for("state", state="LIVE")
        badge = terminal.issue("x7")
        with Running(command, terminal.environment()):
            said = f"300 widgets, shipped (asked by {did('x7')})"
            wait_until(lambda: asked(f"{url}/orders/7", badge) == (200, said), 30)
            assert asked(f"{url}/orders/7")[0] == 401
            assert asked(f"{url}/healthz") == (200, "up")
            assert terminal.run("kill", "agent", did("x7")).code == 0
            wait_until(lambda: asked(f"{url}/orders/7", badge)[0] == 401, 30)
            assert "BADGE_REVOKED" in asked(f"{url}/orders/7", badge)[1]
            assert asked(f"{url}/healthz", badge)[0] == 401


def test_an_open_stream_of_an_example_ends(tmp_path: Path) -> None:
    """FastAPI's event stream: what was said was heard, then a kill ends it, idle as it is."""
    terminal, port = Terminal(tmp_path / "home"), free_port()
    command = [sys.executable, str(ROOT / "examples/fastapi_orders.py"), "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with terminal.start("up", "--port", "0", "--json") as running:
        running.wait_for("state", state="LIVE")
        headers = {"X-Capiscio-Badge": terminal.issue("x7")}
        with Running(command, terminal.environment()):
            wait_until(lambda: asked(f"{url}/orders/7", headers["X-Capiscio-Badge"])[0] == 200, 30)
            with httpx2.stream(
                "GET", f"{url}/events/7", headers=headers, timeout=WITHIN_S
            ) as stream:
                lines = (each for each in stream.iter_lines() if each)
                assert next(lines) == "data: 300 widgets, shipped"
                assert terminal.run("kill", "agent", did("x7")).code == 0
                assert list(lines) == []


def test_the_audit_finds_what_is_open_and_what_is_exempt(tmp_path: Path) -> None:
    """The example before `protect`: its routes are open, but for the one that says why."""
    terminal = Terminal(tmp_path / "home")
    done = terminal.run(
        "audit-routes", "asgi_orders:app", "--json", PYTHONPATH=str(ROOT / "examples")
    )
    assert done.code == 1, done
    found = {each["path"]: each["exempt"] or each["open"] for each in done.document["routes"]}
    assert found.pop("/orders/{number}") is True
    assert "probe of the load balancer" in found.pop("/healthz")
    assert not found
    guarded = tmp_path / "guarded.py"
    guarded.write_text(
        "from asgi_orders import app as inner\n"
        "from rescind.testing import Fabric\n"
        "from rescind_guard.integrations.asgi import GuardASGI\n"
        "app = GuardASGI(inner, Fabric().guard())\n"
    )
    path = f"{ROOT / 'examples'}:{tmp_path}"
    assert terminal.run("audit-routes", "guarded:app", PYTHONPATH=path).code == 0
