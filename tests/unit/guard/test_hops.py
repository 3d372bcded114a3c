"""The badge map of the hops behind a caller: nobody has signed it, so it can only deny."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from rescind_guard import Code, Decision, Guard, Mode, Outcome, Rule, hops
from rescind_protocol import targets
from rescind_protocol.encoding import b64url_encode
from tests.fakes.badges import ABSENT, Issuer, Scene
from tests.fakes.fabric import NOW, key_of

ROOT = "did:web:root.example:r"
MIDDLE = "did:web:middle.example:m"


def encoded(badges: Any) -> str:
    """Return a header's value."""
    return b64url_encode(msgspec.json.encode(badges))


def chain(scene: Scene, **bent: Any) -> dict[str, str]:
    """Return the badges of two hops; `bent` claims are those of the root's."""
    return {
        ROOT: scene.issuer.badge(**({"sub": ROOT, "aud": ["somebody else"]} | bent)),
        MIDDLE: scene.issuer.badge(sub=MIDDLE),
    }


def call(
    scene: Scene, badges: Mapping[str, str] | str, badge: str | None = None, **options: Any
) -> Decision:
    """Decide a call with hops behind it."""
    guard = scene.guard(**options)
    header = badges if isinstance(badges, str) else encoded(badges)
    return guard.check(badge or scene.issuer.badge(), tool="t", badge_map=header)


def test_living_hops_change_nothing() -> None:
    """The decision is the caller's own; who is behind it stands beside, and not in its claims."""
    scene = Scene()
    guard, badge = scene.guard(), scene.issuer.badge()
    alone = guard.check(badge)
    decision = guard.check(badge, badge_map=encoded(chain(scene)))
    assert [hop.sub for hop in decision.hops] == [ROOT, MIDDLE]
    assert msgspec.structs.replace(decision, hops=()) == alone


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("hop", [ROOT, MIDDLE])
def test_a_killed_hop_denies_in_every_mode(hop: str, mode: Mode) -> None:
    """Whatever else is wrong with another hop."""
    scene = Scene()
    name = scene.revocations.kill(targets.agent(hop))
    badges = chain(scene) | {"did:web:a.example:a": "junk"}
    decision = call(scene, badges, rule=Rule(mode))
    assert (decision.outcome, decision.code) == (Outcome.DENY, Code.BADGE_REVOKED)
    assert decision.revocation == name
    assert decision.reason.startswith("a hop behind the caller: ")


def test_a_fault_of_form_hides_no_kill() -> None:
    """Where faults are only observed, the hop is looked up all the same."""
    scene = Scene()
    scene.revocations.kill(targets.agent(ROOT))
    badges = chain(scene) | {ROOT: scene.issuer.badge(sub=ROOT, header={"typ": ABSENT})}
    assert call(scene, badges, rule=Rule(Mode.OBSERVE)).code is Code.BADGE_REVOKED


@pytest.mark.parametrize(
    ("bent", "code"),
    [
        ({"sub": "did:web:liar.example:x"}, Code.BADGE_CLAIMS_INVALID),
        ({"exp": NOW - 100, "iat": NOW - 300}, Code.BADGE_EXPIRED),
        ({"iss": "https://elsewhere.example"}, Code.BADGE_ISSUER_UNTRUSTED),
        ({"ial": "7"}, Code.BADGE_CLAIMS_INVALID),
    ],
)
def test_a_hop_that_is_not_what_it_is_listed_as_denies(bent: dict[str, Any], code: Code) -> None:
    """And only recorded where badges are only observed."""
    scene = Scene()
    assert call(scene, chain(scene, **bent)).code is code
    assert not call(scene, chain(scene, **bent))
    assert call(scene, chain(scene, **bent), rule=Rule(Mode.OBSERVE))


def test_a_forged_hop_denies() -> None:
    """A map could else bring badges that nobody has issued."""
    scene = Scene()
    forged = Issuer(key=key_of("stranger")).badge(sub=ROOT)
    assert call(scene, {ROOT: forged}).code is Code.BADGE_SIGNATURE_INVALID


@pytest.mark.parametrize(
    "header",
    [
        "",
        "not base64url!",
        "\ud800",
        encoded([]),
        encoded({ROOT: 3}),
        encoded({"no did": "x"}),
        encoded({f"did:web:a.example:{number}": "x" for number in range(hops.MAX_HOPS + 1)}),
        b64url_encode(b'{"did:web:a.example:a":"x","did:web:a.example:a":"y"}'),
        "A" * (hops.MAX_MAP_CHARS + 1),
    ],
)
def test_a_map_that_cannot_be_read_denies(header: str) -> None:
    """Half a map could have the killed hop in its other half."""
    decision = call(Scene(), header)
    assert (decision.outcome, decision.code) == (Outcome.DENY, Code.BADGE_MALFORMED)
    assert decision.reason.isprintable()


def helped_by_a_map() -> list[str]:
    """Return which refusals a map of high-level living hops turned into an allow."""
    scene = Scene()
    good = encoded({ROOT: scene.issuer.badge("4", sub=ROOT)})
    options: dict[str, dict[str, Any]] = {
        "level": {"minimum_level": 4},
        "policy": {"policy": lambda *_: "no"},
        "audience": {},
        "killed": {},
    }
    helped = []
    for fault, given in options.items():
        badge = scene.issuer.badge(aud=["x"] if fault == "audience" else ABSENT)
        if fault == "killed":
            badge = scene.issuer.badge(sub="did:web:dead.example:d")
            scene.revocations.kill(targets.agent("did:web:dead.example:d"))
        if call(scene, good, badge, **given):
            helped.append(fault)
    return helped


def test_no_map_helps_a_caller() -> None:
    """What was refused stays refused, whatever stands in the map."""
    assert helped_by_a_map() == []


def test_it_would_help_if_the_map_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: with the hops' own standing as the answer, each of them passes."""
    check = Guard.check

    def trusting(guard: Guard, _: str, badge_map: str, **__: object) -> Decision:
        (hop,) = hops.read(badge_map).badges.values()
        return check(Guard(guard._view, guard._keys, clock=Scene().clock), hop)

    monkeypatch.setattr(Guard, "check", trusting)
    assert helped_by_a_map() == ["level", "policy", "audience", "killed"]


def test_a_caller_may_leave_a_hop_out_but_not_its_session() -> None:
    """Why the map can only deny: what it leaves out it hides; `sid` is signed into each badge."""
    scene = Scene()
    scene.revocations.kill(targets.agent(ROOT))
    assert call(scene, {})
    scene.revocations.kill(targets.session("root-1"))
    for issuer in (scene.issuer, scene.other):  # down the chain, whoever has issued it
        decision = scene.guard().check(issuer.badge(sub=MIDDLE, sid="root-1"))
        assert decision.code is Code.BADGE_REVOKED
    assert scene.guard().check(scene.issuer.badge(sub=MIDDLE, sid="root-2"))


def test_a_hop_is_looked_up_again_when_the_call_returns() -> None:
    """I3 holds for the chain too."""
    scene = Scene()
    guard, badge = scene.guard(), scene.issuer.badge()
    decision, alone = guard.check(badge, badge_map=encoded(chain(scene))), guard.check(badge)
    assert guard.recheck(decision) is decision
    name = scene.revocations.kill(targets.agent(ROOT))
    now = guard.recheck(decision)
    assert (now.code, now.revocation) == (Code.BADGE_REVOKED, name)
    assert now.reason.startswith("a hop behind the caller: ")
    assert guard.recheck(alone), "the caller itself is alive: the map alone denies"
