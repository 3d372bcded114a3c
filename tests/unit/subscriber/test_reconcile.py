"""The pure step: forged, unreadable, repeated, forked, too much (I6, I10; attack B3, attack C)."""

from math import inf
from typing import Any

import pytest
from msgspec.structs import replace

from rescind_guard.errors import TwoWriters
from rescind_protocol import events, heads
from rescind_protocol.changes import Kill
from rescind_protocol.errors import RescindError
from rescind_protocol.events import VERSION, Event
from rescind_protocol.trust import Rights
from rescind_subscriber.listeners import Applied, Merged
from rescind_subscriber.reconcile import Reconciler
from tests.fakes.fabric import (
    FABRIC,
    PUBLISHER,
    SECOND,
    STRANGER,
    Log,
    event_claims,
    head_of,
    make_trust,
    sign_claims,
    sign_head,
    trust_file,
)
from tests.fakes.following import kills, victim
from tests.fakes.step import Step


@pytest.mark.parametrize("key", [STRANGER, PUBLISHER])
def test_forged_heads_and_events_are_counted_and_skipped(key: object) -> None:
    """Nobody we know, or a body that was changed: no effect, no crash, said once."""
    step = Step()
    head, event = sign_head(head_of(step.log)), step.log.write(Kill(target=victim(1)))
    if key is STRANGER:
        head = sign_head(head_of(step.log), STRANGER)
        event = Log(key=STRANGER).write(Kill(target=victim(1)))
    else:
        head, event = head[:-8] + b"AAAAAAAA", event[:-8] + b"AAAAAAAA"
    for raw in (head, event, b"", b"." * 300_000):
        step.at.head(raw)
        step.at.event(raw)
    assert step.age_s == inf
    assert len(step.view.published.table) == 0
    assert step.at.events.read().get("applied") is None


def test_a_trusted_event_that_cannot_be_read_is_not_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The view is stale at once and stays so, keeps its kills, and says so once (I10)."""
    step = Step()
    step.say()
    step.head()
    assert step.age_s == 0
    for _ in range(2):
        step.at.event(sign_claims(event_claims(step.log, []) | {"ver": VERSION + 1}))
    assert step.age_s == inf
    step.head(after_s=1)
    assert step.age_s == inf
    assert step.view.published.table.get(victim(1).digest)
    assert step.at.events.read()["unreadable"] == 2
    assert caplog.text.count("the view cannot be fresh") == 1


def test_skipped_it_would_leave_the_view_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: an unreadable event that is rejected like a malformed one hides (I10)."""

    def skip(at: Reconciler, counter: object, error: RescindError) -> None:
        at._reject(counter, error, "event")  # type: ignore[arg-type]

    monkeypatch.setattr(Reconciler, "_distrust", skip)
    step = Step()
    step.say()
    step.head()
    step.at.event(sign_claims(event_claims(step.log, []) | {"ver": VERSION + 1}))
    step.head(after_s=1)
    assert step.age_s == 0


def test_an_untrusted_event_that_cannot_be_read_is_nothing() -> None:
    """Else anyone could make the fleet stale."""
    step = Step()
    step.head()
    step.at.event(sign_claims(event_claims(step.log, []) | {"ver": VERSION + 1}, key=STRANGER))
    assert step.age_s == 0


def test_a_head_that_cannot_be_read_is_counted_as_a_head() -> None:
    """And makes the view stale like an event (I10)."""
    step = Step()
    step.head()
    step.at.head(sign_claims({"aud": FABRIC, "ver": heads.VERSION + 1}, typ=heads.TYP))
    assert step.age_s == inf
    assert step.at.heads.read()["unreadable"] == 1
    assert "unreadable" not in step.at.events.read()


def test_duplicates_are_dropped_by_all_their_bytes_only() -> None:
    """A forged event of the same number hides nothing (attack C)."""
    step = Step()
    forged = Log(key=STRANGER).write(Kill(target=victim(1)))
    true = step.log.write(Kill(target=victim(1)))
    for raw in (forged, true, true, forged):
        step.at.event(raw)
    assert step.at.events.read() == {"untrusted": 2, "applied": 1, "seen": 1}


def test_bytes_that_were_verified_are_not_verified_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two brokers, live and stored: the same event comes up to four times."""
    asked: list[bytes] = []
    verify = events.authenticate

    def counted(raw: bytes, *rest: Any) -> Event:
        asked.append(raw)
        return verify(raw, *rest)

    monkeypatch.setattr(events, "authenticate", counted)
    step = Step()
    raw = step.say()
    step.at.batch([raw, raw])
    step.at.event(raw)
    assert asked == [raw]


def test_a_fork_is_never_fresh_and_kills_of_both_branches_count() -> None:
    """Two histories of one log: over-block, and believe neither (I6)."""
    step = Step()
    step.say()
    branch = step.log.branch(0)
    step.at.event(branch.write(Kill(target=victim(7))))
    step.head()
    assert step.age_s == inf
    assert step.view.published.table.get(victim(1).digest)
    assert step.view.published.table.get(victim(7).digest)


def test_over_quota_is_not_applied_and_not_covered() -> None:
    """A stolen key cannot fill every guard's memory, nor be fresh over what it could not say."""
    rights = replace(trust_file().keys[0].rights, quota=2)
    assert isinstance(rights, Rights)
    step = Step(make_trust(rights=rights))
    step.say(3)
    assert len(step.view.published.table) == 2
    assert step.head()
    assert step.age_s == inf


def test_a_horizon_ends_kills_of_logs_that_no_head_names_any_more() -> None:
    """A stream brings closed logs to every cold start; their bounded kills end there too (I8)."""
    step = Step()
    closed, now = Log(), int(step.clock.wall())
    step.at.event(closed.write(Kill(target=victim(1), expires_at=now - 100)))
    step.head(horizon=now - 60)
    assert step.view.published.table.get(victim(1).digest) is None


def test_a_listener_that_fails_stops_no_kill(caplog: pytest.LogCaptureFixture) -> None:
    """An observer's bug is its own: the next listener and the proof go on."""
    step = Step()
    told: list[Applied] = []

    def broken(_: Applied) -> None:
        raise KeyError("dashboard")

    step.at.on_applied += [broken, told.append]
    step.head()
    step.say(2)
    assert [each.seq for each in told if isinstance(each, Event)] == [1, 2]
    assert caplog.text.count("dashboard") == 1


def test_a_kill_inside_a_snapshot_is_told_as_applied() -> None:
    """By its number, after the swap; what came as an event before is not told again."""
    writer, step = Step(), Step()
    writer.say(3)
    told: list[tuple[Applied, bool]] = []

    def tell(applied: Applied) -> None:
        told.append((applied, step.view.published.table.get(victim(3).digest) is not None))

    step.at.on_applied.append(tell)
    step.at.event(writer.log.raws[0])
    step.at.merge(writer.at.replica.image())
    step.at.merge(writer.at.replica.image())
    assert [denied for _, denied in told] == [False, True]
    [_, (merged, _)] = told
    assert merged == Merged({writer.log.id: (range(2, 4),)})
    assert [merged.has(writer.log.id, seq) for seq in range(5)] == [False, False, True, True, False]
    assert not merged.has("another log", 2)


def test_a_kill_above_a_gap_inside_a_snapshot_is_told_alone() -> None:
    """A snapshot by who misses an event brings those beyond it one by one."""
    writer, step = Step(), Step()
    raws = kills(writer.log, 4)
    for raw in (raws[0], raws[2], raws[3]):
        writer.at.event(raw)
    told: list[Applied] = []
    step.at.on_applied.append(told.append)
    step.at.event(raws[2])
    step.at.merge(writer.at.replica.image())
    assert told[1:] == [Merged({writer.log.id: (range(1, 2), range(4, 5))})]


def test_what_the_local_snapshot_brings_is_told_once_a_process() -> None:
    """It denies from then on; after a crash the view has it already, and so have the listeners."""
    writer, step = Step(), Step()
    writer.say(2)
    again = Reconciler(step.trust, step.view, step.clock)
    told: list[Applied] = []
    for at in (step.at, again):
        at.on_applied.append(told.append)
        at.replica.merge(writer.at.replica.image())
        at.publish_replica()
    assert told == [Merged({writer.log.id: (range(1, 3),)})]


def test_two_reconcilers_on_one_thread_do_not_share_a_view() -> None:
    """The second writer would drop the first one's kills; it is refused at its first swap (B3)."""
    step, log = Step(), Log(key=SECOND, publisher="soc-b")
    second = Reconciler(step.trust, step.view, step.clock)
    step.say()
    with pytest.raises(TwoWriters):
        second.event(log.write(Kill(target=victim(2))))
    assert step.view.published.table.get(victim(1).digest)
