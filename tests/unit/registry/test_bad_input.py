"""Bad input over HTTP: the right status, one clear sentence, and nothing changed."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from rescind.testing.badges import ISSUER
from rescind_registry.bodies import MAX_TARGETS
from rescind_registry.problems import is_reference
from rescind_registry.tokens import Scope
from tests.fakes.holder import DID, enrol
from tests.fakes.registry import Bench, benched

UNKNOWN = "did:web:acme.example:nobody"
AGENT = {"kind": "agent", "id": DID}
KEY = "INC-412"
"""An Idempotency-Key that a kill was asked for under already."""
JSON = "application/json"
MAX_SENTENCE_CHARS = 400
PAST = "2001-01-01T00:00:00Z"


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One request, and what has to be answered."""

    ask: str
    """Method and path."""
    status: int
    says: str
    """Somewhere in the sentence."""
    body: Any = None
    raw: bytes | None = None
    """Instead of a body: sent as it is."""
    media_type: str = JSON
    scopes: tuple[Scope, ...] = (Scope.ADMIN,)
    key: str | None = None


def kill(**body: Any) -> dict[str, Any]:
    """Return what asks for the kill of an agent that is enrolled."""
    return {"targets": [AGENT], **body}


def enrolment(did: str, **more: Any) -> dict[str, Any]:
    """Return what asks to enrol an agent."""
    return {"did": did, "public_key": "A" * 43, **more}


CASES: dict[str, Case] = {
    # unknown agents
    "status of an unknown agent": Case(
        ask=f"GET /v1/agents/{UNKNOWN}/status", status=404, says="no agent"
    ),
    "an unknown agent": Case(ask=f"GET /v1/agents/{UNKNOWN}", status=404, says="no agent"),
    "remove an unknown agent": Case(
        ask=f"DELETE /v1/agents/{UNKNOWN}", status=404, says="no agent"
    ),
    "a badge for an unknown agent": Case(
        ask=f"POST /v1/agents/{UNKNOWN}/badge", body={}, status=404, says="no agent"
    ),
    "disable an unknown agent": Case(
        ask=f"POST /v1/agents/{UNKNOWN}/disable", body={}, status=404, says="no agent"
    ),
    "enable an unknown agent": Case(
        ask=f"POST /v1/agents/{UNKNOWN}/enable", body={}, status=404, says="no agent"
    ),
    # bad DIDs
    "enrol what is no DID": Case(
        ask="POST /v1/agents", body=enrolment("x7"), status=400, says="DID"
    ),
    "kill what is no DID": Case(
        ask="POST /v1/kills",
        body={"targets": [{"kind": "agent", "id": "web:x7"}]},
        status=400,
        says="DID",
    ),
    "disable what is no DID": Case(
        ask="POST /v1/agents/x7/disable", body={}, status=400, says="DID"
    ),
    "enrol a broken key": Case(
        ask="POST /v1/agents",
        body=enrolment(UNKNOWN, public_key="A"),
        status=400,
        says="public_key: ",
    ),
    # times
    "an expiry in the past": Case(
        ask="POST /v1/kills", body=kill(expires=PAST), status=400, says="expiry"
    ),
    "an expiry that is no time": Case(
        ask="POST /v1/kills", body=kill(expires="soon"), status=400, says="expires"
    ),
    "an expiry in no seconds": Case(
        ask="POST /v1/kills", body=kill(expires_in_s=0), status=400, says="expires_in_s"
    ),
    "a life of a badge beyond an hour": Case(
        ask=f"POST /v1/agents/{DID}/badge", body={"ttl": 3601}, status=400, says="3600"
    ),
    # scopes
    "kill with the scope to read": Case(
        ask="POST /v1/kills", body=kill(), scopes=(Scope.READ,), status=403, says="kill"
    ),
    "reinstate with the scope to kill": Case(
        ask="POST /v1/reinstatements",
        body={"target": AGENT},
        scopes=(Scope.KILL,),
        status=403,
        says="reinstate",
    ),
    "enrol with the scope to issue": Case(
        ask="POST /v1/agents",
        body=enrolment(UNKNOWN),
        scopes=(Scope.ISSUE,),
        status=403,
        says="admin",
    ),
    "read with the scope to kill": Case(
        ask="GET /v1/revocations", scopes=(Scope.KILL,), status=403, says="read"
    ),
    "no token": Case(ask="POST /v1/kills", body=kill(), scopes=(), status=401, says="token"),
    # keys used again
    "a key used with another body": Case(
        ask="POST /v1/kills", body=kill(reason="other"), key=KEY, status=422, says="Idempotency-Key"
    ),
    "a key used on another path": Case(
        ask="POST /v1/agents",
        body=enrolment(UNKNOWN),
        key=KEY,
        status=422,
        says="Idempotency-Key",
    ),
    "a key without end": Case(
        ask="POST /v1/kills", body=kill(), key="k" * 300, status=400, says="idempotency_key"
    ),
    # sizes
    "a list too long": Case(
        ask="POST /v1/kills",
        body={"targets": [{"kind": "session", "id": "s"}] * (MAX_TARGETS + 1)},
        status=400,
        says=str(MAX_TARGETS),
    ),
    "a body too large": Case(ask="POST /v1/kills", raw=b" " * (9 << 20), status=413, says="large"),
    "a page too large": Case(ask="GET /v1/revocations?limit=100000", status=400, says="limit"),
    # forms
    "broken JSON": Case(ask="POST /v1/kills", raw=b'{"targets": [', status=400, says="body"),
    "no body": Case(ask="POST /v1/kills", status=400, says="no body"),
    "JSON of another shape": Case(ask="POST /v1/kills", body=[1], status=400, says="object"),
    "bytes that are no text": Case(
        ask="POST /v1/kills", raw=b'{"targets": "\xff"}', status=400, says="UTF-8"
    ),
    "another media type": Case(
        ask="POST /v1/kills", raw=b"<kill/>", media_type="text/xml", status=415, says=JSON
    ),
    "a form": Case(
        ask="POST /v1/agents",
        raw=b"did=x",
        media_type="application/x-www-form-urlencoded",
        status=415,
        says=JSON,
    ),
    "a member that is not known": Case(
        ask="POST /v1/kills", body=kill(colour="red"), status=400, says="colour"
    ),
    # cursors and the rest
    "a cursor that is not known": Case(
        ask="GET /v1/revocations?cursor=e30x", status=410, says="begin again without one"
    ),
    "since what is not known": Case(
        ask="GET /v1/revocations?since=e30x", status=410, says="begin again without one"
    ),
    "nothing to end": Case(
        ask="POST /v1/reinstatements",
        body={"target": {"kind": "session", "id": "never"}},
        status=409,
        says="never",
    ),
    "a badge that nobody issued": Case(
        ask="GET /v1/badges/0b0e1d4e/status", status=404, says="badge"
    ),
    "a proof of no challenge": Case(
        ask=f"POST /v1/agents/{DID}/badge/pop",
        body={"challenge_id": "x", "proof_jws": "x"},
        status=403,
        says="proof_jws",
    ),
    "no such path": Case(ask="GET /v1/kill", status=404, says="openapi.json"),
    "no such method": Case(ask="PUT /v1/kills", body=kill(), status=405, says="PUT"),
}


class Api(msgspec.Struct, frozen=True):
    """A node that nothing here may change."""

    bench: Bench
    client: TestClient[Litestar]
    first: dict[str, str]
    """The token and the key of a kill that was asked for."""

    def ask(self, case: Case) -> Any:
        """Ask, and return the answer."""
        method, path = case.ask.split(" ", 1)
        headers = self.bench.token(*case.scopes) if case.scopes else {}
        if case.key is not None:
            headers = self.first | {"Idempotency-Key": case.key}
        content = case.raw if case.body is None else msgspec.json.encode(case.body)
        if content is not None:
            headers["Content-Type"] = case.media_type
        return self.client.request(method, path, content=content, headers=headers)

    def everything(self) -> object:
        """Return all that a request could have changed."""
        agents = self.bench.node.agents.page(limit=100)
        badges = self.bench.node.store.rows("SELECT * FROM badges")
        answered = self.bench.node.store.rows("SELECT * FROM answered")
        table = dict(self.bench.view.published.table.items())
        return agents, badges, answered, table, len(self.bench.orders)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Give a node with an agent, and a kill that was asked for under a key."""
    with benched(tmp_path_factory.mktemp("node")) as (bench, client):
        enrol(bench)
        first = {**bench.token(), "Idempotency-Key": KEY}
        body = {"targets": [{"kind": "badge", "iss": ISSUER, "id": "first"}]}
        assert client.post("/v1/kills", json=body, headers=first).status_code == 200
        yield Api(bench, client, first)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_bad_input(api: Api, case: Case) -> None:
    """One sentence in the form of its path, the right status, and all is as it was."""
    before = api.everything()
    answer = api.ask(case)
    assert answer.status_code == case.status, answer.text
    said = answer.json()
    sentence = said["error"] if is_reference(case.ask.split(" ", 1)[1]) else said["detail"]
    assert case.says in sentence
    assert "\n" not in sentence
    assert len(sentence) < MAX_SENTENCE_CHARS
    assert api.everything() == before


def test_good_input_changes_something(api: Api) -> None:
    """The control: what `everything` shows is what a request changes."""
    before = api.everything()
    assert api.ask(Case(ask="POST /v1/kills", body=kill(), status=200, says="")).is_success
    assert api.everything() != before
