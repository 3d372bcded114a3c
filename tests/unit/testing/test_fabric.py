"""The fake fabric decides nothing by itself: the real guard does, over the real join."""

import pytest

from rescind.testing import Fabric
from rescind_guard import Code, Mode
from rescind_guard.freshness import Rule
from rescind_protocol import targets
from rescind_protocol.changes import Effect
from rescind_publisher.errors import BadRequest, NothingLive

AGENT = "did:web:acme.example:x7"


def test_a_kill_is_denied_by_every_guard_when_it_returns() -> None:
    """Two guards of two processes; the badge of another agent lives on."""
    with Fabric() as fabric:
        guards = [fabric.guard(), fabric.guard()]
        badge, other = fabric.badge(AGENT), fabric.badge("did:web:acme.example:y")
        assert all(guard.check(each.token) for guard in guards for each in (badge, other))
        (name,) = fabric.kill(badge, reason="compromised", reason_user="ask us")
        for guard in guards:
            decision = guard.check(badge.token)
            assert (decision.code, decision.revocation) == (Code.BADGE_REVOKED, name)
            assert decision.reason_user == "ask us"
            assert guard.check(other.token)


def test_guards_are_fresh_from_the_start() -> None:
    """Level 4 is allowed without a warning; in strict mode too."""
    with Fabric() as fabric:
        decision = fabric.guard(rule=Rule(Mode.STRICT)).check(fabric.badge(level=4).token)
        assert decision
        assert decision.warnings == ()


@pytest.mark.parametrize(
    "what",
    [
        targets.agent(AGENT),
        targets.session("s1"),
        targets.issuer("https://registry.test.example"),
        targets.everyone(),
    ],
    ids=str,
)
def test_a_reinstatement_leaves_old_badges_dead_and_new_ones_alive(what: targets.Target) -> None:
    """The fabric issues beyond the floor, as a registry does."""
    with Fabric() as fabric:
        guard, old = fabric.guard(), fabric.badge(AGENT, sid="s1")
        (name,) = fabric.kill(what)
        assert guard.check(old.token).code is Code.BADGE_REVOKED
        assert fabric.reinstate(what) == (name,)
        assert guard.check(old.token).code is Code.BADGE_REVOKED
        assert guard.check(fabric.badge(AGENT, sid="s1").token)


def test_a_retraction_gives_the_badge_its_life_back() -> None:
    """And what is not killed can be neither retracted nor, for a badge, reinstated."""
    with Fabric() as fabric:
        guard, badge = fabric.guard(), fabric.badge(AGENT)
        fabric.kill(badge)
        fabric.retract(badge)
        assert guard.check(badge.token)
        with pytest.raises(NothingLive):
            fabric.retract(badge)
        with pytest.raises(BadRequest):
            fabric.reinstate(badge.target)


def test_a_suspension_stops_no_badge() -> None:
    """It is for the registry; guards deny use only."""
    with Fabric() as fabric:
        guard, badge = fabric.guard(), fabric.badge(AGENT)
        fabric.kill(badge.agent, effect=Effect.ISSUANCE)
        assert guard.check(badge.token)


def test_a_follower_that_is_cut_off_grows_stale_and_catches_up() -> None:
    """Stale after five minutes: cannot tell; known kills deny all the time; then it hears all."""
    with Fabric() as fabric:
        away, home = fabric.follower(), fabric.follower()
        cut_off, guard = fabric.guard(away), fabric.guard(home)
        known, unheard = fabric.badge(ttl_s=3600), fabric.badge(ttl_s=3600)
        fabric.kill(known)
        with fabric.outage(away):
            fabric.kill(unheard)
            assert cut_off.check(unheard.token)
            assert guard.check(unheard.token).code is Code.BADGE_REVOKED
            fabric.pass_s(301)
            assert cut_off.check(unheard.token).code is Code.REVOCATION_CHECK_FAILED
            assert cut_off.check(known.token).code is Code.BADGE_REVOKED
        assert cut_off.check(unheard.token).code is Code.BADGE_REVOKED


def test_time_passes_for_badges_and_for_kills() -> None:
    """A badge expires a skew after `exp`; a kill ends as the publisher's horizon passes it."""
    with Fabric() as fabric:
        guard, badge = fabric.guard(), fabric.badge(ttl_s=3600)
        fabric.kill(badge.agent, expires_in_s=100)
        fabric.pass_s(100)
        assert guard.check(badge.token).code is Code.BADGE_REVOKED
        fabric.pass_s(100)
        assert guard.check(badge.token)
        fabric.pass_s(4000)
        assert guard.check(badge.token).code is Code.BADGE_EXPIRED


def test_audience_and_level_are_the_guards_own_business() -> None:
    """Options go to the guard as they are."""
    with Fabric() as fabric:
        guard = fabric.guard(audience="orders", minimum_level=3)
        assert guard.check(fabric.badge(audience="orders", level=3).token)
        wrong = guard.check(fabric.badge(audience="else", level=3).token)
        assert wrong.code is Code.BADGE_AUDIENCE_MISMATCH
        low = guard.check(fabric.badge(audience="orders").token)
        assert low.code is Code.TOOL_TRUST_INSUFFICIENT
