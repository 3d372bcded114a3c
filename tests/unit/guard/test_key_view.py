"""Keys that change under a running guard: by one swap, and never so that a kill is hidden."""

from typing import Any

import pytest

from rescind_guard import Code, Guard, Issuers, Mode, Outcome, Rule
from rescind_guard.explain import Explanation
from rescind_guard.issuers import IssuerKey, Standing, read_jwks
from rescind_guard.key_view import KeyView
from rescind_protocol import targets
from tests.fakes.badges import ABSENT, AGENT, ISSUER, Issuer, Scene, own_badge, self_signed
from tests.fakes.fabric import key_of

OLD, NEW = Issuer(), Issuer(key=key_of("registry, next"))
NOT_KNOWN = Code.REVOCATION_CHECK_FAILED


def keys_of(*issuers: Issuer, standing: Standing = Standing.LIVE) -> tuple[IssuerKey, ...]:
    """Return the keys of these issuers, all of the same standing."""
    read = [key for issuer in issuers for key in read_jwks(ISSUER, issuer.jwks())]
    return tuple(IssuerKey(key.kid, key.public, key.thumbprint, standing) for key in read)


def scene_of(*keys: IssuerKey, **options: Any) -> tuple[Scene, KeyView, Guard]:
    """Return a scene, the keys of its issuer, and a guard that reads them."""
    scene = Scene()
    view = KeyView(Issuers({ISSUER: keys}))
    guard = Guard(scene.revocations.view, view, clock=scene.clock, **options)
    return scene, view, guard


def test_a_new_key_is_good_from_the_swap_on() -> None:
    """Unknown before, and noted for whoever fetches; good after; what was cached stays good."""
    _, view, guard = scene_of(*keys_of(OLD))
    old, new = OLD.badge(), NEW.badge()
    assert guard.check(old)
    assert guard.check(new).code is Code.BADGE_SIGNATURE_INVALID
    assert view.take_missed() == {ISSUER}
    view.swap(Issuers({ISSUER: keys_of(OLD, NEW)}))
    assert guard.check(new)
    assert guard.check(old)
    assert view.take_missed() == set()


def test_a_badge_without_kid_misses_a_key_by_its_signature() -> None:
    """It names none, so one that no key fits may be of a new one."""
    _, view, guard = scene_of(*keys_of(OLD))
    guard.check(NEW.badge(header={"kid": ABSENT}))
    assert view.take_missed() == {ISSUER}
    guard.check(OLD.badge()[:-8] + "AAAAAAAA")
    assert view.take_missed() == set()


def test_strangers_make_nobody_fetch() -> None:
    """Only issuers of the allowlist are ever noted, so what is noted is bounded."""
    _, view, guard = scene_of(*keys_of(OLD))
    for number in range(100):
        guard.check(Issuer(f"https://{number}.example", key_of("x")).badge())
    view.miss("https://elsewhere.example")
    assert view.take_missed() == set()


@pytest.mark.parametrize("kid", [ABSENT, OLD.key.kid])
def test_keys_that_are_not_known_yet_mean_cannot_tell(kid: object) -> None:
    """Trusted, never fetched: neither a good badge nor a bad one."""
    _, view, guard = scene_of()
    decision = guard.check(OLD.badge(header={"kid": kid}))
    assert (decision.outcome, decision.code) == (Outcome.CANNOT_TELL, NOT_KNOWN)
    view.swap(Issuers({ISSUER: keys_of(OLD)}))
    assert guard.check(OLD.badge())


@pytest.mark.parametrize(
    ("standing", "code"),
    [(Standing.WITHDRAWN, Code.BADGE_SIGNATURE_INVALID), (Standing.OUTDATED, NOT_KNOWN)],
)
def test_a_key_that_is_good_no_longer_still_shows_a_kill(standing: Standing, code: Code) -> None:
    """Its badges are refused; killed, they are revoked, in every mode."""
    for mode in Mode:
        scene, view, guard = scene_of(*keys_of(OLD), rule=Rule(mode))
        badge = OLD.badge()
        assert guard.check(badge).code is Code.OK
        view.swap(Issuers({ISSUER: keys_of(OLD, standing=standing)}))
        for _ in range(2):
            decision = guard.check(badge)
            assert (decision.code, bool(decision)) == (code, mode is Mode.OBSERVE)
        assert _code_in_explain(scene, guard, badge) is code
        scene.revocations.kill(targets.key(OLD.key.kid))
        assert guard.check(badge).code is Code.BADGE_REVOKED


def _code_in_explain(scene: Scene, guard: Guard, badge: str) -> str:
    at = scene.revocations.view.published
    steps = Explanation(guard, at, scene.clock.wall()).run(badge)
    return next(step.code for step in steps if step.number == 4)


def test_without_the_withdrawn_key_the_kill_would_not_show() -> None:
    """The control: a key that is dropped at once leaves "invalid" where "revoked" belongs."""
    scene, view, guard = scene_of(*keys_of(OLD))
    badge = OLD.badge()
    scene.revocations.kill(targets.agent(AGENT))
    assert guard.check(badge).code is Code.BADGE_REVOKED
    view.swap(Issuers({ISSUER: keys_of(NEW)}))
    assert guard.check(badge).code is Code.BADGE_SIGNATURE_INVALID


def test_an_agent_may_be_trusted_by_name_to_sign_for_itself() -> None:
    """A did:key on the allowlist needs no JWKS, and lets no other agent in (RFC-002 §8.1 6d)."""
    loner, other = self_signed(), self_signed("other")
    scene = Scene()
    guard = Guard(scene.revocations.view, Issuers({loner.iss: ()}), clock=scene.clock)
    assert guard.check(own_badge(loner))
    assert guard.check(own_badge(loner, header={"kid": f"{loner.iss}#z6Mk"}))
    assert guard.check(own_badge(other)).code is Code.BADGE_ISSUER_UNTRUSTED
    assert guard.check(OLD.badge()).code is Code.BADGE_ISSUER_UNTRUSTED
