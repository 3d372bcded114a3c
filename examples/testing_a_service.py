"""Testing a service that relies on a guard: no broker, no waiting, and the real decisions.

python -m pytest examples/testing_a_service.py
"""

from collections.abc import Iterator

import pytest

import rescind
from rescind.testing import Fabric


class Orders:
    """The service: it looks again when the work is done, for a kill may have come meanwhile."""

    def __init__(self, guard: rescind.Guard) -> None:
        self._guard = guard

    def status(self, badge: str, number: str) -> str:
        """Say how an order stands, to whoever may know."""
        decision = self._guard.check(badge, tool="order_status")
        if not decision:
            return f"refused: {decision.code}"
        answer = f"order {number} was shipped"
        decision = self._guard.recheck(decision)
        return answer if decision else f"withheld: {decision.code}"


@pytest.fixture
def fabric() -> Iterator[Fabric]:
    """A fabric of one publisher and any number of guards."""
    with Fabric() as fabric:
        yield fabric


def test_a_killed_badge_is_refused(fabric: Fabric) -> None:
    """At once, and as revoked."""
    orders, badge = Orders(fabric.guard()), fabric.badge("did:web:acme.example:x7")
    assert orders.status(badge.token, "7") == "order 7 was shipped"
    fabric.kill(badge, reason="compromise")
    assert orders.status(badge.token, "7") == "refused: BADGE_REVOKED"


def test_a_reinstated_agent_needs_a_new_badge(fabric: Fabric) -> None:
    """What was issued before the reinstatement stays dead."""
    orders, old = Orders(fabric.guard()), fabric.badge("did:web:acme.example:x7")
    fabric.kill(old.agent)
    fabric.reinstate(old.agent)
    assert orders.status(old.token, "7") == "refused: BADGE_REVOKED"
    new = fabric.badge("did:web:acme.example:x7")
    assert orders.status(new.token, "7") == "order 7 was shipped"


def test_a_service_that_was_cut_off_says_that_it_cannot_tell(fabric: Fabric) -> None:
    """After five minutes without a publisher's head; a kill that came meanwhile is not missed."""
    orders, badge = Orders(fabric.guard()), fabric.badge(ttl_s=3600)
    with fabric.outage():
        fabric.kill(badge)
        fabric.pass_s(301)
        assert orders.status(badge.token, "7") == "refused: REVOCATION_CHECK_FAILED"
    assert orders.status(badge.token, "7") == "refused: BADGE_REVOKED"
