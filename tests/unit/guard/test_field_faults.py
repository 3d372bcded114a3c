"""Faults seen in the field (interop.md §5) that a guard can have, each by its name there."""

import pytest

from rescind_guard import Code, Mode, Outcome, Rule
from rescind_protocol import targets
from rescind_protocol.limits import MAX_BADGE_TTL_S, MAX_STALENESS_S, UNKNOWN_EXP_KILL_S
from rescind_protocol.table import Table, TableEdit
from tests.fakes.badges import AGENT, ISSUER, Scene, read_jti
from tests.fakes.fabric import NOW


def test_one_pushed_event_makes_a_stale_cache_look_fresh() -> None:
    """Reference cache `Add()`: here a kill that arrives freshens nothing."""
    scene = Scene()
    guard, badge = scene.guard(), scene.issuer.badge(exp=NOW + 3600)
    scene.clock.advance(MAX_STALENESS_S + 1)
    scene.revocations.kill(targets.agent("did:web:acme.example:other"))
    assert guard.check(badge).outcome is Outcome.CANNOT_TELL


def test_decision_cache_outlives_the_kill_and_the_badges_exp() -> None:
    """Reference MCP package (5 s): here a cached decision ends with either, at once."""
    scene = Scene()
    guard = scene.guard()
    short, killed = scene.issuer.badge(exp=NOW + 60), scene.issuer.badge()
    for badge in (short, killed) * 2:
        assert guard.check(badge)
    scene.revocations.kill(targets.badge(ISSUER, read_jti(killed)))
    assert guard.check(killed).code is Code.BADGE_REVOKED
    scene.clock.advance(120)
    assert guard.check(short).code is Code.BADGE_EXPIRED


def test_every_badge_error_logged_as_invalid() -> None:
    """Reference guard: the kill is invisible. Here kill, forgery and expiry are counted apart."""
    scene = Scene()
    guard, badge = scene.guard(), scene.issuer.badge()
    scene.revocations.kill(targets.agent(AGENT))
    guard.check(badge)
    guard.check(badge[:-4] + "AAAA")
    guard.check(scene.issuer.badge(sub="did:web:b.example", iat=NOW - 900, exp=NOW - 600))
    assert guard.decisions.read() == {
        "BADGE_REVOKED": 1,
        "BADGE_SIGNATURE_INVALID": 1,
        "BADGE_EXPIRED": 1,
    }


def test_denylist_keyed_by_raw_token_or_its_hash() -> None:
    """OWASP #2242: here every spelling of a killed badge is dead, also one signed anew."""
    scene = Scene()
    guard, claims = scene.guard(), scene.issuer.claims()
    same = {"jti": claims["jti"]}
    scene.revocations.kill(targets.badge(ISSUER, claims["jti"]))
    for badge in (
        scene.issuer.badge(**same),
        scene.issuer.badge(**same, extra="x"),
        scene.issuer.badge(**same, iat=NOW + 1, exp=NOW + 200),
        scene.issuer.badge(jti=claims["jti"].upper()),
        scene.issuer.badge(**same, iss="https://REGISTRY.example/"),
        scene.issuer.badge(**same, header={"alg": "Ed25519"}),
    ):
        assert guard.check(badge).code is Code.BADGE_REVOKED


def test_jti_without_iss() -> None:
    """AAuth #64: here an issuer's jti is its own."""
    scene = Scene()
    jti = read_jti(scene.issuer.badge())
    scene.revocations.kill(targets.badge(ISSUER, jti))
    assert scene.guard().check(scene.other.badge(jti=jti))


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("did:web:ACME.example:x7", "did:web:acme.example:x7"),
        ("did:web:acme.example:x7", "did:web:Acme.Example:x7"),
        ("DID:WEB:acme.example%3A8443:x7", "did:web:acme.example%3a8443:x7"),
    ],
)
def test_killed_reported_nothing_stopped(typed: str, shown: str) -> None:
    """Keycloak #18628: here an agent is stopped however operator and issuer spell its name."""
    scene = Scene()
    badge = scene.issuer.badge(sub=shown)
    assert scene.guard().check(badge)
    scene.revocations.kill(targets.agent(typed))
    assert scene.guard().check(badge).code is Code.BADGE_REVOKED


def test_broker_down_means_allow_silently() -> None:
    """Many Redis denylists: here the silence itself denies, and a weak level is warned about."""
    scene = Scene()
    guard = scene.guard()
    scene.clock.advance(MAX_STALENESS_S + 1)
    strong, weak = (scene.issuer.badge(level, exp=NOW + 3600) for level in "21")
    assert not guard.check(strong)
    assert guard.check(weak).warnings


def test_cannot_tell_answered_as_revoked_or_as_valid() -> None:
    """Several: here it is an outcome of its own, and not true."""
    scene = Scene()
    scene.clock.boot_s += MAX_STALENESS_S + 1
    decision = scene.guard().check(scene.issuer.badge())
    assert decision.outcome is Outcome.CANNOT_TELL
    assert decision.code is Code.REVOCATION_CHECK_FAILED
    assert not decision
    assert decision.revocation is None


def test_the_check_forgotten_on_one_path() -> None:
    """Teleport #15526 and others: a killed badge is refused by each of the guard's questions."""
    scene = Scene()
    guard, badge = scene.guard(rule=Rule(Mode.OBSERVE)), scene.issuer.badge()
    before = guard.check(badge)
    scene.revocations.kill(targets.agent(AGENT))
    for decision in (
        guard.check(badge),
        guard.check(badge, tool="orders"),
        guard.admits_exempt(badge),
        guard.recheck(before),
        scene.guard().check(badge),
    ):
        assert decision.code is Code.BADGE_REVOKED
        assert not decision


def test_signing_key_revoked_jwks_cached_for_ever() -> None:
    """Several: here a killed key denies while the key set still has it, and says revoked."""
    scene = Scene()
    guard, badge = scene.guard(), scene.issuer.badge()
    assert guard.check(badge)
    scene.revocations.kill(targets.key(scene.issuer.key.kid))
    assert guard.check(badge).code is Code.BADGE_REVOKED
    assert guard.check(scene.issuer.badge()).code is Code.BADGE_REVOKED
    assert guard.check(scene.other.badge())


def test_kill_without_expiry_state_grows_for_ever() -> None:
    """AAuth #146: no badge that the guard accepts outlives a kill of bounded life (I8)."""
    scene = Scene()
    assert scene.guard().check(scene.issuer.badge(exp=NOW + MAX_BADGE_TTL_S))
    too_long = scene.issuer.badge(exp=NOW + MAX_BADGE_TTL_S + 1)
    assert scene.guard().check(too_long).code is Code.BADGE_CLAIMS_INVALID
    scene.clock.advance(UNKNOWN_EXP_KILL_S)
    scene.revocations.freshen()
    last = scene.issuer.badge(iat=NOW + 60, exp=NOW + 60 + MAX_BADGE_TTL_S)
    assert scene.guard().check(last).code is Code.BADGE_EXPIRED


def test_a_snapshot_takes_long_to_activate() -> None:
    """OPA (measured 619 ms): here a swap stores one reference, whatever the table's size."""
    scene = Scene()
    edit = TableEdit(Table())
    scene.revocations.view.swap(table := edit.done())
    assert scene.revocations.view.published.table is table
