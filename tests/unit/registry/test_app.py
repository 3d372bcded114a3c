"""The application of a node: health, and the seam that feeds use."""

from pathlib import Path
from typing import Any

import pytest
from litestar import Request, get
from litestar.openapi.spec import OpenAPI
from litestar.testing import TestClient

from rescind_registry.app import build
from rescind_registry.auth import PUBLIC
from rescind_registry.node import node_of
from tests.fakes.registry import Bench, benched


def test_a_node_is_ready_while_its_view_is_fresh_and_alive_in_any_case(tmp_path: Path) -> None:
    """One that cannot tell issues nothing, and a restart would not help it."""
    with benched(tmp_path) as (bench, client):
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()) == (200, {"ready": True})
        bench.fresh = False
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()) == (503, {"ready": False})
        alive = client.get("/healthz")
        assert (alive.status_code, alive.json()) == (200, {"alive": True})


def test_head_is_answered_as_get_without_a_body(tmp_path: Path) -> None:
    """Of every route, also one that refuses; a method that no route has is still none."""
    with benched(tmp_path) as (bench, client):
        for path in ("/healthz", "/readyz", "/.well-known/jwks.json", "/openapi.json", "/v1/kills"):
            get, head = client.get(path), client.head(path)
            assert (head.status_code, head.content) == (get.status_code, b""), path
        bench.fresh = False
        assert client.head("/readyz").status_code == 503
        assert client.head("/nothing").status_code == 404


@get("/feed", opt=PUBLIC, sync_to_thread=False)
def feed(request: Request[Any, Any, Any]) -> str:
    """Answer from the node, as a feed does."""
    return node_of(request).config.issuer


def test_a_feed_brings_its_routes(tmp_path: Path) -> None:
    """And reaches the node that serves it."""
    bench = Bench(tmp_path)
    with TestClient(build(bench.node, [feed])) as client:
        assert client.get("/feed").text == bench.node.config.issuer


def test_the_document_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may ask for it, and making it holds up the loop."""
    made: list[object] = []
    whole = OpenAPI.to_schema

    def counted(self: OpenAPI) -> Any:
        made.append(self)
        return whole(self)

    monkeypatch.setattr(OpenAPI, "to_schema", counted)
    with benched(tmp_path) as (_, client):
        first, again = (client.get("/openapi.json") for _ in range(2))
    assert "/v1/kills" in first.json()["paths"]
    assert (first.content, len(made)) == (again.content, 1)
