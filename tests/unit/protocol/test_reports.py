"""The report: bounded, relative, readable by whoever needs it and by nobody's terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescind_protocol import reports, subjects
from rescind_protocol.errors import Malformed, TooLarge, Unreadable
from rescind_protocol.limits import MAX_NAME_CHARS, MAX_REPORT_BYTES, MAX_REPORT_LOGS
from rescind_protocol.reports import Applied, Passed, round_up
from tests.fakes.fabric import PUBLISHER, log_id
from tests.fakes.reporting import LOG, done, report


def logs(count: int) -> dict[str, int]:
    """Return so many logs."""
    return {log_id(PUBLISHER, f"run {n}"): 2**52 for n in range(count)}


def test_a_report_is_read_as_it_was_made() -> None:
    """Nothing is lost on the way."""
    said = done("eu-1", 5, 12, Passed(((3, 2), (40, 1)), 8000), age_ms=300)
    assert reports.read(reports.make(said)) == said


def test_the_largest_report_fits() -> None:
    """All logs and all events with long exposures are more than the limit: the oldest go first."""
    passed = Passed(tuple((10**9 + n, 10**9) for n in range(32)), 10**12)
    events = tuple(Applied(LOG, 2**52 + n, 10**9, passed) for n in range(16))
    said = report(logs=logs(MAX_REPORT_LOGS), applied=events)
    raw = reports.make(said)
    assert MAX_REPORT_BYTES // 2 < len(raw) <= MAX_REPORT_BYTES
    read = reports.read(raw)
    assert read.applied == events[: len(read.applied)]
    assert read.applied
    assert read.logs == said.logs


def test_logs_go_when_nothing_else_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that is too large says how many logs it left out, and at last gives up."""
    monkeypatch.setattr(reports, "MAX_REPORT_BYTES", 700)
    read = reports.read(reports.make(report(logs=logs(64))))
    assert len(read.logs) + read.more_logs == 64
    assert read.logs == dict(list(logs(64).items())[: len(read.logs)])
    monkeypatch.setattr(reports, "MAX_REPORT_BYTES", 10)
    with pytest.raises(TooLarge):
        reports.make(report(logs=logs(64)))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"\xff",
        b"[" * 5000,
        b" " * (MAX_REPORT_BYTES + 1),
        reports.make(report()).replace(b'"count":1', b'"count":0'),
        reports.make(report()).replace(b'"pid":7', b'"pid":-1'),
        reports.make(report("x" * (MAX_NAME_CHARS + 1))),
        reports.make(report("")),
        reports.make(report("eu\x1b[2J")),
        reports.make(report("eu\u202e1")),
        reports.make(report(logs={"short": 1})),
        reports.make(report(logs=logs(MAX_REPORT_LOGS + 1))),
        reports.make(report(applied=(Applied(LOG, 1, 0),) * 17)),
        reports.make(report(applied=(Applied(LOG, 1, 0, Passed(((1, 1),) * 33)),))),
    ],
)
def test_what_is_beyond_a_limit_is_malformed(raw: bytes) -> None:
    """Names that a terminal would obey, numbers below zero, too much of anything."""
    with pytest.raises(Malformed):
        reports.read(raw)


def test_a_newer_version_is_unreadable() -> None:
    """It is counted, and nobody guesses."""
    with pytest.raises(Unreadable):
        reports.read(reports.make(report(ver=2)))


def test_a_name_that_cannot_be_shown_is_made_so() -> None:
    """A host may be called anything; a report may not."""
    assert reports.printable("eu\x1b7\u202e" + "x" * 99) == "eu?7?" + "x" * 59
    assert reports.printable("") == "?"


@pytest.mark.parametrize(
    ("name", "token"),
    [("eu-7", "eu-7"), ("a b.c>*", "a_b_c__"), ("", "_"), ("x" * 99, "x" * 64)],
)
def test_a_name_becomes_one_token_of_a_subject(name: str, token: str) -> None:
    """No name can reach into another subject."""
    assert subjects.report("prod", name) == f"rescind.prod.report.{token}"


def test_above_a_gap_is_applied_too() -> None:
    """An event may be applied while one below it is missing."""
    said = report(logs={LOG: 3}, applied=(Applied(LOG, 5, 0),))
    assert [said.has(LOG, seq) for seq in (3, 4, 5)] == [True, False, True]
    assert not said.has(log_id(PUBLISHER, "other"), 1)


@given(st.floats(0, 1e9))
def test_steps_round_up_and_are_few(age_ms: float) -> None:
    """A step is never younger than the call, and by a tenth older at most."""
    step = round_up(age_ms)
    assert age_ms <= step <= max(1, age_ms * 1.1 + 1)
    assert len(str(step).rstrip("0")) <= 2
    assert round_up(step) == step


def test_exposure_counts_within_the_window() -> None:
    """Calls before the window do not count; where the guard forgot, it is a least figure."""
    passed = Passed(((1, 2), (38, 5), (39, 1), (400, 9)), 1000)
    assert [passed.within(ms) for ms in (0.5, 37.2, 38.4, 395.0, 10_000.0)] == [2, 7, 8, 17, 17]
    assert passed.reaches(1000)
    assert not passed.reaches(1001)
    assert Passed().reaches(1e12)
