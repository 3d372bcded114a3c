"""Unsigned lists at the guard: they deny, name themselves, and do nothing else."""

import threading
from datetime import timedelta
from math import inf
from typing import Any

import pytest

from rescind_guard import Code, Decision, Mode, Outcome, Rule
from rescind_guard.cache import Kept, TokenCache
from rescind_guard.errors import TwoWriters
from rescind_guard.evidence import About, Entry, record
from rescind_guard.explain import Explanation
from rescind_guard.revocation_cache import RevocationCache
from rescind_protocol import targets
from tests.fakes.badges import ABSENT, AGENT, ISSUER, OTHER, Scene, read_jti
from tests.fakes.fabric import NOW
from tests.fakes.lists import badge, listed, show
from tests.fakes.waiting import WITHIN_S

AGENT_KILLED = targets.agent(AGENT)


def test_a_listed_badge_is_revoked_and_the_list_is_named() -> None:
    """The decision says that it was a list, and whose; there is no kill to name."""
    scene = Scene()
    token = scene.issuer.badge()
    show(scene.revocations.view, listed(badge(read_jti(token))))
    decision = scene.guard().check(token)
    assert decision.code is Code.BADGE_REVOKED
    assert decision.reason == f"badge is revoked (by the unsigned list of {ISSUER})"
    assert decision.unsigned_list == ISSUER
    assert decision.revocation is None
    assert record(Entry(0.0, decision, None, None), About())["rescind.unsigned_list"] == ISSUER


def test_a_badge_that_no_list_names_passes() -> None:
    """Negative control: another badge of the same agent, and nothing in its evidence."""
    scene = Scene()
    show(scene.revocations.view, listed(badge(read_jti(scene.issuer.badge()))))
    decision = scene.guard().check(scene.issuer.badge())
    assert decision
    assert "rescind.unsigned_list" not in record(Entry(0.0, decision, None, None), About())


@pytest.mark.parametrize(
    "target",
    [badge("7", OTHER), targets.agent(AGENT), targets.issuer(OTHER), targets.everyone()],
    ids=str,
)
def test_a_list_binds_the_badges_of_its_own_issuer_alone(target: targets.Target) -> None:
    """Whatever it names, nobody else's badges: not by `jti`, not by agent, not all."""
    scene = Scene()
    show(scene.revocations.view, listed(target))
    assert scene.guard(lenient=True).check(scene.other.badge(jti="7"))
    show(scene.revocations.view, listed(target, issuer=OTHER))
    assert scene.guard(lenient=True).check(scene.other.badge(jti="7")).unsigned_list == OTHER


def test_what_a_guard_has_cached_ends_with_a_list() -> None:
    """The swap drops the lookup's result at once; and leaving the list brings it back."""
    scene = Scene()
    guard, token = scene.guard(), scene.issuer.badge()
    assert guard.check(token)
    show(scene.revocations.view, listed(badge(read_jti(token))))
    assert guard.check(token).code is Code.BADGE_REVOKED
    show(scene.revocations.view)
    assert guard.check(token)


def test_without_the_lists_generation_a_cached_badge_outlives_its_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control of the one above."""
    put = TokenCache.put

    class Always(int):
        __hash__ = int.__hash__

        def __eq__(self, other: object) -> bool:
            return True

    def for_good(cache: TokenCache, token: str, kept: Kept) -> None:
        known = (kept.claims, kept.issuers, kept.generation, inf, inf, kept.decision)
        put(cache, token, Kept(*known, Always()))

    monkeypatch.setattr(TokenCache, "put", for_good)
    scene = Scene()
    guard, token = scene.guard(), scene.issuer.badge()
    guard.check(token)
    show(scene.revocations.view, listed(badge(read_jti(token))))
    assert guard.check(token)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("enforced", ["EM-STRICT", "EM-OBSERVE"])
@pytest.mark.parametrize("stale", [False, True])
def test_a_list_denies_in_every_mode_and_before_staleness(
    mode: Mode,
    enforced: str,
    stale: bool,  # noqa: FBT001 - the parameter of a test
) -> None:
    """As a kill does: it can only ever deny more."""
    scene = Scene()
    token = scene.issuer.badge()
    guard = scene.guard(rule=Rule(mode), enforcement_mode=enforced)
    if stale:
        scene.revocations.view.distrust()
    show(scene.revocations.view, listed(badge(read_jti(token))))
    assert guard.check(token).code is Code.BADGE_REVOKED
    assert guard.admits_exempt(token).code is Code.BADGE_REVOKED


@pytest.mark.parametrize("mode", [Mode.STRICT, Mode.BEST_EFFORT])
def test_a_list_makes_no_view_fresh(mode: Mode) -> None:
    """What was published stays the very same, and what could not be told cannot be told."""
    scene = Scene()
    scene.revocations.view.distrust()
    before = scene.revocations.view.published
    guard = scene.guard(rule=Rule(mode))
    token = scene.issuer.badge()
    show(scene.revocations.view, listed(badge("another")))
    show(scene.revocations.view, listed())
    assert scene.revocations.view.published is before
    assert guard.check(token).outcome is Outcome.CANNOT_TELL
    assert RevocationCache(scene.revocations.view, [ISSUER]).is_stale(timedelta(days=999))


def test_what_leaves_a_list_stays_dead_by_a_kill() -> None:
    """And what a kill's end frees stays dead by its list: each ends what it caused alone."""
    scene = Scene()
    guard, token = scene.guard(), scene.issuer.badge()
    target = badge(read_jti(token))
    kill = scene.revocations.kill(target)
    show(scene.revocations.view, listed(target))
    both = guard.check(token)
    assert (both.revocation, both.unsigned_list) == (kill, None)
    show(scene.revocations.view)
    assert guard.check(token).revocation == kill
    show(scene.revocations.view, listed(target))
    scene.revocations.retract(target, kill)
    assert guard.check(token).unsigned_list == ISSUER
    show(scene.revocations.view)
    assert guard.check(token)


def test_a_list_may_name_badges_by_when_they_were_issued() -> None:
    """As `issued_before` of a kill."""
    scene = Scene()
    show(scene.revocations.view, listed(AGENT_KILLED, cut=NOW - 1))
    guard = scene.guard()
    assert guard.check(scene.issuer.badge())
    assert not guard.check(scene.issuer.badge(iat=NOW - 1))


def test_who_is_only_suspended_there_is_refused_where_that_is_asked_for() -> None:
    """By the code of a suspension, naming the list; not for level 0."""
    scene = Scene()
    show(scene.revocations.view, listed(suspended=(AGENT_KILLED,)))
    token = scene.issuer.badge()
    assert scene.guard().check(token)
    refused = scene.guard(deny_suspended=True).check(token)
    assert (refused.code, refused.unsigned_list) == (Code.BADGE_AGENT_DISABLED, ISSUER)
    observed = scene.guard(deny_suspended=True, rule=Rule(Mode.OBSERVE)).check(token)
    assert observed
    assert observed.unsigned_list is None


def test_a_list_that_kills_is_not_hidden_by_a_suspension() -> None:
    """A suspension that `observe` lets pass stands before nothing."""
    scene = Scene()
    scene.revocations.kill(AGENT_KILLED, effect="issuance")
    show(scene.revocations.view, listed(AGENT_KILLED))
    guard = scene.guard(deny_suspended=True, rule=Rule(Mode.OBSERVE))
    assert guard.check(scene.issuer.badge()).code is Code.BADGE_REVOKED


@pytest.mark.parametrize("bent", [{"ial": ABSENT}, {"exp": NOW - 1000, "iat": NOW - 1300}])
def test_no_other_fault_hides_a_list(bent: dict[str, Any]) -> None:
    """A badge that is bad in form or expired shows as revoked, as by a kill."""
    scene = Scene()
    token = scene.issuer.badge(**bent)
    guard = scene.guard()
    assert guard.check(token).code is not Code.BADGE_REVOKED
    show(scene.revocations.view, listed(badge(read_jti(token))))
    assert guard.check(token).code is Code.BADGE_REVOKED


def test_the_second_look_sees_a_list_that_came_meanwhile() -> None:
    """The result of a call is withheld."""
    scene = Scene()
    guard, token = scene.guard(), scene.issuer.badge()
    decision = guard.check(token)
    assert guard.recheck(decision)
    show(scene.revocations.view, listed(badge(read_jti(token))))
    assert guard.recheck(decision).unsigned_list == ISSUER


def test_work_in_flight_ends_with_a_list() -> None:
    """Its watcher is woken by the swap of the lists."""
    scene = Scene()
    guard, token = scene.guard(), scene.issuer.badge()
    ended, refusals = threading.Event(), list[Decision]()

    def end(refusal: Decision) -> None:
        refusals.append(refusal)
        ended.set()

    work = guard.watch(guard.check(token), end)
    show(scene.revocations.view, listed(AGENT_KILLED))
    assert ended.wait(WITHIN_S)
    work.close()
    assert [each.unsigned_list for each in refusals] == [ISSUER]


def test_the_explanation_says_that_nobody_signed_it() -> None:
    """Step 7 names the list, and what it is."""
    scene = Scene()
    token = scene.issuer.badge()
    show(scene.revocations.view, listed(AGENT_KILLED))
    at = scene.revocations.view.published
    steps = Explanation(scene.guard(), at, scene.clock.wall()).run(token)
    [seventh] = [step for step in steps if step.number == 7]
    assert seventh.code == "BADGE_REVOKED"
    assert seventh.detail.endswith(f"{ISSUER}); no publisher of this fabric has said so")


def test_the_reference_cache_sees_lists() -> None:
    """By `jti`, under the issuers it was given."""
    scene = Scene()
    cache = RevocationCache(scene.revocations.view, [ISSUER])
    assert not cache.is_revoked("7")
    show(scene.revocations.view, listed(badge("7")))
    assert cache.is_revoked("7")
    assert not RevocationCache(scene.revocations.view, [OTHER]).is_revoked("7")


def test_a_guard_that_was_told_not_to_look_looks_into_no_list() -> None:
    """`revocation="skip"` is one switch for all."""
    scene = Scene()
    show(scene.revocations.view, listed(AGENT_KILLED))
    assert scene.guard(revocation="skip").check(scene.issuer.badge())


def test_two_keepers_of_one_view_are_told() -> None:
    """One would undo what the other lists."""
    scene = Scene()
    view = scene.revocations.view
    before = view.lists
    view.show_lists([listed(badge("1"))], before)
    with pytest.raises(TwoWriters, match="one per view"):
        view.show_lists([], before)
    assert len(view.lists) == 1
