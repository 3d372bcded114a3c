"""The alarms that the documents recommend name metrics, kinds and states that exist."""

import re
from pathlib import Path

from rescind.monitor import DISPLACED
from rescind_guard import metrics as of_guard
from rescind_publisher import metrics as of_publisher
from rescind_subscriber import metrics as of_subscriber
from rescind_subscriber.faults import Fault
from rescind_subscriber.states import State

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
METRICS = {
    each.name: each
    for each in (
        *of_guard.METRICS,
        *of_publisher.METRICS,
        *of_subscriber.METRICS,
        DISPLACED,
    )
}
VALUES: dict[str, set[str]] = {
    "kind": set(map(str, Fault)),
    "state": set(map(str, State)),
    "reach": {"reachable", "unreachable"},
    "outcome": {"written", "dropped"},
}


def alarms() -> str:
    """Return the table of alarms, its cells unescaped."""
    return PAGE.partition("## Alarms to set")[2].partition("\n## ")[0].replace("\\|", "|")


def test_every_alarm_is_on_a_metric_that_exists() -> None:
    """An alarm on a name that is not exported would stay silent for ever."""
    named = set(re.findall(r"\brescind_[a-z_]+\b", PAGE))
    assert named == set(METRICS), named ^ set(METRICS)
    assert set(re.findall(r"\brescind_[a-z_]+\b", alarms())) <= set(METRICS)


def test_every_alarm_is_on_a_value_that_exists() -> None:
    """So would one on a kind that nothing counts."""
    selectors = re.findall(r'(rescind_[a-z_]+)\{([a-z]+)=~?"([^"…]+)"\}', alarms())
    assert len(selectors) > 5
    for metric, label, pattern in selectors:
        assert METRICS[metric].label == label
        for alternative in pattern.split("|"):
            known = VALUES[label]
            assert any(re.fullmatch(alternative, value) for value in known), alternative


def test_every_fault_that_nothing_heals_pages() -> None:
    """What a person must do something about is in an alarm."""
    patterns = "|".join(re.findall(r'kind=~?"([^"…]+)"', alarms()))
    for fault in (Fault.FORK, Fault.WRONG_DIGEST, Fault.UNREADABLE, Fault.HEAD_NEWER_TRUST):
        assert re.fullmatch(patterns, fault), fault
