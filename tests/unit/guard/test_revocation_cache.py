"""The view in the reference verifier's shape: `is_revoked(jti)`, `is_stale(threshold)`."""

from collections.abc import Iterable
from datetime import timedelta
from math import nan

import pytest

from rescind_guard import RevocationCache, View
from rescind_guard.errors import BadGuard
from rescind_protocol import targets
from rescind_protocol.changes import Effect
from rescind_protocol.errors import Malformed
from rescind_protocol.limits import MAX_STALENESS_S
from tests.fakes.badges import AGENT, ISSUER, OTHER, Scene
from tests.fakes.fabric import NOW

JTI = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"


def cache_of(scene: Scene, issuers: Iterable[str] = (ISSUER, OTHER)) -> RevocationCache:
    """Return a cache over the scene's view."""
    return RevocationCache(scene.revocations.view, issuers, clock=scene.clock)


@pytest.mark.parametrize("iss", [ISSUER, OTHER])
def test_a_killed_jti_is_revoked_under_any_issuer_that_is_followed(iss: str) -> None:
    """The kill shows at once, in any spelling of the id; another id lives."""
    scene = Scene()
    cache = cache_of(scene)
    assert not cache.is_revoked(JTI)
    scene.revocations.kill(targets.badge(iss, JTI))
    assert cache.is_revoked(JTI)
    assert cache.is_revoked(JTI.upper())
    assert not cache.is_revoked(JTI.replace("6", "7"))
    assert not cache_of(scene, ["https://third.example"]).is_revoked(JTI)


def test_an_agents_kill_is_seen_where_the_agent_is_named() -> None:
    """A jti alone cannot show it; with `sub` it does."""
    scene = Scene()
    scene.revocations.kill(targets.agent(AGENT))
    cache = cache_of(scene)
    assert cache.is_revoked(JTI, sub=AGENT)
    assert not cache.is_revoked(JTI)
    assert not cache.is_revoked(JTI, sub="did:web:acme.example:other")


@pytest.mark.parametrize("target", [targets.everyone(), targets.issuer(ISSUER)])
def test_a_wide_kill_stops_every_jti(target: targets.Target) -> None:
    """Whose badge it is, is not known: all that may be meant are dead."""
    scene = Scene()
    scene.revocations.kill(target)
    assert cache_of(scene).is_revoked(JTI)


def test_a_time_of_issue_spares_what_came_later() -> None:
    """Without `iat` a badge is older than any kill."""
    scene = Scene()
    scene.revocations.kill(targets.agent(AGENT), issued_before=NOW)
    cache = cache_of(scene)
    assert cache.is_revoked(JTI, sub=AGENT)
    assert cache.is_revoked(JTI, sub=AGENT, iat=NOW)
    assert not cache.is_revoked(JTI, sub=AGENT, iat=NOW + 1)


def test_a_suspension_is_no_revocation() -> None:
    """It stops the next badge, not this one."""
    scene = Scene()
    scene.revocations.kill(targets.badge(ISSUER, JTI), effect=Effect.ISSUANCE)
    assert not cache_of(scene).is_revoked(JTI)


def test_a_cache_is_stale_until_it_is_proven_and_after_its_time() -> None:
    """Never synced is stale; neither an event nor a jump of a clock makes anything fresh."""
    scene = Scene()
    cache = cache_of(scene)
    limit = timedelta(seconds=MAX_STALENESS_S)
    assert RevocationCache(View(), [ISSUER], clock=scene.clock).is_stale(10**9)
    assert not cache.is_stale(limit)
    scene.clock.advance(MAX_STALENESS_S - 1)
    assert not cache.is_stale(limit)
    scene.clock.advance(1)
    scene.revocations.kill(targets.agent(AGENT))
    assert cache.is_stale(limit)
    assert cache.is_stale(MAX_STALENESS_S)
    scene.clock.wall_s -= 10_000
    assert cache.is_stale(limit)
    scene.revocations.freshen()
    assert not cache.is_stale(limit)
    assert cache.is_stale(nan)
    assert cache.is_stale(0)


def test_a_cache_that_could_know_nothing_is_refused() -> None:
    """No issuers, one text for a list, an id that nobody could have killed."""
    for issuers, sentence in (((), "no issuers"), (ISSUER, "not one text")):
        with pytest.raises(BadGuard, match=sentence):
            cache_of(Scene(), issuers)
    for jti in ("", "a b", "j" * 1000):
        with pytest.raises(Malformed):
            cache_of(Scene()).is_revoked(jti)
