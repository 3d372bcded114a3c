"""Badges over HTTP: who gets one, for how long, and who does not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rescind.testing.keys import key_of
from rescind_guard import didkey
from rescind_guard.parsing import read
from rescind_protocol import targets
from rescind_protocol.changes import Effect
from rescind_protocol.encoding import b64url_decode
from rescind_protocol.limits import SKEW_S
from rescind_registry.failures import MOST
from rescind_registry.proofs import PROOF_S
from rescind_registry.routes.badges import MAX_PUBLIC_BODY_BYTES
from rescind_registry.tokens import Scope
from tests.fakes.holder import DID, Holder, enrol
from tests.fakes.registry import Bench, benched

AGENT = targets.agent(DID)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holder]:
    """Give an enrolled agent."""
    with benched(tmp_path) as (bench, client):
        enrol(bench)
        yield Holder(client, bench)


@pytest.fixture
def bench(holder: Holder) -> Bench:
    """Give its registry."""
    return holder.bench


def issue(holder: Holder, **body: Any) -> Any:
    """Ask for a badge by API token."""
    token = holder.bench.token(Scope.ISSUE)
    return holder.client.post(f"/v1/agents/{holder.did}/badge", json=body, headers=token)


# --- issuing ---


def test_a_guard_takes_the_badge_of_an_agent_that_proved_its_key(holder: Holder) -> None:
    """Bound to that key, ial "1", for whom and for how long it asked."""
    answer = holder.refresh(badge_ttl=120, badge_aud=["https://api.example"]).json()
    guard = holder.bench.fabric.guard(audience="https://api.example")
    assert guard.check(answer["badge"])
    said = read(answer["badge"]).payload
    assert (said.ial, said.exp - said.iat, said.jti) == ("1", 120, answer["jti"])
    assert said.cnf is not None
    assert said.cnf.kid == didkey.method_of(holder.key.public)


def test_a_badge_is_said_in_both_spellings(holder: Holder) -> None:
    """Clients of the reference read the one or the other."""
    answer = issue(holder).json()
    assert answer["data"]["token"] == answer["badge"]
    assert answer["data"]["expiresAt"] == answer["expires_at"]
    assert answer["data"]["subject"] == DID
    assert (answer["success"], answer["data"]["trustLevel"]) == (True, "2")


def test_a_badge_on_a_token_s_word_stands_in_the_audit_trail(holder: Holder) -> None:
    """By its jti, before it is given out; so does the one that was refused, and no badge itself."""
    given = issue(holder).json()
    issue(holder, ttl=1)
    holder.bench.fabric.kill(AGENT)
    assert issue(holder).status_code == 403
    done, malformed, refused = holder.bench.node.trail.entries()
    badge = targets.badge(holder.bench.node.config.iss, given["jti"])
    assert (done.what, done.outcome, done.targets) == ("issue", "done", (DID, str(badge)))
    assert (malformed.outcome, malformed.targets) == ("refused: MALFORMED", (DID,))
    assert refused.outcome == "refused: AGENT_DISABLED"
    assert given["badge"] not in holder.bench.node.trail.path.read_text()


def test_without_an_audit_trail_no_token_gets_a_badge(holder: Holder) -> None:
    """An agent that proves its key does: that is no act of anybody else."""
    holder.bench.node.trail.path.mkdir(parents=True)
    assert issue(holder).status_code == 503
    assert holder.refresh().status_code == 200


@pytest.mark.parametrize("spelled", ["badge_aud", "badgeAud"])
def test_what_is_asked_for_is_read_in_both_spellings(holder: Holder, spelled: str) -> None:
    """And `aud` in a badge is a list."""
    said = read(issue(holder, **{spelled: ["a"]}).json()["badge"]).payload
    assert said.aud == ("a",)
    assert said.ial == "0"


def test_every_badge_has_a_jti_of_its_own(holder: Holder) -> None:
    """A kill of one names one."""
    assert len({issue(holder).json()["jti"] for _ in range(5)}) == 5


@pytest.mark.parametrize(("ttl", "status"), [(60, 200), (3600, 200), (59, 400), (3601, 400)])
def test_a_badge_lives_60_to_3600_seconds(holder: Holder, ttl: int, status: int) -> None:
    """Beyond either end the answer says so."""
    answer = issue(holder, ttl=ttl)
    assert answer.status_code == status
    if status == 400:
        assert "60 to 3600" in answer.json()["error"]


def test_an_unknown_agent_gets_none(holder: Holder) -> None:
    """404 to who has a token for it."""
    url = "/v1/agents/did:web:nobody.example/badge"
    assert holder.client.post(url, headers=holder.bench.token()).status_code == 404


def test_a_stranger_does_not_learn_who_is_enrolled(holder: Holder) -> None:
    """A challenge has one shape, and a proof by another's key one answer, for both."""
    nobody = Holder(holder.client, holder.bench, "did:web:nobody.example")
    thief = Holder(holder.client, holder.bench, holder.did, key_of("thief"))
    challenges = [each.challenge() for each in (nobody, thief)]
    assert [set(each) for each in challenges] == [set(holder.challenge())] * 2
    answers = [
        each.client.post(f"/v1/agents/{each.did}/badge/pop", json=each.proof(challenge))
        for each, challenge in zip((nobody, thief), challenges, strict=True)
    ]
    assert [each.status_code for each in answers] == [403, 403]
    assert answers[0].json() == answers[1].json()


# --- proof of possession ---


@pytest.mark.parametrize(
    "change",
    [
        {"cid": "ch-another"},
        {"nonce": "e30.e30.e30"},
        {"sub": "did:web:acme.example:other"},
        {"aud": "https://elsewhere.example"},
        {"htu": "https://elsewhere.example/v1"},
        {"htm": "GET"},
        {"exp": 1},
        {"iat": 2**39},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_proof_for_something_else_is_refused(holder: Holder, change: dict[str, Any]) -> None:
    """And the right one still works: nothing was used up."""
    challenge = holder.challenge()
    refused = holder.redeem(holder.proof(challenge, **change))
    assert (refused.status_code, refused.json()["code"]) == (403, "PROOF_FAILED")
    assert holder.redeem(holder.proof(challenge)).status_code == 200


def test_a_challenge_is_taken_once(holder: Holder) -> None:
    """Whoever heard the proof has nothing of it."""
    proof = holder.proof(holder.challenge())
    assert holder.redeem(proof).status_code == 200
    again = holder.redeem(proof)
    assert again.status_code == 403
    assert "used already" in again.json()["error"]


@pytest.mark.parametrize("good", [True, False])
def test_a_proof_counts_for_a_minute_and_the_skew(holder: Holder, *, good: bool) -> None:
    """For no longer, since a stolen one may meet a node that has not seen it."""
    proof = holder.proof(holder.challenge())
    holder.bench.fabric.pass_s(PROOF_S + SKEW_S + (-1 if good else 1))
    answer = holder.redeem(proof)
    assert answer.status_code == (200 if good else 403)
    assert good or "proof has expired" in answer.json()["error"]


def test_a_proof_that_lives_too_long_is_refused(holder: Holder) -> None:
    """RFC-003 §5.2.2, step 16: at most a minute."""
    now = int(holder.bench.fabric.now)
    answer = holder.redeem(holder.proof(holder.challenge(), exp=now + PROOF_S + 1))
    assert answer.status_code == 403
    assert "lives too long" in answer.json()["error"]


@pytest.mark.parametrize("typ", ["JWT", "at+jwt", "secevent+jwt", "POP+JWT", ""])
def test_another_jwt_of_the_agents_is_not_a_proof(holder: Holder, typ: str) -> None:
    """RFC-003 §5.2.2, step 7: else what the agent signs elsewhere would prove its key."""
    answer = holder.redeem(holder.proof(holder.challenge(), typ=typ))
    assert (answer.status_code, answer.json()["code"]) == (403, "PROOF_FAILED")
    assert "pop+jwt" in answer.json()["error"]


@pytest.mark.parametrize(
    ("kid", "found"),
    [
        (None, didkey.method_of(key_of(DID).public)),
        (f"{DID}#key-1", f"{DID}#key-1"),
        ("did:web:acme.example:other#key-1", didkey.method_of(key_of(DID).public)),
        ("key-1", didkey.method_of(key_of(DID).public)),
    ],
)
def test_cnf_names_the_proven_key_by_a_did_url(holder: Holder, kid: str | None, found: str) -> None:
    """RFC-002 §4.3.3: of the agent's own document if the proof names it there, and no `jwk`."""
    answer = holder.redeem(holder.proof(holder.challenge(), kid=kid)).json()
    claims = json.loads(b64url_decode(answer["badge"].split(".")[1].encode()))
    assert claims["cnf"] == {"kid": found}
    assert claims["ial"] == "1"
    assert answer["data"]["cnf"] == {"kid": found}
    assert answer["data"]["assurance_level"] == "IAL-1"
    assert answer["data"]["trust_level"] == answer["data"]["trustLevel"] == "2"


def test_a_challenge_says_all_that_rfc_003_says(holder: Holder) -> None:
    """In the names of the RFC and in those that the reference's client reads."""
    said = holder.challenge(badge_ttl=120, badge_aud=["a"])
    assert said["proof_aud"] == said["aud"] == holder.bench.node.config.iss
    assert said["expires_at"] == said["challenge_expires_at"]
    assert (said["badge_ttl"], said["badge_aud"]) == (120, ["a"])


@pytest.mark.parametrize(
    "wish",
    [
        {"mode": "ial1"},
        {"mode": "ial1", "challenge_id": "ch-1", "proof_jws": "garbage"},
        {"challenge_id": "ch-1", "proof_jws": "garbage"},
        {"mode": "ial2"},
    ],
)
def test_a_mode_that_is_not_honoured_is_refused(holder: Holder, wish: dict[str, str]) -> None:
    """A badge of less assurance than was asked for would be taken for the one asked for."""
    assert issue(holder, **wish).status_code == 400
    assert issue(holder, mode="ial0").status_code == 200
    proof = holder.proof(holder.challenge())
    assert holder.redeem(proof | {"mode": "ial0"}).status_code == 400
    assert holder.redeem(proof | {"mode": "ial1"}).status_code == 200


def test_a_challenge_expires(holder: Holder) -> None:
    """After five minutes."""
    challenge = holder.challenge()
    holder.bench.fabric.pass_s(300)
    assert "challenge has expired" in holder.redeem(holder.proof(challenge)).json()["error"]


def test_another_key_proves_nothing(holder: Holder, bench: Bench) -> None:
    """Nor does the challenge of another agent."""
    other = enrol(bench, "did:web:acme.example:other")
    thief = Holder(holder.client, bench, DID, Holder(holder.client, bench, other).key)
    assert thief.refresh().status_code == 403
    foreign = Holder(holder.client, bench, other).challenge()
    assert holder.redeem(holder.proof(foreign)).status_code == 403


def test_too_many_bad_proofs_are_told_to_wait(holder: Holder) -> None:
    """429 with Retry-After, until the minute is over."""
    bad = holder.proof(holder.challenge(), htm="GET")
    codes = [holder.redeem(bad).status_code for _ in range(MOST)]
    assert codes[:2] == [403, 403]
    assert codes[-1] == 429
    assert int(holder.redeem(bad).headers["Retry-After"]) >= 1
    holder.bench.fabric.pass_s(61)
    assert holder.redeem(bad).status_code == 403


def test_nobody_behind_the_same_address_can_keep_an_agent_from_its_next_badge(
    holder: Holder,
) -> None:
    """Behind a proxy all have one: neither bad tokens nor bad proofs slow a good proof down."""
    bad = holder.proof(holder.challenge(), htm="GET")
    for _ in range(MOST):
        holder.client.get("/v1/agents", headers={"Authorization": "Bearer rsc_a_b"})
    assert holder.redeem(bad).status_code == 429
    assert holder.refresh().status_code == 200


@pytest.mark.parametrize("step", ["challenge", "pop"])
def test_a_stranger_can_send_little(holder: Holder, step: str) -> None:
    """Without a token nothing is taken that would fill the memory."""
    body = {"challenge_id": "c", "proof_jws": "p", "more": "x" * MAX_PUBLIC_BODY_BYTES}
    answer = holder.client.post(f"/v1/agents/{DID}/badge/{step}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (413, "TOO_LARGE")


def test_a_body_that_is_nested_too_deep_is_malformed(holder: Holder) -> None:
    """Not a defect, whose traceback any stranger could write into the log again and again."""
    raw = '{"more":' + "[" * 9999 + "]" * 9999 + "}"
    path, kind = f"/v1/agents/{DID}/badge/challenge", {"Content-Type": "application/json"}
    answer = holder.client.post(path, content=raw, headers=kind)
    assert (answer.status_code, answer.json()["code"]) == (400, "MALFORMED")


# --- suspended, killed, reinstated ---


@pytest.mark.parametrize("effect", list(Effect))
def test_a_suspended_or_killed_agent_is_refused(holder: Holder, effect: Effect) -> None:
    """403 by proof and by token; without the kill it is not (the control)."""
    assert holder.refresh().status_code == issue(holder).status_code == 200
    holder.bench.fabric.kill(AGENT, effect=effect)
    for answer in (holder.refresh(), issue(holder)):
        assert (answer.status_code, answer.json()["code"]) == (403, "AGENT_DISABLED")


def test_a_killed_badge_leaves_its_agent_a_new_one(holder: Holder) -> None:
    """The badge is dead, the agent is not."""
    first = issue(holder).json()
    token = holder.bench.token(Scope.KILL)
    revoked = holder.client.post(f"/v1/badges/{first['jti']}/revoke", headers=token)
    assert revoked.json()["revoked"]
    guard = holder.bench.fabric.guard()
    assert guard.check(first["badge"]).code == "BADGE_REVOKED"
    assert guard.check(issue(holder).json()["badge"])


def test_after_a_reinstatement_the_next_badge_passes_and_old_ones_stay_dead(
    holder: Holder,
) -> None:
    """Its `iat` lies beyond the floor."""
    old = issue(holder).json()["badge"]
    agent, admin = {"kind": "agent", "id": DID}, holder.bench.token()
    holder.client.post("/v1/kills", json={"targets": [agent]}, headers=admin)
    ended = holder.client.post("/v1/reinstatements", json={"target": agent}, headers=admin)
    assert ended.json()["new_badges_from"]
    new = issue(holder).json()["badge"]
    guard = holder.bench.fabric.guard()
    assert guard.check(new)
    assert guard.check(old).code == "BADGE_REVOKED"
    assert read(new).payload.iat > read(old).payload.iat


def test_the_floor_lies_beyond_every_badge_that_was_issued(holder: Holder) -> None:
    """Also beyond one whose `iat` an earlier floor pushed ahead of the clock."""
    fabric, admin = holder.bench.fabric, holder.bench.token()
    agent = {"target": {"kind": "agent", "id": DID}}
    for _ in range(4):  # each reinstatement pushes the next badge further ahead
        fabric.kill(AGENT)
        holder.client.post("/v1/reinstatements", json=agent, headers=admin)
        badge = issue(holder).json()["badge"]
    fabric.kill(AGENT)
    holder.client.post("/v1/reinstatements", json=agent, headers=admin)
    assert fabric.guard().check(badge).code == "BADGE_REVOKED"
    assert fabric.guard().check(issue(holder).json()["badge"])


def test_no_badge_is_issued_that_would_not_be_valid_yet(holder: Holder) -> None:
    """503 until the floor is near enough (another issuer's clock pushed it ahead)."""
    fabric = holder.bench.fabric
    fabric.kill(AGENT)
    fabric.reinstate(AGENT, floor=int(fabric.now) + 200)
    assert issue(holder).status_code == 503
    fabric.pass_s(150)
    assert fabric.guard().check(issue(holder).json()["badge"])


def test_after_a_suspension_no_badge_was_dead(holder: Holder) -> None:
    """Its end kills none either."""
    old, admin = issue(holder).json()["badge"], holder.bench.token()
    disabled = holder.client.post(f"/v1/agents/{DID}/disable", headers=admin)
    assert disabled.json()["status"] == "suspended"
    assert issue(holder).status_code == 403
    assert holder.client.post(f"/v1/agents/{DID}/enable", headers=admin).status_code == 200
    guard = holder.bench.fabric.guard()
    assert guard.check(old)
    assert guard.check(issue(holder).json()["badge"])


def test_nothing_is_issued_while_the_node_cannot_tell(holder: Holder, bench: Bench) -> None:
    """503 with Retry-After: the keeper asks again."""
    bench.fresh = False
    for answer in (holder.refresh(), issue(holder)):
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]


# --- asking ---


def test_a_badge_says_how_it_stands(holder: Holder, bench: Bench) -> None:
    """Active, dead by its agent, and that also while the node is not fresh (I3)."""
    jti, token = issue(holder).json()["jti"], bench.token(Scope.READ)

    def status(which: str = jti) -> Any:
        return holder.client.get(f"/v1/badges/{which}/status", headers=token)

    assert status().json()["revoked"] is False
    assert status("never-issued").status_code == 404
    bench.fresh = False
    assert status().status_code == 503
    bench.fabric.kill(AGENT, reason_user="incident")
    said = status().json()
    assert (said["revoked"], said["reason"], said["sub"]) == (True, "incident", DID)


def test_a_badge_of_another_node_can_be_killed_here(holder: Holder, bench: Bench) -> None:
    """Nobody has to find the node that issued it, while somebody steals."""
    admin = bench.token()
    for path in ("/v1/badges", "/v1/sdk/badges"):
        jti = f"unknown-{len(path)}"
        assert holder.client.post(f"{path}/{jti}/revoke", headers=admin).status_code == 200
        status = holder.client.get(f"/v1/badges/{jti}/status", headers=admin).json()
        assert (status["revoked"], status["sub"]) == (True, None)


def test_the_reason_of_a_revocation_comes_back(holder: Holder) -> None:
    """As the reference's clients show it; not a word of ours."""
    jti = issue(holder).json()["jti"]
    token = holder.bench.token()
    body = {"reason": "stolen laptop"}
    assert holder.client.post(f"/v1/badges/{jti}/revoke", json=body, headers=token).is_success
    said = holder.client.get(f"/v1/badges/{jti}/status", headers=token).json()
    assert (said["revoked"], said["reason"]) == (True, "stolen laptop")
    assert holder.client.post(f"/v1/badges/{jti}/revoke", headers=token).is_success
