"""I3: a known kill always denies, as revoked, whatever else is true of the badge."""

from collections.abc import Callable
from typing import Any

import pytest

from rescind_guard import Code, Guard, Mode, Outcome, Rule
from rescind_protocol import targets
from rescind_protocol.changes import Effect
from rescind_protocol.keys import SigningKey
from rescind_protocol.targets import Target
from tests.fakes.badges import (
    ABSENT,
    AGENT,
    ISSUER,
    OTHER,
    Issuer,
    Scene,
    own_badge,
    read_jti,
    self_signed,
)
from tests.fakes.fabric import NOW, key_of

KINDS: dict[str, Callable[[str, SigningKey], Target]] = {
    "badge": lambda badge, _: targets.badge(ISSUER, read_jti(badge)),
    "agent": lambda _badge, _: targets.agent(AGENT),
    "session": lambda _badge, _: targets.session("s-1"),
    "key": lambda _, key: targets.key(key.kid),
    "issuer": lambda _badge, _: targets.issuer(ISSUER),
    "everyone": lambda _badge, _: targets.everyone(),
}
FAULTS: dict[str, dict[str, Any]] = {
    "none": {},
    "expired": {"iat": NOW - 900, "exp": NOW - 600},
    "not yet valid": {"iat": NOW + 900, "exp": NOW + 1200},
    "ttl too long": {"exp": NOW + 9000},
    "issued after the end of time": {"iat": 2**62 + 1, "exp": 2**62 + 300},
    "issued before 1970": {"iat": -300, "exp": -1},
    "issued at no whole second": {"iat": float(NOW)},
    "no time of issue": {"iat": ABSENT},
    "another audience": {"aud": ["elsewhere"]},
    "audience not an array": {"aud": "here"},
    "binding broken": {"cnf": {"kid": "x"}},
    "unknown level": {"level": "5"},
    "level a number": {"level": 2},
    "no credential": {"vc": ABSENT},
    "no ial": {"ial": ABSENT},
    "no typ": {"header": {"typ": ABSENT}},
    "another typ": {"header": {"typ": "at+jwt"}},
    "key a text": {"key": "AAAA"},
}


def revoked(guard: Guard, badge: str) -> None:
    """Assert that the badge is denied as revoked."""
    decision = guard.check(badge)
    assert (decision.outcome, decision.code) == (Outcome.DENY, Code.BADGE_REVOKED), decision.reason


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_of_each_kind_denies_whatever_else_is_wrong(
    kind: str, fault: str, mode: Mode
) -> None:
    """A killed badge is revoked in every mode, also on a stale view and when policy says no."""
    scene = Scene()
    guard = scene.guard(rule=Rule(mode), policy=lambda *_: "never", minimum_level=4)
    badge = scene.issuer.badge(sid="s-1", **FAULTS[fault])
    assert guard.check(badge).code is not Code.BADGE_REVOKED
    name = scene.revocations.kill(KINDS[kind](badge, scene.issuer.key))
    revoked(guard, badge)
    assert guard.check(badge).revocation == name
    scene.clock.boot_s += 10_000
    revoked(guard, badge)


@pytest.mark.parametrize("bent", [{"sid": "a b"}, {"jti": "a b"}, {"sub": "x7"}, {"jti": 7}])
def test_a_claim_that_names_nothing_hides_no_other(bent: dict[str, Any]) -> None:
    """A badge with one unreadable name is still stopped by the kill of its issuer."""
    scene = Scene()
    badge = scene.issuer.badge(**bent)
    guard = scene.guard(rule=Rule(Mode.OBSERVE))
    assert guard.check(badge).code is Code.BADGE_CLAIMS_INVALID
    scene.revocations.kill(targets.issuer(ISSUER))
    revoked(guard, badge)


def test_who_cannot_be_proven_is_not_looked_up() -> None:
    """A forged badge in a killed agent's name is told nothing of the kill."""
    scene = Scene()
    scene.revocations.kill(targets.agent(AGENT))
    forger = Issuer(key=key_of("forger"))
    for bent in ({}, {"aud": "here"}, {"iss": 5}, {"iss": "https://elsewhere.example"}):
        badge = forger.badge(header={"kid": scene.issuer.key.kid}, **bent)
        assert scene.guard().check(badge).code is not Code.BADGE_REVOKED


def test_an_agent_is_dead_under_every_issuer() -> None:
    """A killed agent is denied with a badge of another issuer, and with a fresh one."""
    scene = Scene()
    scene.revocations.kill(targets.agent(AGENT))
    revoked(scene.guard(), scene.other.badge())
    revoked(scene.guard(), scene.issuer.badge(iat=NOW + 30, exp=NOW + 330))


def test_a_killed_badge_leaves_the_same_jti_of_another_issuer_alone() -> None:
    """`jti` alone names no badge (AAuth #64)."""
    scene = Scene()
    jti = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
    scene.revocations.kill(targets.badge(OTHER, jti))
    assert scene.guard().check(scene.issuer.badge(jti=jti))
    revoked(scene.guard(), scene.other.badge(jti=jti))
    revoked(scene.guard(), scene.other.badge(jti=jti.upper(), iss="HTTPS://Other.example:443/"))


def test_a_self_signed_agent_is_stopped_by_each_of_its_names() -> None:
    """Level 0: the kill of the did:key as agent, as issuer, or by its thumbprint."""
    loner = self_signed()
    for target in (
        targets.agent(loner.iss),
        targets.issuer(loner.iss),
        targets.key(loner.key.kid),
        targets.everyone(),
    ):
        scene = Scene()
        guard = scene.guard(accept_self_signed=True, profile="dev")
        assert guard.check(own_badge(loner))
        scene.revocations.kill(target)
        revoked(guard, own_badge(loner))


def test_issued_before_kills_badges_up_to_that_second() -> None:
    """A badge issued at `issued_before` is dead, one issued a second later is not."""
    scene = Scene()
    scene.revocations.kill(targets.agent(AGENT), issued_before=NOW)
    revoked(scene.guard(), scene.issuer.badge(iat=NOW))
    assert scene.guard().check(scene.issuer.badge(iat=NOW + 1))


def test_a_floor_stays_after_a_reinstatement() -> None:
    """Reinstated: the old badge stays dead, said as such; one issued after the floor lives."""
    scene = Scene()
    guard = scene.guard()
    old = scene.issuer.badge(iat=NOW)
    name = scene.revocations.kill(targets.agent(AGENT))
    scene.revocations.reinstate(targets.agent(AGENT), name, floor=NOW)
    revoked(guard, old)
    assert guard.check(old).reason == "badge was issued before its agent was reinstated"
    assert guard.check(scene.issuer.badge(iat=NOW + 1))


def test_a_retraction_revives_the_very_badge() -> None:
    """A kill taken back as a mistake leaves no floor."""
    scene = Scene()
    guard = scene.guard()
    badge = scene.issuer.badge()
    name = scene.revocations.kill(targets.agent(AGENT))
    revoked(guard, badge)
    scene.revocations.retract(targets.agent(AGENT), name)
    assert guard.check(badge)


def test_a_suspension_is_not_the_guards_business() -> None:
    """A kill with effect `issuance` denies no use; beside one of effect `use` it hides nothing."""
    scene = Scene()
    guard = scene.guard()
    badge = scene.issuer.badge()
    scene.revocations.kill(targets.agent(AGENT), effect=Effect.ISSUANCE)
    assert guard.check(badge)
    name = scene.revocations.kill(targets.agent(AGENT))
    revoked(guard, badge)
    assert guard.check(badge).revocation == name


def disabled(scene: Scene, badge: str, **options: Any) -> bool:
    """Return whether a guard that denies the suspended answers so."""
    decision = scene.guard(deny_suspended=True, **options).check(badge)
    assert decision or decision.code is Code.BADGE_AGENT_DISABLED, decision
    return not decision


@pytest.mark.parametrize("kind", KINDS)
def test_a_guard_may_be_told_to_deny_the_suspended(kind: str) -> None:
    """With its own code and the suspension's id; lifted, the very badge works again."""
    scene = Scene()
    badge = scene.issuer.badge(sid="s-1")
    target = KINDS[kind](badge, scene.issuer.key)
    assert not disabled(scene, badge)
    name = scene.revocations.kill(target, effect=Effect.ISSUANCE, reason="offboarding")
    assert disabled(scene, badge)
    decision = scene.guard(deny_suspended=True).check(badge)
    assert (decision.revocation, decision.reason) == (name, "agent is suspended (offboarding)")
    scene.revocations.retract(target, name)
    assert not disabled(scene, badge)


def test_a_suspension_in_the_cache_is_found_at_once() -> None:
    """A badge that was good a moment ago is looked up again when the view changes."""
    scene = Scene()
    guard, badge = scene.guard(deny_suspended=True), scene.issuer.badge()
    assert guard.check(badge)
    assert guard.check(badge)
    scene.revocations.kill(targets.agent(AGENT), effect=Effect.ISSUANCE)
    assert guard.check(badge).code is Code.BADGE_AGENT_DISABLED


def test_a_suspension_hides_neither_a_kill_nor_an_earlier_fault() -> None:
    """Revoked before disabled; an expired badge of a suspended agent has expired."""
    scene = Scene()
    guard = scene.guard(deny_suspended=True)
    badge, old = scene.issuer.badge(), scene.issuer.badge(iat=NOW - 900, exp=NOW - 600)
    scene.revocations.kill(targets.agent(AGENT), effect=Effect.ISSUANCE)
    assert guard.check(old).code is Code.BADGE_EXPIRED
    scene.clock.boot_s += 10_000  # it is known: staleness changes nothing
    assert guard.check(badge).code is Code.BADGE_AGENT_DISABLED
    scene.revocations.kill(targets.agent(AGENT))
    revoked(guard, badge)
    revoked(guard, old)


def test_a_suspension_is_softened_where_only_kills_deny() -> None:
    """`observe` records it; what was admitted and then suspended is not withheld."""
    scene = Scene()
    guard = scene.guard(deny_suspended=True, rule=Rule(Mode.OBSERVE))
    before = guard.check(scene.issuer.badge())
    scene.revocations.kill(targets.agent(AGENT), effect=Effect.ISSUANCE)
    decision = guard.check(scene.issuer.badge())
    assert (bool(decision), decision.code) == (True, Code.BADGE_AGENT_DISABLED)
    assert guard.recheck(before) is before


def test_level_0_is_suspended_by_nobody() -> None:
    """No registry issues its badges (RFC-002 §8.5); a kill stops it."""
    scene, loner = Scene(), self_signed()
    scene.revocations.kill(targets.agent(loner.iss), effect=Effect.ISSUANCE)
    assert not disabled(scene, own_badge(loner), accept_self_signed=True, profile="dev")


@pytest.mark.parametrize("exempt", [False, True])
def test_a_decision_never_shows_what_is_for_operators(*, exempt: bool) -> None:
    """`reason_admin` and `actor` are nowhere in a decision; `reason_user` is."""
    scene = Scene()
    guard = scene.guard()
    badge = scene.issuer.badge()
    before = guard.check(badge)
    scene.revocations.kill(
        targets.agent(AGENT),
        reason="compromised",
        reason_admin="INC-412 secret",
        reason_user="ask the desk",
        actor="mallory@soc",
    )
    decision = guard.admits_exempt(badge) if exempt else guard.check(badge)
    for one in (decision, guard.recheck(before)):
        assert one.reason_user == "ask the desk"
        assert "compromised" in one.reason
        assert "INC-412" not in repr(one)
        assert "mallory" not in repr(one)
        assert badge not in repr(one)
