"""The application of a node: health, and the seam that feeds use."""

from pathlib import Path
from typing import Any

from litestar import Request, get
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
