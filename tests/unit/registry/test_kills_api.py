"""Kills and reinstatements over HTTP: every kind, many at once, once a key, nothing by halves."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from rescind.testing.badges import ISSUER
from rescind.testing.keys import key_of
from rescind_guard.didkey import from_public
from rescind_protocol import targets
from rescind_protocol.changes import Effect
from rescind_protocol.targets import Kind
from rescind_protocol.trust import TWO_KEY_KINDS
from rescind_registry.acts import TOKEN_SHARE
from rescind_registry.bodies import MAX_TARGETS
from rescind_registry.tokens import Scope
from tests.fakes.holder import DID, enrol
from tests.fakes.registry import Bench, benched

KEY_DID = from_public(key_of("agent").public)
AGENT = {"kind": "agent", "id": DID}
KINDS: list[tuple[dict[str, str], targets.Target]] = [
    ({"kind": "badge", "iss": ISSUER, "id": "ABC"}, targets.badge(ISSUER, "ABC")),
    (AGENT, targets.agent(DID)),
    ({"kind": "session", "id": "s1"}, targets.session("s1")),
    ({"kind": "key", "id": key_of("x").kid}, targets.key(key_of("x").kid)),
    ({"kind": "issuer", "iss": "HTTPS://Registry.Test.Example/"}, targets.issuer(ISSUER)),
    ({"kind": "everyone"}, targets.everyone()),
]


class Api:
    """One node, asked as an admin unless said otherwise."""

    def __init__(self, bench: Bench, client: TestClient[Litestar]) -> None:
        self.bench, self.client = bench, client
        self.admin = bench.token()

    def post(self, path: str, body: Any, **headers: str) -> Any:
        """Ask."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(path, json=body, headers={**self.admin, **named})

    def kill(self, *named: dict[str, str], **body: Any) -> Any:
        """Kill."""
        return self.post("/v1/kills", {"targets": list(named), **body})

    def revocations(self, **query: Any) -> Any:
        """List."""
        answer = self.client.get("/v1/revocations", params=query, headers=self.admin)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """Give a node."""
    with benched(tmp_path) as (bench, client):
        yield Api(bench, client)


# --- kills ---


@pytest.mark.parametrize(("named", "target"), KINDS, ids=[str(target.kind) for _, target in KINDS])
def test_every_kind_of_target_can_be_killed(
    api: Api, named: dict[str, str], target: targets.Target
) -> None:
    """In whatever spelling; it is in the view when the answer comes."""
    assert api.kill(named).status_code == 200
    assert api.bench.node.look.entry(target)


@pytest.mark.parametrize("when", [{"expires": 2**40 - 1}, {"expires_in_s": 2**39}])
def test_a_kill_that_ends_after_the_year_9999_is_listed_with_the_others(
    api: Api, when: dict[str, int]
) -> None:
    """No kill that somebody may say takes the list away from everybody."""
    assert api.kill(AGENT, **when).status_code == 200
    (listed,) = api.revocations(kind="all")["revocations"]
    assert listed["expiresAt"] == "9999-12-31T23:59:59Z"


@pytest.mark.parametrize(("named", "target"), KINDS, ids=[str(target.kind) for _, target in KINDS])
def test_a_wide_kill_needs_an_admin_s_token(
    api: Api, named: dict[str, str], target: targets.Target
) -> None:
    """A stolen token of scope `kill` stops no fleet, also hidden among others; and it is noted."""
    api.admin = api.bench.token(Scope.KILL)
    wide = target.kind in TWO_KEY_KINDS
    assert api.kill(AGENT, named).status_code == (403 if wide else 200)
    assert [each.what for each in api.bench.node.trail.entries()] == ["refused" if wide else "kill"]
    assert bool(api.bench.orders) is not wide


def test_a_token_that_is_no_admin_s_has_a_share_of_the_places(api: Api) -> None:
    """Stolen, it must not take the switch from the others."""
    api.kill(AGENT)
    api.admin = api.bench.token(Scope.KILL)
    api.kill({"kind": "session", "id": "s1"})
    assert [getattr(order, "share", 0) for order in api.bench.orders] == [None, TOKEN_SHARE]


@pytest.mark.parametrize("retract", [False, True])
@pytest.mark.parametrize(("named", "target"), KINDS, ids=[str(target.kind) for _, target in KINDS])
def test_the_end_of_a_wide_kill_needs_an_admin_s_token(
    api: Api, named: dict[str, str], target: targets.Target, *, retract: bool
) -> None:
    """A stolen token of scope `reinstate` has no stolen badge pass again; and it is noted."""
    assert api.kill(named).status_code == 200
    admin, api.admin = api.admin, api.bench.token(Scope.REINSTATE)
    wide = target.kind in TWO_KEY_KINDS
    aimed = {"targets": [named]} if retract else {"target": named}  # neither form is a way around
    retract = retract or target.kind is Kind.BADGE
    body = {**aimed, "retract": retract}
    assert api.post("/v1/reinstatements", body).status_code == (403 if wide else 200)
    what = [each.what for each in api.bench.node.trail.entries()][1]
    assert what == ("refused" if wide else "retract" if retract else "reinstate")
    if wide:
        api.admin = admin
        assert api.post("/v1/reinstatements", body).status_code == 200


def test_a_floor_ahead_needs_the_right_to_kill(api: Api) -> None:
    """Up to it badges are dead that are yet to be issued; a skew is what every floor has."""
    now = int(api.bench.fabric.now)
    for scopes, ahead_s, status in (
        ((Scope.REINSTATE,), 299, 403),
        ((Scope.REINSTATE,), 60, 200),
        ((Scope.REINSTATE, Scope.KILL), 299, 200),
        ((Scope.ADMIN,), 299, 200),
    ):
        api.admin = api.bench.token()
        assert api.kill(AGENT).status_code == 200
        api.admin = api.bench.token(*scopes)
        body = {"target": AGENT, "floor": now + ahead_s}
        assert api.post("/v1/reinstatements", body).status_code == status, scopes


def test_many_at_once_are_one_request(api: Api) -> None:
    """All of them are in force."""
    named = [{"kind": "agent", "id": f"did:web:a{n}.example"} for n in range(500)]
    said = api.kill(*named, reason="incident").json()
    assert len(said["ids"]) == 500
    assert len(api.bench.orders) == 1
    assert len(api.revocations(kind="all", limit=1000)["revocations"]) == 500


def test_one_bad_target_among_many_kills_none(api: Api) -> None:
    """All or none."""
    answer = api.kill(AGENT, {"kind": "agent", "id": "no did"})
    assert answer.status_code == 400
    assert api.bench.orders == []


def test_a_kill_ends_when_it_was_asked_to(api: Api) -> None:
    """By a time, or after a time; not by both, and not before it began."""
    now = int(api.bench.fabric.now)
    assert api.kill(AGENT, expires_in_s=50).status_code == 200
    assert api.kill(AGENT, expires=now + 100).status_code == 200
    assert api.kill(AGENT, expires="2031-01-31T12:00:00Z").status_code == 200
    entry = api.bench.node.look.entry(targets.agent(DID))
    assert entry
    ends = sorted(each.kill.expires_at or 0 for each in entry.revocations)
    assert ends == [now + 50, now + 100, 1_927_627_200]
    assert api.kill(AGENT, expires=now - 1).status_code == 400
    assert api.kill(AGENT, expires=now + 9, expires_in_s=9).status_code == 400
    assert api.kill(AGENT, expires="2031-01-31T12:00:00").status_code == 400


def test_who_asked_and_why_stand_in_the_event(api: Api) -> None:
    """The token's name, never the token."""
    api.kill(AGENT, reason="incident", reason_admin="INC-412", reason_user="ask security")
    (said,) = api.bench.fabric._ledger.live(targets.agent(DID))
    kill = said.kill
    assert kill.actor
    assert kill.actor.startswith("test (")
    assert (kill.reason, kill.reason_admin) == ("incident", "INC-412")


def test_a_suspension_is_a_kill_of_the_next_badge(api: Api) -> None:
    """With the effect `issuance`."""
    api.kill(AGENT, effect="issuance")
    entry = api.bench.node.look.entry(targets.agent(DID))
    assert entry
    assert next(iter(entry.revocations)).kill.effect is Effect.ISSUANCE


def test_without_a_broker_it_is_accepted_and_pending(api: Api) -> None:
    """202, never 200: no guard knows of it."""
    api.bench.brokers = False
    answer = api.kill(AGENT)
    assert answer.status_code == 202
    assert "PENDING" in answer.json()["message"]


# --- idempotency ---


def test_a_repeated_request_is_done_once(api: Api) -> None:
    """And answered with the same words, marked as a replay, with what is so now."""
    first = api.post("/v1/kills", {"targets": [AGENT]}, Idempotency_Key="k1")
    again = api.post("/v1/kills", {"targets": [AGENT]}, Idempotency_Key="k1")
    assert again.json() == first.json() | {"replayed": True, "killed_now": True}
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert len(api.bench.orders) == 1
    api.post("/v1/kills", {"targets": [AGENT]}, Idempotency_Key="k2")
    assert len(api.bench.orders) == 2


@pytest.mark.parametrize("how", ["/v1/kills", f"/v1/agents/{DID}/disable", "/v1/badges/abc/revoke"])
def test_a_replay_of_a_kill_that_was_ended_is_no_acceptance(api: Api, how: str) -> None:
    """It is refused in words, whatever was killed and however; under a new key it is killed."""
    target = {"kind": "badge", "iss": ISSUER, "id": "abc"} if "badges" in how else AGENT
    body = {"targets": [target], "effect": "use"} if how == "/v1/kills" else {}
    if "agents" in how:
        enrol(api.bench)
    assert api.post(how, body, Idempotency_Key="k1").is_success
    assert api.post(how, body, Idempotency_Key="k1").json()["killed_now"] is True
    api.post("/v1/reinstatements", {"target": target, "retract": True})
    again = api.post(how, body, Idempotency_Key="k1")
    assert again.status_code == 409
    assert "not killed any more" in again.text
    assert api.post(how, body, Idempotency_Key="k2").is_success
    assert api.post(how, body, Idempotency_Key="k1").json()["killed_now"] is True


def test_a_replay_where_nobody_can_tell_says_so(api: Api) -> None:
    """A view that is not fresh may lack the kill: neither accepted as of now, nor ended."""
    body = {"targets": [AGENT]}
    api.post("/v1/kills", body, Idempotency_Key="k1")
    api.post("/v1/reinstatements", {"target": AGENT, "retract": True})
    api.bench.fresh = False
    again = api.post("/v1/kills", body, Idempotency_Key="k1")
    assert (again.status_code, again.json()["killed_now"]) == (200, None)


def test_a_replay_of_a_reinstatement_says_that_it_is_killed_again(api: Api) -> None:
    """What was said then was so then."""
    api.kill(AGENT)
    api.post("/v1/reinstatements", {"target": AGENT}, Idempotency_Key="k1")
    again = api.post("/v1/reinstatements", {"target": AGENT}, Idempotency_Key="k1").json()
    assert (again["replayed"], again["killed_now"]) == (True, False)
    api.kill(AGENT)
    again = api.post("/v1/reinstatements", {"target": AGENT}, Idempotency_Key="k1").json()
    assert (again["replayed"], again["killed_now"]) == (True, True)


def test_a_key_used_with_another_body_is_refused(api: Api) -> None:
    """422, and nothing is done."""
    api.post("/v1/kills", {"targets": [AGENT]}, Idempotency_Key="k1")
    other = {"targets": [{"kind": "everyone"}]}
    answer = api.post("/v1/kills", other, Idempotency_Key="k1")
    assert (answer.status_code, answer.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert len(api.bench.orders) == 1


def test_a_request_that_failed_can_be_tried_again(api: Api) -> None:
    """Under the same key: it had no effect."""
    body = {"target": AGENT}
    assert api.post("/v1/reinstatements", body, Idempotency_Key="k").status_code == 409
    api.kill(AGENT)
    assert api.post("/v1/reinstatements", body, Idempotency_Key="k").status_code == 200


def test_keys_belong_to_their_token(api: Api) -> None:
    """Two callers that count from one do not meet."""
    api.post("/v1/kills", {"targets": [AGENT]}, Idempotency_Key="1")
    api.admin = api.bench.token()
    assert api.post(
        "/v1/kills", {"targets": [{"kind": "everyone"}]}, Idempotency_Key="1"
    ).is_success
    assert len(api.bench.orders) == 2


# --- reinstatements ---


def test_a_reinstatement_ends_what_it_names(api: Api) -> None:
    """And there is nothing to end twice: 409."""
    ids = api.kill(AGENT).json()["ids"]
    ended = api.post("/v1/reinstatements", {"target": AGENT}).json()
    assert ended["ended"] == ids
    again = api.post("/v1/reinstatements", {"target": AGENT})
    assert (again.status_code, again.json()["code"]) == (409, "NOTHING_LIVE")


def test_a_badge_is_retracted_and_not_reinstated(api: Api) -> None:
    """Its `iat` never changes."""
    named = {"kind": "badge", "iss": ISSUER, "id": "abc"}
    api.kill(named)
    assert api.post("/v1/reinstatements", {"target": named}).status_code == 400
    body = {"target": named, "retract": True}
    assert api.post("/v1/reinstatements", body).status_code == 200


# --- one target, or a list ---


@pytest.mark.parametrize("said", [{"target": AGENT}, {"targets": [AGENT]}])
def test_a_kill_and_its_end_name_targets_alike(api: Api, said: dict[str, Any]) -> None:
    """`target` or `targets`, in both requests; both answers have `targets`."""
    killed, ended = (api.post(f"/v1/{name}", said) for name in ("kills", "reinstatements"))
    assert (killed.status_code, ended.status_code) == (200, 200)
    assert killed.json()["targets"] == ended.json()["targets"] == [f"agent {DID}"]
    assert ended.json()["ended"] == killed.json()["ids"]


@pytest.mark.parametrize("path", ["/v1/kills", "/v1/reinstatements"])
@pytest.mark.parametrize(
    "said", [{}, {"targets": []}, {"target": None}, {"target": AGENT, "targets": [AGENT]}]
)
def test_a_request_with_no_target_or_both_members_is_refused(
    api: Api, path: str, said: dict[str, Any]
) -> None:
    """400, and nothing is done: of two members nobody knows which was meant."""
    api.kill({"kind": "session", "id": "s1"})
    assert api.post(path, said).status_code == 400
    assert len(api.bench.orders) == 1


def test_two_targets_are_not_ended_by_one_request(api: Api) -> None:
    """400, and both kills stay: none is left out without a word."""
    api.kill(AGENT)
    two = {"targets": [AGENT, {"kind": "session", "id": "s1"}]}
    assert api.post("/v1/reinstatements", two).status_code == 400
    assert len(api.bench.orders) == 1


# --- bad input ---


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "targets"),
        ({"targets": []}, "targets"),
        ({"targets": [{"kind": "planet"}]}, "kind"),
        ({"targets": [{"kind": "agent"}]}, "agent must be text"),
        ({"targets": [{"kind": "agent", "id": DID, "iss": ISSUER}]}, "has no iss"),
        ({"targets": [{"kind": "everyone", "id": "x"}]}, "has no id"),
        ({"targets": [AGENT], "colour": "red"}, "colour"),
        ({"targets": [AGENT], "reason": "x" * 65}, "reason"),
        ({"targets": [AGENT] * (MAX_TARGETS + 1)}, "targets"),
        ([], "object"),
    ],
)
def test_a_bad_body_is_400_and_one_sentence(api: Api, body: Any, said: str) -> None:
    """Nothing is changed."""
    answer = api.post("/v1/kills", body)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert said in answer.json()["detail"]
    assert api.bench.orders == []


def test_what_is_not_json_is_told_apart(api: Api) -> None:
    """Broken JSON 400, another media type 415, too many bytes 413."""
    json, text = ({**api.admin, "Content-Type": each} for each in ("application/json", "text/xml"))
    post = api.client.post
    assert post("/v1/kills", content=b"{", headers=json).status_code == 400
    assert post("/v1/kills", content=b"<a/>", headers=text).status_code == 415
    assert post("/v1/kills", content=b" " * (9 << 20), headers=json).status_code == 413
    assert api.bench.orders == []


def test_errors_are_said_as_the_path_has_it(api: Api) -> None:
    """Problem details on our own, `{"error"}` on the reference's."""
    ours = api.client.post("/v1/kills", json={})
    assert (ours.status_code, ours.json()["status"]) == (401, 401)
    theirs = api.client.get("/v1/revocations")
    assert (theirs.status_code, set(theirs.json())) == (401, {"error", "code"})


# --- the list ---


def test_pages_miss_nothing_and_repeat_nothing(api: Api) -> None:
    """However small; then `nextCursor` is null, and `cursor` finds what is new."""
    for n in range(7):
        api.kill({"kind": "badge", "iss": ISSUER, "id": f"jti-{n}"})
    seen: list[str] = []
    page = api.revocations(limit=2)
    while True:
        seen += [each["jti"] for each in page["revocations"]]
        if page["nextCursor"] is None:
            break
        page = api.revocations(limit=2, cursor=page["nextCursor"])
    assert sorted(seen) == [f"jti-{n}" for n in range(7)]
    assert api.revocations(cursor=page["cursor"])["revocations"] == []
    api.kill({"kind": "badge", "iss": ISSUER, "id": "new"})
    (new,) = api.revocations(cursor=page["cursor"])["revocations"]
    assert new["jti"] == "new"


def test_since_is_a_time_or_a_cursor(api: Api) -> None:
    """Clients of the reference give either."""
    api.kill({"kind": "badge", "iss": ISSUER, "id": "old"})
    api.bench.fabric.pass_s(100)
    later = int(api.bench.fabric.now)
    api.kill({"kind": "badge", "iss": ISSUER, "id": "new"})
    (found,) = api.revocations(since=later)["revocations"]
    assert found["jti"] == "new"
    page = api.revocations(limit=1)
    assert len(api.revocations(since=page["nextCursor"])["revocations"]) == 1


def test_a_list_of_badges_names_badges_alone(api: Api) -> None:
    """With `kind=all` every target."""
    api.kill(AGENT)
    assert api.revocations()["revocations"] == []
    (found,) = api.revocations(kind="all")["revocations"]
    assert (found["target"], "jti" in found) == (AGENT, False)


@pytest.mark.parametrize("cursor", ["x", "e30x", "eyJhIjoxfQ"])
def test_an_unknown_cursor_is_gone(api: Api, cursor: str) -> None:
    """410, and what to do."""
    for name in ("cursor", "since"):
        answer = api.client.get("/v1/revocations", params={name: cursor}, headers=api.admin)
        assert answer.status_code == 410
        assert "begin again without one" in answer.json()["error"]


def test_a_cursor_of_another_fabric_is_gone(api: Api, tmp_path: Path) -> None:
    """It names a log that this node does not have."""
    api.kill(AGENT)
    foreign = api.revocations()["cursor"]
    with benched(tmp_path / "other") as (bench, client):
        other = Api(bench, client)
        answer = client.get("/v1/revocations", params={"cursor": foreign}, headers=other.admin)
        assert answer.status_code == 410


# --- who may ---


def test_every_route_asks_for_its_scope(api: Api) -> None:
    """Without: 401; with every scope but the right one: 403."""
    enrol(api.bench)
    public = {"/healthz", "/readyz"}
    public |= {f"/.well-known/{each}" for each in ("jwks.json", "publishers.jwks.json")}
    public |= {f"/v1/agents/{{did}}/badge/{each}" for each in ("challenge", "pop")}
    tried = 0
    for path, operations in api.client.get("/openapi.json").json()["paths"].items():
        for method in operations:
            if path in public:
                continue
            url = path.replace("{did}", DID).replace("{jti}", "abc")
            assert api.client.request(method, url).status_code == 401, (method, path)
            allowed = [
                scope
                for scope in Scope
                if api.client.request(method, url, headers=api.bench.token(scope)).status_code
                != 403
            ]
            assert Scope.ADMIN in allowed, (method, path)
            assert len(allowed) <= 2, (method, path, allowed)
            tried += 1
    assert tried > 10


def test_the_reference_s_header_says_the_token_too(api: Api) -> None:
    """X-Capiscio-Registry-Key."""
    token = api.admin["Authorization"].removeprefix("Bearer ")
    header = {"X-Capiscio-Registry-Key": token}
    assert api.client.get("/v1/agents", headers=header).status_code == 200


def test_too_many_bad_tokens_are_told_to_wait_and_a_good_one_is_not(api: Api) -> None:
    """Whoever guesses behind the same address cannot lock the kill switch."""
    codes = [api.client.get("/v1/agents").status_code for _ in range(25)]
    assert (codes[0], codes[-1]) == (401, 429)
    assert api.kill(AGENT).status_code == 200


# --- the audit ---


def test_the_audit_has_who_what_why_and_from_where(api: Api) -> None:
    """Also of what was refused; and never a token."""
    api.kill(AGENT, reason_admin="INC-412")
    api.post("/v1/reinstatements", {"target": {"kind": "session", "id": "none"}})
    api.client.post("/v1/kills", json={}, headers=api.bench.token(Scope.READ))
    kill, ended, refused = api.bench.node.trail.entries()
    assert (kill.what, kill.why, kill.where) == ("kill", "INC-412", "testclient")
    assert kill.targets == (f"agent {DID}",)
    assert kill.ids
    assert ended.outcome == "refused: NOTHING_LIVE"
    assert (refused.what, refused.targets) == ("refused", ("POST /v1/kills",))
    secret = api.admin["Authorization"].split("_")[-1]
    assert secret not in api.bench.node.trail.path.read_text()


def test_what_was_refused_is_not_audited_as_done(api: Api) -> None:
    """Who is enrolled otherwise is not enrolled again, and whom nobody knows is not removed."""
    for level in (1, 1, 2):
        api.post("/v1/agents", {"did": KEY_DID, "level": level, "domain": "acme.example"})
    for _ in range(2):
        api.client.delete(f"/v1/agents/{KEY_DID}", headers=api.admin)
    assert [(each.what, each.outcome) for each in api.bench.node.trail.entries()] == [
        ("enrol", "done"),
        ("enrol", "done"),
        ("enrol", "refused: AGENT_EXISTS"),
        ("remove", "done"),
        ("remove", "refused: AGENT_UNKNOWN"),
    ]
    assert {each.targets for each in api.bench.node.trail.entries()} == {(KEY_DID,)}


def test_nobody_is_enrolled_or_removed_unwritten(api: Api) -> None:
    """Unlike a kill, it can wait until the trail can be written."""
    body = {"did": KEY_DID, "domain": "acme.example"}
    trail = api.bench.node.trail.path
    trail.mkdir(parents=True)
    assert api.post("/v1/agents", body).status_code == 503
    trail.rmdir()
    assert api.client.delete(f"/v1/agents/{KEY_DID}", headers=api.admin).status_code == 404
    assert api.post("/v1/agents", body).status_code == 201
    trail.rename(trail.with_suffix(".kept"))
    trail.mkdir()
    assert api.client.delete(f"/v1/agents/{KEY_DID}", headers=api.admin).status_code == 503
    assert api.client.get(f"/v1/agents/{KEY_DID}", headers=api.admin).status_code == 200


def test_a_kill_is_not_held_up_by_the_audit(api: Api) -> None:
    """It is done, and the answer says what is missing."""
    api.bench.node.trail.path.mkdir(parents=True)
    answer = api.kill(AGENT)
    assert answer.status_code == 200
    assert "not in the audit trail" in answer.json()["warnings"][0]
    assert api.bench.node.look.entry(targets.agent(DID))
