"""Places: a quota of kills and of their bytes, with a reserve that smaller targets cannot take."""

import sys

import pytest

from rescind_protocol import places
from rescind_protocol.changes import Kill, Retract, RevocationId
from rescind_protocol.join import Outcome, Replica, ViewReplica
from rescind_protocol.targets import Target, agent, badge, everyone, issuer, key, session
from tests.fakes.fabric import PUBLISHER, log_id
from tests.fakes.histories import event_of

LOG = log_id(PUBLISHER)
REG = "https://reg.example"
SMALL = [session("s"), badge(REG, "j"), key(PUBLISHER.kid)]


@pytest.mark.parametrize(
    ("kill", "wanted"),
    [
        (Kill(target=session("s")), 1),
        (Kill(target=session("s"), reason_admin="x" * 1024, actor="y" * 1024), 1),
        (Kill(target=session("s"), reason_user="x" * 1024), 3),
        (Kill(target=badge(REG, "j" * 512), reason_user="x" * 1024), 4),
        (Kill(target=everyone()), 1),
    ],
)
def test_a_kill_takes_a_place_for_each_half_kilobyte_that_a_view_keeps(
    kill: Kill, wanted: int
) -> None:
    """Words for admins are kept by no view, and take none."""
    assert places.of(kill) == wanted


@pytest.mark.parametrize("what", SMALL, ids=str)
def test_who_fills_the_quota_has_not_taken_the_switch(what: Target) -> None:
    """Full of small targets, an agent, an issuer and everyone can be killed; full of agents too."""
    replica, quota, seq = Replica(), 100, 0

    def kill(target: Target) -> Outcome:
        return replica.apply(event_of(LOG, seq + 1, Kill(target=target), quota=quota))

    for _ in range(quota):
        assert kill(what) is Outcome.APPLIED
        seq += 1
    assert kill(what) is Outcome.OVER_QUOTA
    while kill(agent(f"did:web:x{seq}.example")) is Outcome.APPLIED:
        seq += 1
    assert seq == quota + quota // 20
    for target in (issuer(REG), everyone()):
        assert kill(target) is Outcome.APPLIED
        seq += 1
    assert kill(what) is Outcome.OVER_QUOTA


def test_the_reserve_is_not_for_what_comes_in_one_event_with_it() -> None:
    """Kills of sessions beside one of everyone find no room beyond the quota."""
    quota = 20
    small = [Kill(target=session(f"s{n}")) for n in range(quota)]
    assert places.fit(quota, 0, [*small, Kill(target=everyone())])
    assert not places.fit(quota, 1, [*small, Kill(target=everyone())])
    assert places.fit(quota, quota, [Kill(target=everyone())])


def test_places_are_given_back() -> None:
    """By key and by whoever asked, however long the kill was."""
    replica = Replica()
    long = Kill(target=session("s"), reason_user="x" * 1024, actor="ci")
    replica.apply(event_of(LOG, 1, long))
    assert (replica.live.held(LOG), replica.live.by_actor) == (3, {"ci": 3})
    names = (RevocationId(LOG, 1, 0),)
    replica.apply(event_of(LOG, 2, Retract(target=session("s"), names=names)))
    assert (replica.live.held(LOG), replica.live.by_actor) == (0, {})


def test_a_view_keeps_no_words_for_admins_and_equal_words_once() -> None:
    """Neither of an event nor of a snapshot; a state for the log has them."""
    said = [
        Kill(
            target=session(f"s{n}"),
            reason_user=f"ask the desk{n}"[:-1],
            reason_admin="INC-412",
            actor="ann",
        )
        for n in range(2)
    ]
    full, lean, cold = Replica(), ViewReplica(), ViewReplica()
    full.apply(event_of(LOG, 1, *said))
    lean.apply(event_of(LOG, 1, *said))
    cold.merge(full.image())
    for replica in (lean, cold):
        kept = [r.kill for r in replica.image().revocations]
        assert [(k.reason_admin, k.actor) for k in kept] == [(None, None)] * 2
        assert kept[0].reason_user is kept[1].reason_user is sys.intern("ask the desk")
        assert replica.live_sum([LOG]) == full.live_sum([LOG])
    assert {r.kill.reason_admin for r in full.image().revocations} == {"INC-412"}
