"""Each protection against a dead badge, and the same scenario with the protection out.

A scenario returns whether a killed badge got through. With the guard as it is, it must not; with
one protection taken out it must, or the test could not fail.
"""

from collections.abc import Callable, Iterable
from math import inf

import msgspec
import pytest

from rescind_guard import Code, Guard, Mode, Rule, View
from rescind_guard import guard as guard_module
from rescind_guard.badges import Claims
from rescind_guard.cache import Kept, TokenCache
from rescind_guard.decision import Decision, refusal
from rescind_guard.errors import Refused
from rescind_guard.lookup import check_view
from rescind_guard.verifier import Verifier
from rescind_guard.view import Published
from rescind_protocol import targets
from rescind_protocol.table import Table
from tests.fakes.badges import ABSENT, AGENT, Scene
from tests.fakes.fabric import NOW

Scenario = Callable[[], bool]


def cached_then_killed() -> bool:
    """A badge is cached, then killed; whether it is served."""
    scene = Scene()
    guard, badge = scene.guard(), scene.issuer.badge()
    assert guard.check(badge)
    assert guard.check(badge)
    scene.revocations.kill(targets.agent(AGENT))
    return bool(guard.check(badge))


def killed_while_the_tool_runs() -> bool:
    """A badge is killed during its call; whether the result leaves."""
    scene = Scene()
    guard = scene.guard()
    decision = guard.check(scene.issuer.badge())
    scene.revocations.kill(targets.agent(AGENT))
    return bool(guard.recheck(decision))


def killed_and_stale() -> bool:
    """A killed badge on a stale view; whether "cannot tell" hides the kill."""
    scene = Scene()
    guard, badge = scene.guard(), scene.issuer.badge()
    scene.revocations.kill(targets.agent(AGENT))
    scene.clock.boot_s += 10_000
    return guard.check(badge).code is not Code.BADGE_REVOKED


def killed_and_stale_in_observe() -> bool:
    """The same where "cannot tell" lets pass."""
    scene = Scene()
    guard, badge = scene.guard(rule=Rule(Mode.OBSERVE)), scene.issuer.badge()
    scene.revocations.kill(targets.agent(AGENT))
    scene.clock.boot_s += 10_000
    return bool(guard.check(badge))


def killed_and_expired_in_observe() -> bool:
    """A killed badge that expired besides, where expiry lets pass."""
    scene = Scene()
    guard = scene.guard(rule=Rule(Mode.OBSERVE))
    badge = scene.issuer.badge(iat=NOW - 900, exp=NOW - 600)
    scene.revocations.kill(targets.agent(AGENT))
    return bool(guard.check(badge))


def killed_without_typ_in_observe() -> bool:
    """A killed badge with a fault of form, where that lets pass."""
    scene = Scene()
    guard = scene.guard(rule=Rule(Mode.OBSERVE))
    badge = scene.issuer.badge(header={"typ": ABSENT})
    scene.revocations.kill(targets.agent(AGENT))
    return bool(guard.check(badge))


def killed_and_listing_tools() -> bool:
    """A killed badge at a method that needs none; whether it is let in."""
    scene = Scene()
    guard, badge = scene.guard(), scene.issuer.badge()
    scene.revocations.kill(targets.agent(AGENT))
    return bool(guard.admits_exempt(badge))


def killed_where_policy_allows_all() -> bool:
    """A killed badge, and a policy that allows everything; whether it gets in."""
    scene = Scene()
    guard, badge = scene.guard(policy=lambda *_: None), scene.issuer.badge()
    assert guard.check(badge, tool="search")
    scene.revocations.kill(targets.agent(AGENT))
    return bool(guard.check(badge, tool="search"))


def killed_in_em_observe() -> bool:
    """The same where refusals are only recorded."""
    scene = Scene()
    guard, badge = scene.guard(enforcement_mode="EM-OBSERVE"), scene.issuer.badge()
    scene.revocations.kill(targets.agent(AGENT))
    return bool(guard.check(badge))


def root_killed() -> bool:
    """The root of a delegation is killed; whether a badge far down its chain gets in."""
    scene = Scene()
    badge = scene.other.badge(sub="did:web:far.example:down", sid="root-1")
    scene.revocations.kill(targets.session("root-1"))
    return bool(scene.guard().check(badge))


def under_another_issuer() -> bool:
    """The killed agent comes with another issuer's badge."""
    scene = Scene()
    scene.revocations.kill(targets.agent(AGENT))
    return bool(scene.guard().check(scene.other.badge()))


# --- the protections, taken out one by one ---


def no_generation(patch: pytest.MonkeyPatch) -> None:
    """A cached decision is good whatever the view's generation."""

    class Any(int):
        """Equals every generation."""

        __hash__ = int.__hash__

        def __eq__(self, other: object) -> bool:
            return True

    put = TokenCache.put

    def kept_for_good(cache: TokenCache, token: str, kept: Kept) -> None:
        put(
            cache,
            token,
            Kept(kept.claims, kept.issuers, Any(), inf, inf, kept.decision),
        )

    patch.setattr(TokenCache, "put", kept_for_good)


def no_generation_moves(patch: pytest.MonkeyPatch) -> None:
    """A swap publishes the table under the old generation."""

    def swap(view: View, table: Table) -> None:
        at = view.published
        view.published = Published(at.generation, table, at.as_of_wall, at.as_of_boot)

    patch.setattr(View, "swap", swap)


def no_second_look(patch: pytest.MonkeyPatch) -> None:
    """A decision once made stands."""
    patch.setattr(Guard, "recheck", lambda _guard, decision: decision)


def freshness_first(patch: pytest.MonkeyPatch) -> None:
    """The freshness rule comes before the view, and nothing looks again."""

    def judge(
        guard: Guard, claims: Claims, tool: str | None, published: Published
    ) -> tuple[str, ...]:
        warnings = guard.check_fresh(claims, tool, published, guard._wall())
        guard.check_revocation(claims, published)
        return warnings

    patch.setattr(Guard, "_judge", judge)
    no_look_past_a_refusal(patch)


def no_look_past_a_refusal(patch: pytest.MonkeyPatch) -> None:
    """The first refusal is the answer."""

    def refuse(guard: Guard, refused: Refused, claims: Claims | None, _: Published) -> Decision:
        return guard._soften(refusal(refused, claims, ()))

    patch.setattr(Guard, "_refuse", refuse)


def nobody_behind_faults(patch: pytest.MonkeyPatch) -> None:
    """A badge with a fault of form is nobody's."""
    patch.setattr(Verifier, "despite", lambda *_: None)


def exempt_unchecked(patch: pytest.MonkeyPatch) -> None:
    """Exempt methods look at no badge."""
    admits = Guard.admits_exempt
    patch.setattr(Guard, "admits_exempt", lambda guard, _: admits(guard, None))


def agents_by_issuer(patch: pytest.MonkeyPatch) -> None:
    """An agent is looked up under its issuer only, as `agent(iss, sub)` would be (attack B5)."""
    issuer = Scene().issuer.iss

    def look_up(claims: Claims, table: Table) -> None:
        if claims.iss == issuer:
            check_view(claims, table)

    patch.setattr(guard_module, "check_view", look_up)


def policy_has_the_last_word(patch: pytest.MonkeyPatch) -> None:
    """What was refused passes if policy allows it."""

    def refuse(guard: Guard, refused: Refused, claims: Claims, _: Published) -> Decision:
        found = refusal(refused, claims, ())
        guard.check_policy(claims, None)
        return guard._pass(found)

    patch.setattr(Guard, "_refuse", refuse)


def kills_are_observed_too(patch: pytest.MonkeyPatch) -> None:
    """Observing means observing everything."""
    patch.setattr(Guard, "_soften", Guard._pass)


def sessions_unread(patch: pytest.MonkeyPatch) -> None:
    """A badge's `sid` is no target."""

    def look_up(claims: Claims, table: Table) -> None:
        check_view(msgspec.structs.replace(claims, targets=claims.targets[:5]), table)

    patch.setattr(guard_module, "check_view", look_up)


PROTECTED: list[tuple[Scenario, Iterable[Callable[[pytest.MonkeyPatch], None]]]] = [
    (cached_then_killed, [no_generation, no_generation_moves]),
    (killed_while_the_tool_runs, [no_second_look]),
    (killed_and_stale, [freshness_first]),
    (killed_and_stale_in_observe, [freshness_first]),
    (killed_and_expired_in_observe, [no_look_past_a_refusal]),
    (killed_without_typ_in_observe, [nobody_behind_faults, no_look_past_a_refusal]),
    (killed_and_listing_tools, [exempt_unchecked]),
    (killed_where_policy_allows_all, [policy_has_the_last_word]),
    (killed_in_em_observe, [kills_are_observed_too]),
    (root_killed, [sessions_unread]),
    (under_another_issuer, [agents_by_issuer]),
]
WITHOUT = [(scenario, out) for scenario, outs in PROTECTED for out in outs]


@pytest.mark.parametrize("scenario", [scenario for scenario, _ in PROTECTED])
def test_a_killed_badge_does_not_get_through(scenario: Scenario) -> None:
    """With every protection in place no scenario lets a killed badge through."""
    assert not scenario()


@pytest.mark.parametrize(("scenario", "out"), WITHOUT)
def test_it_would_get_through_without_the_protection(
    scenario: Scenario, out: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: with the protection out, the same scenario lets it through."""
    out(monkeypatch)
    assert scenario()
