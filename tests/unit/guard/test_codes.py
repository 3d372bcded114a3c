"""Every code that a guard answers with, each by one fault; no code without a way to it."""

from collections.abc import Callable

import pytest

from rescind_guard import Code, Decision, Issuers, Outcome, hops
from rescind_guard.codes import CANNOT_TELL, NOT_OURS, OF_POLICY
from rescind_guard.policy import Ruling
from rescind_protocol import targets
from rescind_protocol.changes import Effect
from tests.fakes.badges import AGENT, ISSUER, Issuer, Scene
from tests.fakes.fabric import NOW, key_of


def _killed(scene: Scene) -> Decision:
    scene.revocations.kill(targets.agent(AGENT))
    return scene.guard().check(scene.issuer.badge())


def _suspended(scene: Scene) -> Decision:
    scene.revocations.kill(targets.agent(AGENT), effect=Effect.ISSUANCE)
    return scene.guard(deny_suspended=True).check(scene.issuer.badge())


def _stale(scene: Scene) -> Decision:
    scene.clock.boot_s += 10_000
    return scene.guard().check(scene.issuer.badge())


def _keys_unknown(scene: Scene) -> Decision:
    scene.issuers = Issuers({ISSUER: ()})
    return scene.guard().check(scene.issuer.badge())


def _document_unknown(scene: Scene) -> Decision:
    bound = {"ial": "1", "cnf": {"kid": f"{AGENT}#key-1"}}
    return scene.guard().check(scene.issuer.badge("2", None, **bound))


def _unbound(scene: Scene) -> Decision:
    return scene.guard().check(scene.issuer.badge(map_hash=hops.hash_of(b"{}")))


def _ruled(scene: Scene, code: Code) -> Decision:
    guard = scene.guard(policy=lambda *_: Ruling("no", code))
    return guard.check(scene.issuer.badge(), tool="t")


WAYS: dict[Code, tuple[Callable[[Scene], Decision], ...]] = {
    Code.OK: (lambda s: s.guard().check(s.issuer.badge()),),
    Code.TOOL_AUTH_MISSING: (lambda s: s.guard().check(None),),
    Code.BADGE_MALFORMED: (lambda s: s.guard().check("junk"),),
    Code.BADGE_CLAIMS_INVALID: (lambda s: s.guard().check(s.issuer.badge(ial="2")), _unbound),
    Code.BADGE_ISSUER_UNTRUSTED: (lambda s: s.guard().check(Issuer("https://x.example").badge()),),
    Code.BADGE_SIGNATURE_INVALID: (
        lambda s: s.guard().check(Issuer(key=key_of("stranger")).badge()),
        lambda s: s.guard().check(s.issuer.badge()[:-8] + "AAAAAAAA"),
    ),
    Code.BADGE_EXPIRED: (lambda s: s.guard().check(s.issuer.badge(iat=NOW - 900, exp=NOW - 600)),),
    Code.BADGE_NOT_YET_VALID: (lambda s: s.guard().check(s.issuer.badge(nbf=NOW + 61)),),
    Code.BADGE_AUDIENCE_MISMATCH: (lambda s: s.guard().check(s.issuer.badge(aud=["x"])),),
    Code.TOOL_TRUST_INSUFFICIENT: (lambda s: s.guard(minimum_level=3).check(s.issuer.badge()),),
    Code.BADGE_REVOKED: (_killed,),
    Code.BADGE_AGENT_DISABLED: (_suspended,),
    Code.REVOCATION_CHECK_FAILED: (_stale, _keys_unknown, _document_unknown),
    Code.TOOL_POLICY_FAILED: (lambda s: s.guard(policy=lambda *_: 1 / 0).check(s.issuer.badge()),),
    Code.TOOL_NOT_FOUND: (lambda s: _ruled(s, Code.TOOL_NOT_FOUND),),
    Code.TOOL_SCOPE_INSUFFICIENT: (lambda s: _ruled(s, Code.TOOL_SCOPE_INSUFFICIENT),),
    Code.TOOL_POLICY_DENIED: (lambda s: s.guard(policy=lambda *_: "no").check(s.issuer.badge()),),
}


@pytest.mark.parametrize(("code", "way"), [(c, way) for c, ways in WAYS.items() for way in ways])
def test_a_fault_has_its_code(code: Code, way: Callable[[Scene], Decision]) -> None:
    """With the outcome that belongs to it, and a sentence that may be shown."""
    decision = way(Scene())
    assert decision.code is code
    expected = Outcome.CANNOT_TELL if code in CANNOT_TELL else Outcome.DENY
    assert decision.outcome is (Outcome.ALLOW if code is Code.OK else expected)
    assert decision.reason
    assert decision.reason.isprintable()


def test_no_code_is_without_a_way_to_it_or_a_reason() -> None:
    """Every word is answered here, said by a policy, or left to others for a reason."""
    assert set(WAYS) | set(NOT_OURS) == set(Code)
    assert not set(WAYS) & set(NOT_OURS)
    assert set(OF_POLICY) < set(WAYS)
    assert all(reason.isprintable() and reason for reason in (NOT_OURS | OF_POLICY).values())
