"""What freshens a view and what does not (I4, I6; attack A3)."""

from math import inf

import pytest
from msgspec.structs import replace

from rescind_subscriber.reconcile import Reconciler
from tests.fakes.fabric import (
    NOW,
    SECOND,
    Log,
    head_of,
    sign_head,
    trust_file,
)
from tests.fakes.following import kills, victim
from tests.fakes.step import Step, trust_of


def test_no_event_freshens() -> None:
    """A pushed event says nothing of the others (interop.md §5, first line)."""
    step = Step()
    step.say(3)
    assert step.age_s == inf
    assert not step.head()
    assert step.age_s == 0
    step.clock.pass_s(10)
    step.say()
    assert step.age_s == 10  # no older proof is renewed by one either


def test_a_head_that_is_not_covered_freshens_once_it_is() -> None:
    """A tail that was lost keeps the view stale until it is there."""
    step = Step()
    raws = kills(step.log, 2)
    assert step.head()
    assert step.age_s == inf
    step.at.batch(raws)
    assert step.age_s == 0


def test_age_counts_from_the_signed_time() -> None:
    """A head that was held back for 200 s is 200 s old on arrival."""
    step = Step()
    step.say()
    step.head(after_s=-200)
    assert step.age_s == 200
    step.clock.boot_s += 50
    assert step.age_s == 250
    step.clock.wall_s -= 3600  # a wall clock that is set back makes no proof younger
    assert step.age_s == 250


def test_a_wall_clock_set_back_makes_no_head_young_that_was_held_up() -> None:
    """A broker that delays all heads by as much as the clock lost: the boot clock shows it."""
    step = Step()
    step.say()
    step.head()
    assert step.age_s == 0
    step.clock.pass_s(400)
    step.clock.wall_s -= 390
    step.head(after_s=0)  # by this clock it was signed now; in truth 390 s ago
    assert step.age_s == pytest.approx(390, abs=0.1)  # drift is granted
    step.clock.pass_s(1)
    step.clock.wall_s += 390
    step.head(after_s=0)  # the clock is right again, and the broker quick
    assert step.age_s == 0


def test_a_head_that_took_as_long_as_ever_is_as_young_as_its_time() -> None:
    """What differs between two hosts' clocks, and stays, is no delay."""
    step = Step()
    step.say()
    for _ in range(3):
        step.head(after_s=-20)
        assert step.age_s == 20
        step.clock.pass_s(30)


def test_a_publisher_that_is_set_right_costs_no_age() -> None:
    """Our wall clock was never set back: what it says of the heads is as good as before."""
    step = Step()
    step.say()
    step.head(after_s=60)
    step.clock.pass_s(100)
    step.head(after_s=0)
    assert step.age_s == 0


def test_freshness_by_receipt_would_be_fooled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: stamped on receipt, an old head would make the view new."""
    step = Step()
    step.say()
    prove = Reconciler._prove

    def by_receipt(self: Reconciler, publisher: str) -> bool:
        heard = self._heard[publisher]
        now = replace(heard.head, time_s=step.clock.wall())
        self._heard[publisher] = replace(heard, head=now, boot=step.clock.boot(), age_s=0)
        return prove(self, publisher)

    monkeypatch.setattr(Reconciler, "_prove", by_receipt)
    step.head(after_s=-200)
    assert step.age_s == 0


def test_a_replayed_head_freshens_nothing() -> None:
    """Yesterday's head, repeated for ever, is counted and ages (attack A3.1)."""
    step = Step()
    step.say()
    old = sign_head(head_of(step.log))
    step.at.head(old)
    step.clock.pass_s(299)
    assert step.at.head(old) is False
    assert step.age_s == 299
    assert step.at.heads.read()["replayed"] == 1


def test_a_replayed_head_freshens_nothing_after_a_restart() -> None:
    """The greatest head time is kept: what was heard before the restart is heard no more."""
    step = Step()
    raw = step.say()
    head = sign_head(head_of(step.log))
    step.at.head(head)
    again = Step()
    again.at.remember_heads(step.at.newest_heads())
    again.at.event(raw)
    again.at.head(head)
    assert again.age_s == inf
    forgetful = Step()  # negative control
    forgetful.at.event(raw)
    forgetful.at.head(head)
    assert forgetful.age_s == 0


@pytest.mark.parametrize("ahead_s", [60.5, 86_400])
def test_a_head_far_ahead_freshens_nothing(ahead_s: float) -> None:
    """Nor does it make the heads of the present look replayed."""
    step = Step()
    step.head(after_s=ahead_s)
    assert step.age_s == inf
    assert step.at.heads.read() == {"ahead": 1}
    step.head()
    assert step.age_s == 0


def test_a_head_within_the_skew_is_no_younger_than_now() -> None:
    """A publisher's clock that runs ahead buys its proof the skew and no more."""
    step = Step()
    step.head(after_s=59)
    step.clock.pass_s(300)
    assert step.age_s == 300


def test_a_head_of_an_expired_key_freshens_nothing() -> None:
    """The delegation has ended; its kills still count (attack D)."""
    file = trust_file()
    keys = tuple(replace(key, not_after=NOW) for key in file.keys)
    step = Step(trust_of(replace(file, keys=keys)))
    step.clock.pass_s(1)
    step.say()
    step.head()
    assert step.age_s == inf
    assert step.at.heads.read() == {"key_expired": 1}
    assert step.view.published.table.get(victim(1).digest)


def test_a_head_that_names_a_newer_trust_file_freshens_nothing() -> None:
    """Whom we no longer should believe is in a file that was hidden from us (attack D)."""
    step = Step()
    step.at.head(sign_head(replace(head_of(step.log), trust=2)))
    assert step.age_s == inf
    assert step.at.heads.read() == {"newer_trust": 1}


def test_heads_of_another_publisher_freshen_nothing() -> None:
    """Each required publisher proves its own logs; a silent one keeps the view stale (A3.2)."""
    step = Step(trust_of(replace(trust_file(), required=("soc", "soc-b"))))
    other = Log(key=SECOND, publisher="soc-b")
    step.head()
    assert step.age_s == inf
    step.clock.pass_s(5)
    step.at.head(sign_head(head_of(other, time_s=NOW), key=SECOND))
    assert step.age_s == 5
    step.head()
    assert step.age_s == 5  # the oldest proof counts, on either clock
    assert step.view.published[2:] == (NOW, step.clock.boot() - 5)
    step.at.head(sign_head(replace(head_of(step.log), publisher="soc-b"), key=SECOND))
    assert step.at.heads.read()["untrusted"] == 1  # it speaks for logs that are not its own
