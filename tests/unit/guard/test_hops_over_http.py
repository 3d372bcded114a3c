"""The badge map as it comes with a plain HTTP request."""

import pytest

from rescind_guard import Code, Decision
from rescind_guard.integrations import carriage, http
from rescind_protocol import targets
from tests.fakes.badges import AGENT, Scene
from tests.unit.guard.test_hops import ROOT, chain, encoded


def decide(scene: Scene, *maps: str, exempt: bool = False) -> Decision:
    """Decide on a request with these maps."""
    headers = [("X-Capiscio-Badge", scene.issuer.badge())]
    headers += [("X-Capiscio-Badge-Map", each) for each in maps]
    return http.decide(scene.guard(), iter(headers), tool="t", bearer="badge", exempt=exempt)


def test_a_killed_hop_denies_a_request() -> None:
    """And a living one does not."""
    scene = Scene()
    header = encoded(chain(scene))
    assert decide(scene, header)
    scene.revocations.kill(targets.agent(ROOT))
    assert decide(scene, header).code is Code.BADGE_REVOKED
    assert decide(scene), "what is left out cannot be seen"


def test_two_maps_and_a_dead_caller_are_refused() -> None:
    """The caller's own kill is the answer, whatever is behind it."""
    scene = Scene()
    header = encoded(chain(scene))
    assert decide(scene, header, header).code is Code.BADGE_MALFORMED
    scene.revocations.kill(targets.agent(AGENT))
    assert not decide(scene, header).reason.startswith("a hop")


@pytest.mark.parametrize("name", [b"X-Capiscio-Badge-Map", b"x-capiscio-badge-map"])
def test_no_handler_sees_the_map(name: bytes) -> None:
    """It is full of badges."""
    assert carriage.carries_badge(name, b"x")
    assert not http.is_kept(name, b"x", bearer="badge")


def test_a_policy_that_failed_is_no_fault_of_the_badge() -> None:
    """403: another badge would not help."""
    scene = Scene()
    guard = scene.guard(policy=lambda *_: 1 / 0)
    assert http.status_of(guard.check(scene.issuer.badge())) == 403
