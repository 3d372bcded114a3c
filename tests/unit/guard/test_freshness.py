"""I4 and the freshness rule: what a guard may say when its view may have missed a kill."""

from math import inf, nan
from typing import Any

import pytest
from msgspec.structs import replace

from rescind_guard import Code, Guard, Mode, Outcome, Rule, View, freshness
from rescind_guard.cache import Kept, TokenCache
from rescind_guard.errors import BadGuard
from rescind_guard.freshness import TABLE, Call, Need, Row, needed
from rescind_guard.guard import STALE_GRACE_S, STALE_SAID_EVERY_S
from rescind_protocol import targets
from rescind_protocol.limits import MAX_STALENESS_S, SKEW_S
from tests.fakes.badges import AGENT, Issuer, Scene, own_badge, self_signed
from tests.fakes.fabric import NOW

LEVELS = ["0", "1", "2", "3", "4"]
LONER = self_signed()


def badge(scene: Scene, level: str) -> str:
    """Return a badge of a level, good for an hour."""
    if level == "0":
        return own_badge(LONER, exp=NOW + 3600)
    return scene.issuer.badge(level, exp=NOW + 3600)


def guard(scene: Scene, mode: Mode = Mode.BEST_EFFORT, **options: Any) -> Guard:
    """Return a guard of a mode that accepts every level."""
    return scene.guard(rule=Rule(mode, **options), accept_self_signed=True, profile="dev")


def cannot_tell(g: Guard, token: str, tool: str | None = None) -> bool:
    """Whether the answer is "cannot tell", which is neither allowed nor denied."""
    decision = g.check(token, tool=tool)
    if decision.outcome is not Outcome.CANNOT_TELL:
        return False
    assert decision.code is Code.REVOCATION_CHECK_FAILED
    assert not decision
    return True


@pytest.mark.parametrize("level", LEVELS)
def test_never_synced_is_stale(level: str) -> None:
    """A guard that has heard nothing cannot tell for levels 2 to 4, and warns for 0 and 1."""
    scene = Scene()
    g = Guard(View(), scene.issuers, clock=scene.clock, accept_self_signed=True, profile="dev")
    token = badge(scene, level)
    assert cannot_tell(g, token) == (level >= "2")
    if level < "2":
        assert g.check(token).warnings == ("view of revocations is stale",)
    else:
        assert g.check(token).reason == "cannot tell: the view of revocations was never synced"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("mode", Mode)
def test_a_stale_view_is_judged_by_level_and_mode(level: str, mode: Mode) -> None:
    """Strict: no level passes; best effort: 0 and 1 with a warning; observe: all, recorded."""
    scene = Scene()
    g = guard(scene, mode)
    token = badge(scene, level)
    assert g.check(token).warnings == ()
    scene.clock.advance(MAX_STALENESS_S + 1)
    denied = mode is Mode.STRICT or (mode is Mode.BEST_EFFORT and level >= "2")
    assert cannot_tell(g, token) == denied
    if not denied:
        assert g.check(token)
        assert g.check(token).warnings


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("tool", ["refund", "search", None])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("view", ["fresh", "stale", "never synced", "not trusted"])
def test_the_strictest_of_level_action_and_mode_wins(
    level: str, tool: str | None, mode: Mode, view: str
) -> None:
    """Every combination, with a decision in the cache or none; a known kill goes before all."""
    scene = Scene()
    g, token = guard(scene, mode, strict_tools={"refund"}), badge(scene, level)
    if view != "never synced":
        assert g.check(token, tool=tool)  # cached from here on
    make_stale(scene, view)
    needs_fresh = level >= "2" or tool == "refund" or mode is Mode.STRICT
    decision = g.check(token, tool=tool)
    if view == "fresh":
        assert (decision.outcome, decision.warnings) == (Outcome.ALLOW, ())
    elif not needs_fresh:
        assert (decision.outcome, decision.code) == (Outcome.ALLOW, Code.OK)
        assert decision.warnings == ("view of revocations is stale",)
    else:
        assert decision.code is Code.REVOCATION_CHECK_FAILED
        passes = Outcome.ALLOW if mode is Mode.OBSERVE else Outcome.CANNOT_TELL
        assert decision.outcome is passes
    scene.revocations.kill(targets.everyone())
    assert g.check(token, tool=tool).code is Code.BADGE_REVOKED
    assert g.check(token, tool=tool).outcome is Outcome.DENY


def make_stale(scene: Scene, view: str) -> None:
    """Bring the view about."""
    if view == "stale":
        scene.clock.advance(MAX_STALENESS_S)
    elif view == "not trusted":
        scene.revocations.view.distrust()
    elif view == "never synced":
        at = scene.revocations.view.published
        scene.revocations.view.published = at._replace(as_of_wall=-inf, as_of_boot=-inf)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.by} {row.when}")
def test_each_row_of_the_rule_bites(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with a row's need turned round, some call is answered otherwise."""
    calls = [
        Call(int(level), tool, mode, frozenset({"refund"}))
        for level in LEVELS
        for tool in ("refund", "search", None)
        for mode in Mode
    ]
    before = [needed(call) for call in calls]
    other = Need.WARNING if row.need is Need.FRESH else Need.FRESH
    table = [replace(each, need=other) if each is row else each for each in TABLE]
    monkeypatch.setattr(freshness, "TABLE", table)
    assert [needed(call) for call in calls] != before


def test_one_row_of_each_holds() -> None:
    """No call falls through, none is asked for twice by the same."""
    for level in LEVELS:
        for tool in ("refund", "search", None, ["refund"], 7):
            for mode in Mode:
                call = Call(int(level), tool, mode, frozenset({"refund"}))
                assert [r.by for r in TABLE if r.holds(call)] == ["level", "action", "mode"]


def test_observe_says_what_it_would_have_said() -> None:
    """In `observe` the code and the would-be outcome are recorded, and the call passes."""
    scene = Scene()
    scene.clock.advance(MAX_STALENESS_S + 1)
    decision = guard(scene, Mode.OBSERVE).check(scene.issuer.badge("4", exp=NOW + 3600))
    assert decision
    assert decision.code is Code.REVOCATION_CHECK_FAILED
    assert decision.warnings[0].startswith("observe: would cannot_tell: cannot tell")


def test_an_action_may_be_strict() -> None:
    """A tool named strict needs a fresh view at every level; other tools do not."""
    scene = Scene()
    g = guard(scene, strict_tools=frozenset({"refund"}))
    token = badge(scene, "1")
    assert g.check(token, tool="refund")
    scene.clock.advance(MAX_STALENESS_S + 1)
    assert cannot_tell(g, token, "refund")
    assert g.check(token, tool="search")
    assert g.check(token)


@pytest.mark.parametrize("clock", ["wall", "boot"])
@pytest.mark.parametrize("seen_before", [False, True])
def test_the_older_of_two_ages_counts(clock: str, *, seen_before: bool) -> None:
    """Either clock alone makes a view stale; within the limit by both it is fresh."""
    scene = Scene()
    g, token = guard(scene), badge(scene, "2")
    if seen_before:
        assert g.check(token)
    setattr(scene.clock, f"{clock}_s", getattr(scene.clock, f"{clock}_s") + MAX_STALENESS_S - 0.1)
    assert g.check(token)
    setattr(scene.clock, f"{clock}_s", getattr(scene.clock, f"{clock}_s") + 0.2)
    assert cannot_tell(g, token)


def test_a_wall_clock_set_back_makes_nothing_younger() -> None:
    """Set back by an hour while time goes on: the boot clock ends freshness all the same."""
    scene = Scene()
    g, token = guard(scene), badge(scene, "2")
    assert g.check(token)
    scene.clock.wall_s -= 30
    scene.clock.advance(MAX_STALENESS_S + 1)
    assert scene.clock.wall_s - NOW < MAX_STALENESS_S
    assert cannot_tell(g, token)


def test_a_suspended_laptop_wakes_up_stale() -> None:
    """CLOCK_BOOTTIME goes on during suspend, even if the wall clock woke up in the past."""
    scene = Scene()
    g, token = guard(scene), badge(scene, "2")
    assert g.check(token)
    scene.clock.boot_s += 8 * 3600
    assert cannot_tell(g, token)


def test_a_newer_proof_ends_staleness_and_its_warnings() -> None:
    """A head that is covered makes the next check fresh, also for a cached badge."""
    scene = Scene()
    g = guard(scene)
    strong, weak = badge(scene, "2"), badge(scene, "1")
    scene.clock.advance(MAX_STALENESS_S + 1)
    assert cannot_tell(g, strong)
    assert g.check(weak).warnings
    scene.revocations.freshen()
    assert g.check(strong)
    assert g.check(weak).warnings == ()


def test_a_kill_is_no_proof_of_freshness() -> None:
    """One pushed event leaves a stale view stale (a fault of the reference's cache)."""
    scene = Scene()
    g, token = guard(scene), badge(scene, "2")
    scene.clock.advance(MAX_STALENESS_S + 1)
    scene.revocations.kill(targets.agent("did:web:acme.example:other"))
    assert cannot_tell(g, token)


def test_a_view_not_trusted_is_stale_and_forgets_no_kill() -> None:
    """I10: after an event that cannot be read levels 2 to 4 wait, and the killed stay killed."""
    scene = Scene()
    g, token = guard(scene), badge(scene, "2")
    assert g.check(token)
    scene.revocations.view.distrust()
    assert cannot_tell(g, token)
    scene.revocations.kill(targets.agent(AGENT))
    assert g.check(token).code is Code.BADGE_REVOKED


def serves_past_the_limit(scene: Scene) -> bool:
    """Run attack B1: the broker dies, nothing is swapped, and a cached badge goes on."""
    g, token = guard(scene), badge(scene, "4")
    assert g.check(token)
    assert g.check(token)
    scene.clock.advance(MAX_STALENESS_S + 1)
    return bool(g.check(token))


def test_a_cached_decision_ends_with_its_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cached badge of level 4 is not served beyond the freshness limit (attack B1).

    Negative control: kept until the badge's own end, it is.
    """
    assert not serves_past_the_limit(Scene())
    put = TokenCache.put

    def until_exp(cache: TokenCache, token: str, kept: Kept) -> None:
        end = kept.claims.exp + SKEW_S
        longer = Kept(kept.claims, kept.issuers, kept.generation, end, inf, kept.decision)
        put(cache, token, longer)

    monkeypatch.setattr(TokenCache, "put", until_exp)
    assert serves_past_the_limit(Scene())


def test_a_cached_decision_ends_with_its_badge() -> None:
    """A cached badge is denied when it expires, on a view that is fresh throughout."""
    scene = Scene()
    g, token = guard(scene), Issuer().badge(exp=NOW + 60)
    assert g.check(token)
    scene.clock.advance(60 + SKEW_S - 0.1)
    assert g.check(token)
    scene.clock.advance(0.1)
    assert g.check(token).code is Code.BADGE_EXPIRED


@pytest.mark.parametrize("limit", [0, -1, nan, inf, MAX_STALENESS_S + 1])
def test_a_limit_that_proves_nothing_is_refused(limit: float) -> None:
    """The limit is above 0 and at most 300 s (RFC-001 §4.3)."""
    with pytest.raises(BadGuard, match="stale_after_s"):
        Rule(stale_after_s=limit)


def test_a_mode_given_as_text_is_that_mode() -> None:
    """`"strict"` is strict, and a mode that does not exist is an error, never a weaker one."""
    scene = Scene()
    scene.clock.advance(MAX_STALENESS_S + 1)
    strict = scene.guard(rule=Rule("strict"))  # type: ignore[arg-type]
    assert cannot_tell(strict, scene.issuer.badge("1", exp=NOW + 3600))
    with pytest.raises(BadGuard, match="'stricter' is none of strict, best_effort, observe"):
        Rule("stricter")  # type: ignore[arg-type]


def test_one_name_is_no_set_of_tools() -> None:
    """A text as `strict_tools` would be taken for its letters."""
    with pytest.raises(BadGuard, match="strict_tools"):
        Rule(strict_tools="refund")


def test_a_tool_that_is_no_text_is_judged_like_any_other() -> None:
    """An unhashable tool raises nothing."""
    scene = Scene()
    token = badge(scene, "1")
    scene.clock.advance(MAX_STALENESS_S + 1)
    g = guard(scene, strict_tools=frozenset({"refund"}))
    assert cannot_tell(g, token, ["refund"])  # type: ignore[arg-type]


def test_calls_that_pass_on_a_stale_view_are_logged_once_in_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first seconds of a start say nothing; after that one line, and another in ten minutes."""
    scene = Scene()
    g, token = Guard(View(), scene.issuers, clock=scene.clock), badge(scene, "1")
    said: list[int] = []
    for wait_s in (0, STALE_GRACE_S, 1, STALE_SAID_EVERY_S - 1):
        scene.clock.advance(wait_s)
        assert g.check(token)
        said.append(sum("was never synced" in each.message for each in caplog.records))
    assert said == [0, 1, 1, 2]
