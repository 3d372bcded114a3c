"""Every code that a guard answers with, each by one fault; no code without a way to it."""

from collections.abc import Callable

import pytest

from rescind_guard import Code, Decision, Issuers, Outcome
from rescind_guard.codes import CANNOT_TELL, FOR_TOOLS
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


WAYS: dict[Code, tuple[Callable[[Scene], Decision], ...]] = {
    Code.OK: (lambda s: s.guard().check(s.issuer.badge()),),
    Code.TOOL_AUTH_MISSING: (lambda s: s.guard().check(None),),
    Code.BADGE_MALFORMED: (lambda s: s.guard().check("junk"),),
    Code.BADGE_CLAIMS_INVALID: (lambda s: s.guard().check(s.issuer.badge(ial="2")),),
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
    Code.REVOCATION_CHECK_FAILED: (_stale, _keys_unknown),
    Code.TOOL_POLICY_FAILED: (lambda s: s.guard(policy=lambda *_: 1 / 0).check(s.issuer.badge()),),
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


def test_no_code_is_without_a_way_to_it() -> None:
    """But for the words that are a tool's to say, of which the guard knows nothing."""
    assert set(WAYS) | FOR_TOOLS == set(Code)
    assert not set(WAYS) & FOR_TOOLS
