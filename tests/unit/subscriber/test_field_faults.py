"""Faults seen in the field that a subscriber, or a fleet of them, can have; each by its name."""

import pytest

from rescind.testing.fabric import Fabric
from rescind_guard import Code
from rescind_guard.view import View
from rescind_protocol.changes import Kill, Reinstate
from rescind_protocol.limits import MAX_STALENESS_S
from rescind_subscriber.reconcile import Reconciler
from tests.fakes.fabric import head_of, sign_head
from tests.fakes.following import victim
from tests.fakes.step import Step


@pytest.mark.parametrize("heads", [True, False])
def test_unchanged_bundle_never_refreshes_its_age(*, heads: bool) -> None:
    """Reference bundle client: nothing new, so it grew stale and denied everyone.

    Here a day without a kill is a day of heads. Control: without them it is stale indeed.
    """
    step = Step()
    step.say()
    step.head()
    for _ in range(24 * 60):
        step.clock.pass_s(60)
        if heads:
            step.head()
    assert (step.age_s < MAX_STALENESS_S) is heads
    assert step.at.events.read() == {"applied": 1}


def test_late_replay_overwrites_a_newer_value() -> None:
    """OPAL's docs: here what was ended stays ended, and what was killed again stays killed."""
    step, target = Step(), victim(1)
    first = step.log.next_id()
    old = step.log.write(Kill(target=target))
    ended = step.log.write(Reinstate(target=target, names=(first,), floor=0))
    again = step.log.write(Kill(target=target))
    for raw in (old, ended):
        step.at.event(raw)
    assert not step.view.published.table.get(target.digest).revocations  # type: ignore[union-attr]
    for raw in (old, again, ended, old):
        step.at.event(raw)
    late = Step(log=step.log)  # and by a process that forgot what bytes it has seen
    for raw in (again, old, ended, old):
        late.at.event(raw)
    for each in (step, late):
        found = each.view.published.table.get(target.digest)
        assert found is not None
        assert [one.id.seq for one in found.revocations] == [3]


def test_broker_down_and_local_fan_out_goes_on() -> None:
    """OPAL #933: 3 of 9 on new data, 6 on old for 13 minutes, all of them looking well.

    Here whoever is cut off says so after the limit, and allows nothing it cannot know; the others
    deny; and all agree when the connection is back.
    """
    with Fabric() as fabric:
        followers = [fabric.follower() for _ in range(9)]
        guards = [fabric.guard(follower) for follower in followers]
        killed, other = fabric.badge(ttl_s=3600), fabric.badge("did:web:b.example", ttl_s=3600)
        assert all(guard.check(killed.token) for guard in guards)
        fabric.cut(*followers[3:])
        fabric.kill(killed)
        fabric.pass_s(MAX_STALENESS_S + 1)
        said = [guard.check(killed.token).code for guard in guards]
        assert said == [Code.BADGE_REVOKED] * 3 + [Code.REVOCATION_CHECK_FAILED] * 6
        assert [bool(guard.check(other.token)) for guard in guards] == [True] * 3 + [False] * 6
        fabric.mend(*followers[3:])
        assert {guard.check(killed.token).code for guard in guards} == {Code.BADGE_REVOKED}
        assert all(guard.check(other.token) for guard in guards)


def test_corrupt_state_never_loads_as_an_empty_list() -> None:
    """Reference cache: an empty list is fresh, and allows. Here a view that knows nothing is stale.

    Only a head that names the same emptiness makes it fresh.
    """
    step = Step()
    empty = Reconciler(step.trust, View(), step.clock)
    empty._view.claim()
    kills = step.say()
    empty.head(sign_head(head_of(step.log)))
    assert empty.missing
    assert not empty.ever_fresh
    empty.event(kills)
    assert empty.ever_fresh
