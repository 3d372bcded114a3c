"""A badge map that the issuer has bound to the caller's badge: nothing left out, hops proven."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rescind_guard import Code, Decision, Mode, Outcome, Rule, evidence, hops, policy_input
from rescind_guard.admission import WorkEnded
from rescind_guard.badges import Claims
from rescind_guard.errors import Refused
from rescind_guard.rego import Rego
from rescind_protocol import targets
from rescind_protocol.encoding import b64url_encode
from tests.fakes.badges import Scene
from tests.fakes.fabric import NOW
from tests.unit.guard.test_hops import MIDDLE, ROOT, chain

RULE = f"""package capiscio.policy
import rego.v1
default decision := "DENY"
decision := "ALLOW" if {{
    count(input.context.chain) == 2
    input.context.chain[0].did == "{ROOT}"
    input.context.chain[1].trust_level == "2"
}}
"""


class Bound:
    """A caller's badge, bound to the map of two hops."""

    def __init__(self, scene: Scene | None = None, **bent: Any) -> None:
        self.scene = scene or Scene()
        self.hops = chain(self.scene, **bent)
        self.raw = msgspec.json.encode(self.hops)
        self.header = b64url_encode(self.raw)
        self.badge = self.scene.issuer.badge(map_hash=hops.hash_of(self.raw))

    def ask(self, header: str | None, **options: Any) -> Decision:
        """Decide a call with this map."""
        return self.scene.guard(**options).check(self.badge, tool="t", badge_map=header)


def test_the_map_it_is_bound_to_proves_the_hops() -> None:
    """In the claims, where policy looks; without the binding only beside them."""
    bound = Bound()
    decision = bound.ask(bound.header)
    assert decision
    assert decision.claims is not None
    assert [hop.sub for hop in decision.claims.chain] == [ROOT, MIDDLE]
    unbound = bound.scene.guard().check(bound.scene.issuer.badge(), badge_map=bound.header)
    assert unbound.claims is not None
    assert unbound.claims.chain == ()
    assert len(unbound.hops) == 2


def less(found: dict[str, str], did: str) -> dict[str, str]:
    """Return a map without a hop."""
    return {name: badge for name, badge in found.items() if name != did}


OTHER_MAPS: dict[str, Callable[[Bound], bytes | None]] = {
    "none": lambda _: None,
    "no hop": lambda _: b"{}",
    "the root left out": lambda b: msgspec.json.encode(less(b.hops, ROOT)),
    "the other order": lambda b: msgspec.json.encode(dict(reversed(b.hops.items()))),
    "one more": lambda b: msgspec.json.encode(
        b.hops | {"did:web:x.example:x": b.scene.issuer.badge(sub="did:web:x.example:x")}
    ),
    "a newer badge": lambda b: msgspec.json.encode(chain(b.scene)),
    "the same, written otherwise": lambda b: json.dumps(b.hops).encode(),
}


@pytest.mark.parametrize("name", OTHER_MAPS)
def test_a_badge_is_good_with_its_own_map_alone(name: str) -> None:
    """So nobody leaves out the hop that is killed, or brings one that nobody has bound."""
    bound = Bound()
    raw = OTHER_MAPS[name](bound)
    decision = bound.ask(None if raw is None else b64url_encode(raw))
    assert (decision.outcome, decision.code) == (Outcome.DENY, Code.BADGE_CLAIMS_INVALID)
    assert "badge map" in decision.reason
    assert bound.ask(bound.header), "the control"


def test_an_empty_hash_binds_too() -> None:
    """There is no map that it fits."""
    bound = Bound()
    badge = bound.scene.issuer.badge(map_hash="")
    for header in (None, bound.header):
        decision = bound.scene.guard().check(badge, badge_map=header)
        assert decision.code is Code.BADGE_CLAIMS_INVALID


def test_an_allow_is_not_remembered_without_its_map() -> None:
    """A badge that came with its map is asked for it again."""
    bound = Bound()
    guard = bound.scene.guard()
    for _ in range(2):
        assert guard.check(bound.badge, badge_map=bound.header)
        assert guard.check(bound.badge).code is Code.BADGE_CLAIMS_INVALID


KILLS = {
    "root": targets.agent(ROOT),
    "middle": targets.agent(MIDDLE),
    "the root's session": targets.session("root-1"),
}


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("name", KILLS)
def test_a_kill_of_any_hop_ends_its_descendants(name: str, mode: Mode) -> None:
    """By agent or by session, before the call and while it runs; and there is no way around it."""
    bound = Bound(sid="root-1")
    guard = bound.scene.guard(rule=Rule(mode))
    running = guard.check(bound.badge, badge_map=bound.header)
    assert guard.recheck(running)
    bound.scene.revocations.kill(KILLS[name])
    assert guard.check(bound.badge, badge_map=bound.header).code is Code.BADGE_REVOKED
    assert guard.recheck(running).code is Code.BADGE_REVOKED
    around = bound.scene.guard().check(bound.badge, badge_map=None)
    assert around.code is Code.BADGE_CLAIMS_INVALID


async def test_work_ends_when_a_hop_is_killed() -> None:
    """The watcher looks at the hops, too."""
    bound = Bound()
    guard = bound.scene.guard()

    async def work() -> None:
        async with guard.admit(bound.badge, badge_map=bound.header):
            bound.scene.revocations.kill(targets.agent(ROOT))
            await asyncio.Event().wait()

    with pytest.raises(WorkEnded) as ended:
        await asyncio.wait_for(work(), 20)
    assert ended.value.decision.code is Code.BADGE_REVOKED


def test_calls_that_passed_before_a_kill_count_for_the_hops_too() -> None:
    """So the report of a root's kill tells of its descendants' calls."""
    bound = Bound()
    guard = bound.scene.guard()
    guard.check(bound.badge, badge_map=bound.header)
    guard.check(bound.scene.issuer.badge())
    at = bound.scene.clock.boot()
    (passed,) = bound.scene.revocations.view.passed.before([(at, [targets.agent(ROOT).digest])])
    assert [calls for _, calls in passed.steps] == [1]


def test_policy_is_told_of_proven_hops_alone() -> None:
    """The input document has them as subjects; without the binding there is no such member."""
    bound = Bound()
    asked: list[Claims] = []
    guard = bound.scene.guard(policy=lambda claims, _: asked.append(claims))
    guard.check(bound.badge, badge_map=bound.header)
    guard.check(bound.scene.issuer.badge(), badge_map=bound.header)
    context = policy_input.Context("EM-STRICT", None)
    documents: list[Any] = [policy_input.document(each, "t", context, NOW)[0] for each in asked]
    proven, unproven = (each["context"] for each in documents)
    root = {"did": ROOT, "ial": "0", "trust_level": "2"}
    assert root.items() <= proven["chain"][0].items()
    assert len(proven["chain"]) == 2
    assert "chain" not in unproven


def test_rego_decides_by_proven_hops(tmp_path: Path) -> None:
    """They reach the engine as a list."""
    (tmp_path / "policy.rego").write_text(RULE)
    bound = Bound()
    policy = Rego(tmp_path, clock=bound.scene.clock)
    assert bound.ask(bound.header, policy=policy)
    unbound = bound.scene.guard(policy=policy).check(
        bound.scene.issuer.badge(), badge_map=bound.header
    )
    assert unbound.code is Code.TOOL_POLICY_DENIED


def test_evidence_names_proven_hops_alone() -> None:
    """A list of agents, the badges never."""
    bound = Bound()
    entry = evidence.Entry(NOW, bound.ask(bound.header), "t", None)
    said = evidence.record(entry, evidence.About())
    assert said["rescind.chain"] == [ROOT, MIDDLE]
    assert not [each for each in bound.hops.values() if each in str(said)]
    loose = bound.scene.guard().check(bound.scene.issuer.badge(), badge_map=bound.header)
    assert "rescind.chain" not in evidence.record(
        evidence.Entry(NOW, loose, "t", None), evidence.About()
    )


def test_where_faults_are_observed_a_false_map_proves_nothing() -> None:
    """The call passes, as any fault does there; its hops are watched and not believed."""
    bound = Bound()
    other = b64url_encode(msgspec.json.encode(less(bound.hops, ROOT)))
    decision = bound.ask(other, rule=Rule(Mode.OBSERVE))
    assert decision
    assert decision.code is Code.BADGE_CLAIMS_INVALID
    assert decision.claims is not None
    assert decision.claims.chain == ()


def test_where_faults_are_observed_a_hop_with_one_is_watched_all_the_same() -> None:
    """A kill that comes while the call runs counts for it, too."""
    bound = Bound(exp=NOW - 1000, iat=NOW - 1300)
    guard = bound.scene.guard(rule=Rule(Mode.OBSERVE))
    decision = guard.check(bound.badge, tool="t", badge_map=bound.header)
    assert decision
    assert "expired" in decision.warnings[-1]
    bound.scene.revocations.kill(targets.agent(ROOT))
    assert guard.recheck(decision).code is Code.BADGE_REVOKED


def test_two_spellings_of_one_agent_are_refused() -> None:
    """Of two badges for one agent only one would be looked at."""
    badges = {"did:web:A.example:x": "one", "did:web:a.example:x": "two"}
    with pytest.raises(Refused, match="listed twice") as caught:
        hops.read(b64url_encode(msgspec.json.encode(badges)))
    assert caught.value.answer is Code.BADGE_MALFORMED
