"""Whatever is asked of the feeds' paths, a node answers as its OpenAPI document says."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

from rescind_registry.failures import MOST
from tests.fakes.terminal import Terminal, admin_token, did

EXAMPLES = 20
BUNDLE = "/v1/bundles/{bundle_id}"
EVENTS = "/v1/events/revocations"
REPORTS = "/v1/reports"
BEYOND_SCHEMA = [checks.positive_data_acceptance]
"""A cursor and a bundle's name have rules that JSON Schema cannot say."""
FABRIC = "default"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Run a fabric with a node in which somebody is killed; give what it said."""
    terminal = Terminal(tmp_path_factory.mktemp("document") / "home")
    more = {"RESCIND_HEARTBEAT_S": "0.1", "RESCIND_REGISTRY_LISTEN": "127.0.0.1:0"}
    with terminal.start("up", "--port", "0", "--serve", "--json", **more) as up:
        said = up.wait_for("serving")
        assert terminal.run("kill", "agent", did("documented")).code == 0
        yield said


def headers_of(node: dict[str, Any]) -> dict[str, str]:
    """Return the header that says the node's token."""
    return {"Authorization": f"Bearer {admin_token(node)}"}


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize(("method", "path"), [("GET", BUNDLE), ("GET", EVENTS), ("POST", REPORTS)])
def test_every_answer_is_documented(
    node: dict[str, Any], method: str, path: str, mode: GenerationMode
) -> None:
    """No 5xx, no status, media type or shape that the document does not name."""
    operation = schemathesis.openapi.from_url(f"{node['url']}/openapi.json")[path][method]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def tried(case: Any) -> None:
        if path == EVENTS:
            case.query = {**(case.query or {}), "follow": "false"}  # else it never ends
        case.call_and_validate(headers=headers_of(node), excluded_checks=BEYOND_SCHEMA)

    tried()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/v1/bundles/{FABRIC}", 200),
        (f"/v1/bundles/{FABRIC}.tar.gz", 200),
        (f"/v1/bundles/{FABRIC}?mode=other", 400),
        ("/v1/bundles/another", 404),
        (f"{EVENTS}?follow=false&since=oldest", 200),
        (f"{EVENTS}?follow=maybe", 400),
        (f"{EVENTS}?follow=false&since=v1~made.up", 400),
        (f"{EVENTS}?follow=false&since=v1~AAAAAAAAAAAA.7", 410),
    ],
)
def test_the_statuses_are_reached(node: dict[str, Any], path: str, status: int) -> None:
    """Those that a request can bring about, each with one sentence."""
    answer = httpx2.get(node["url"] + path, headers=headers_of(node))
    assert answer.status_code == status, answer.text
    assert status == 200 or answer.json()["error"]


@pytest.mark.parametrize("path", [f"/v1/bundles/{FABRIC}", EVENTS])
def test_nobody_reads_without_a_token(node: dict[str, Any], path: str) -> None:
    """401, and 429 for whoever goes on; both are documented, and a good token is heard still."""
    answers = [httpx2.get(node["url"] + path) for _ in range(MOST + 1)]
    assert {each.status_code for each in answers} <= {401, 429}
    assert (answers[-1].status_code, answers[-1].json()["code"]) == (429, "TOO_MANY_FAILURES")
    query = {"follow": "false"}
    assert httpx2.get(node["url"] + path, params=query, headers=headers_of(node)).is_success
    found = schemathesis.openapi.from_url(f"{node['url']}/openapi.json").raw_schema["paths"]
    for each in (BUNDLE, EVENTS):
        assert {"401", "403", "429", "503"} <= set(found[each]["get"]["responses"])
