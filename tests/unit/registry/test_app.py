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


def test_health_says_whether_the_view_is_fresh(tmp_path: Path) -> None:
    """A node that cannot tell is not healthy: it issues nothing."""
    with benched(tmp_path) as (bench, client):
        assert client.get("/healthz").status_code == 200
        bench.fresh = False
        assert client.get("/healthz").status_code == 503


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
