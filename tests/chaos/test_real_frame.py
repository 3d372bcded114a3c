"""The frame of tier two: scenarios are found, played in turn, counted, and leave nothing behind."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from math import inf
from pathlib import Path

import pytest

from tests.chaos import command, real_tier
from tests.chaos.real_tier import Context, Unsuited, rounds, scenario, summary
from tests.fakes.waiting import WITHIN_S

GONE: list[Path] = []


@pytest.fixture(autouse=True)
def scenarios(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three scenarios of our own instead of those with servers."""
    monkeypatch.setattr(real_tier, "SCENARIOS", {})
    monkeypatch.setattr(real_tier, "ALONE", set())
    monkeypatch.setattr(real_tier, "load", lambda: real_tier.SCENARIOS)
    GONE.clear()

    @scenario("quick")
    def quick(context: Context) -> None:
        context.checker.verdict.kills += 1
        context.recovered("quick", 0.1 * context.random.random())
        (context.folder / "left").write_text("behind")
        GONE.append(context.folder)

    @scenario("loses")
    def loses(context: Context) -> None:
        context.checker.verdict.lost += 1

    @scenario("unsuited")
    def unsuited(_: Context) -> None:
        raise Unsuited

    assert (quick, loses, unsuited) == tuple(real_tier.SCENARIOS.values())


def played(*names: str, schedules: int | None = None) -> list[real_tier.Played]:
    """Play these scenarios."""
    found = rounds(7, schedules=schedules, until=inf, without=None, names=names)
    return list(found)


def test_every_scenario_has_its_turn_and_the_unsuited_are_passed_over() -> None:
    """As often as the others; a round that did not suit is none that found nothing."""
    names = [each.name for each in played(schedules=6)]
    assert sorted(names) == ["loses", "loses", "quick", "quick"]


def test_a_seed_replays_the_same_scenario() -> None:
    """Its number chooses which, and what its randomness is."""
    (first,), (second,) = played("quick", schedules=1), played("quick", schedules=1)
    assert first == second
    assert first.verdict.schedules == 1


def test_one_that_takes_the_whole_machine_is_played_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others wait for it, and it for them; those meet each other."""
    both, running = threading.Barrier(2, timeout=WITHIN_S), set[int]()
    monkeypatch.setattr(
        real_tier, "ProcessPoolExecutor", lambda jobs, _: ThreadPoolExecutor(max_workers=jobs)
    )

    @scenario("a whole one", alone=True)
    def whole(context: Context) -> None:
        context.expect(not running, "it is alone")

    @scenario("one of two")
    def one(context: Context) -> None:
        running.add(context.seed)
        both.wait()
        running.discard(context.seed)

    names = ("a whole one", "one of two", "one of two")
    seen = list(rounds(0, schedules=6, until=inf, without=None, names=names, jobs=2))
    assert [each.name for each in seen] == [*names, *names]
    assert not any(each.verdict.violations for each in seen)
    assert (whole, one) == tuple(real_tier.SCENARIOS[name] for name in names[:2])


def test_folders_are_removed() -> None:
    """Whatever a scenario leaves."""
    played("quick", schedules=2)
    assert len(GONE) == 2
    assert not any(folder.exists() for folder in GONE)


def test_time_ends_the_rounds() -> None:
    """No scenario begins after it."""
    now = time.monotonic()
    assert list(rounds(7, schedules=None, until=now, without=None, names=())) == []


def test_recovery_times_are_told_by_fault() -> None:
    """Median, greatest, how many."""
    said = summary({"b": [1.0], "a": [3.0, 1.0, 2.0]})
    assert said == {
        "a": {"p50": 2.0, "max": 3.0, "n": 3},
        "b": {"p50": 1.0, "max": 1.0, "n": 1},
    }


def test_the_command_reports_what_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, the seed of what failed, recovery times in the last line."""
    arguments = ["--tier", "real", "--seed", "0", "--schedules", "3", "--json"]
    assert command.main(arguments) == 1
    printed = capsys.readouterr()
    result = json.loads(printed.out.splitlines()[-1])
    assert (result["schedules"], result["kills"], result["lost"]) == (2, 1, 1)
    assert result["recovery_s"]["quick"]["n"] == 1
    assert "loses, seed" in printed.err


def test_no_scenario_at_all_is_misuse(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing was tested, and the exit code says so."""
    monkeypatch.setattr(real_tier, "SCENARIOS", {})
    assert command.main(["--tier", "real", "--minutes", "1"]) == 2
    assert "no scenario" in capsys.readouterr().err
    monkeypatch.undo()


def test_one_scenario_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    """And one that is not there is misuse."""
    arguments = ["--tier", "real", "--schedules", "2", "--seed", "1", "--scenario"]
    assert command.main([*arguments, "quick"]) == 0
    assert command.main([*arguments, "gone"]) == 2
    assert "no such scenario; there are quick" in capsys.readouterr().err
