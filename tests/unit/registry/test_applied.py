"""Reports that are handed on: an allowance for all, and one for each sender."""

from collections import Counter

import pytest

from rescind_protocol import reports
from rescind_registry.feeds import applied
from rescind_registry.feeds.applied import ALLOWED_PER_S, OF_ONE_PER_S, Reports
from tests.fakes.reporting import report

SECOND = 7.5


@pytest.mark.parametrize("address", ["192.0.2.1", None])
def test_one_sender_s_flood_leaves_the_others_their_allowance(address: str | None) -> None:
    """It has one of its own, by name and address; without (the negative control) it takes all."""
    names = Counter[str]()
    taking = Reports(lambda name, _: names.update([name]), lambda: SECOND)
    for name in ["flood"] * ALLOWED_PER_S + ["eu-7"] * 2:
        taking.take(reports.make(report(name)), address)
    assert names == ({"flood": OF_ONE_PER_S, "eu-7": 2} if address else {"flood": ALLOWED_PER_S})
    assert taking.taken + taking.dropped == ALLOWED_PER_S + 2


def test_a_fleet_of_names_is_remembered_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says another name each time fills no memory."""
    monkeypatch.setattr(applied, "MAX_FLEET", 2)
    names = Counter[str]()
    taking = Reports(lambda name, _: names.update([name]), lambda: SECOND)
    for name in ("a", "b", "c", "a"):
        taking.take(reports.make(report(name)), "192.0.2.1")
    assert names == {"a": 2, "b": 1}


def test_a_sender_s_allowance_is_new_with_each_second() -> None:
    """And it is kept for each name and each address."""
    now, names = [SECOND], Counter[str]()
    taking = Reports(lambda name, _: names.update([name]), lambda: now[0])
    raw = reports.make(report("eu-7"))
    for address in ("192.0.2.1", "192.0.2.2"):
        for _ in range(OF_ONE_PER_S + 1):
            taking.take(raw, address)
    assert names["eu-7"] == 2 * OF_ONE_PER_S
    now[0] += 1
    taking.take(raw, "192.0.2.1")
    assert names["eu-7"] == 2 * OF_ONE_PER_S + 1
