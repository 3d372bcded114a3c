"""Whatever the OpenAPI document allows, and what it does not, gets an answer that it documents."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

from rescind.testing.keys import key_of
from rescind_protocol.limits import MAX_ID_CHARS
from rescind_registry import agents
from rescind_registry.routes.document import exact
from tests.fakes.registry import Bench

EXAMPLES = 8
"""Of each operation and each mode; thousands were tried when it was written."""
HTTP_TOO_LARGE = 413
DID = "did:web:acme.example:x7"
BEYOND_SCHEMA = [checks.positive_data_acceptance]
"""A DID, a cursor, a proof have rules that JSON Schema cannot say: such requests are refused."""
WITHOUT_INPUT = [
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/.well-known/publishers.jwks.json"),
]
OPERATIONS = [
    ("GET", "/v1/agents"),
    ("POST", "/v1/agents"),
    ("GET", "/v1/agents/{did}"),
    ("DELETE", "/v1/agents/{did}"),
    ("GET", "/v1/agents/{did}/status"),
    ("POST", "/v1/agents/{did}/disable"),
    ("POST", "/v1/agents/{did}/enable"),
    ("POST", "/v1/agents/{did}/badge"),
    ("POST", "/v1/agents/{did}/badge/challenge"),
    ("POST", "/v1/agents/{did}/badge/pop"),
    ("GET", "/v1/badges/{jti}/status"),
    ("POST", "/v1/badges/{jti}/revoke"),
    ("POST", "/v1/sdk/badges/{jti}/revoke"),
    ("POST", "/v1/kills"),
    ("POST", "/v1/reinstatements"),
    ("GET", "/v1/revocations"),
]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Give a node with an agent."""
    made = Bench(tmp_path)
    agent = agents.make(DID, public=key_of(DID).public, domain=None, level=2, now=made.fabric.now)
    made.node.agents.enrol(agent)
    with made.fabric:
        yield made
    made.node.close()


def document_of(bench: Bench) -> Any:
    """Read the node's OpenAPI document, as any client does."""
    return schemathesis.openapi.from_asgi("/openapi.json", bench.app)


def test_every_operation_is_tried(bench: Bench) -> None:
    """A new one has to be named above."""
    found = [each.ok() for each in document_of(bench).get_all_operations()]
    assert sorted((each.method.upper(), each.path) for each in found) == sorted(
        OPERATIONS + WITHOUT_INPUT
    )


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [
        *((*each, GenerationMode.POSITIVE) for each in WITHOUT_INPUT),
        *((*each, mode) for each in OPERATIONS for mode in GenerationMode),
    ],
)
def test_every_answer_is_documented_and_none_is_a_failure_of_ours(
    bench: Bench, method: str, path: str, mode: GenerationMode
) -> None:
    """No 5xx, no status, media type or shape that the document does not name."""
    operation = document_of(bench)[path][method]
    token = bench.token()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def tried(case: Any) -> None:
        answer = case.call(headers=token)
        # 413 is a refusal, too; the check does not know it.
        known = [checks.negative_data_rejection] if answer.status_code == HTTP_TOO_LARGE else []
        case.validate_response(answer, headers=token, excluded_checks=[*BEYOND_SCHEMA, *known])

    tried()


def test_the_document_says_what_may_be_left_out_and_what_is_limited(bench: Bench) -> None:
    """Bodies that have a default, limits below the first level of a type, patterns of names."""
    document = exact(bench.app)
    revoke = document["paths"]["/v1/badges/{jti}/revoke"]["post"]
    assert revoke["requestBody"]["required"] is False
    assert document["paths"]["/v1/kills"]["post"]["requestBody"]["required"] is True
    audiences = document["components"]["schemas"]["BadgeBody"]["properties"]["badge_aud"]
    assert audiences["anyOf"][0]["items"]["maxLength"] == MAX_ID_CHARS
    did = document["paths"]["/v1/agents/{did}/status"]["get"]["parameters"][0]["schema"]
    assert re.fullmatch(did["pattern"], DID)
    assert not re.fullmatch(did["pattern"], "did:web:%7a/x")
