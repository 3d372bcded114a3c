"""Every scenario with real servers, once, with a fixed seed; and the five protections taken out.

Two at a time, for most of a scenario is waiting. `make chaos` plays many more, and takes out every
protection of every scenario.
"""

from collections.abc import Iterator
from math import inf

import pytest

from tests.chaos.real_tier import SHOWS, Played, load, rounds, suited
from tests.chaos.weak import WITHOUT
from tests.chaos.weak_parts import EVERY_PART

SEED = 0
JOBS = 2
ATTEMPTS = 5
"""Schedules in which the absence of a protection must show; most show it in the first."""


@pytest.fixture(scope="module")
def played() -> dict[str, Played]:
    """Give what came of every scenario."""
    names = tuple(sorted(load()))
    found = rounds(SEED, schedules=len(names), until=inf, without=None, names=names, jobs=JOBS)
    return {each.name: each for each in found}


@pytest.mark.parametrize("name", sorted(load()))
def test_a_scenario_finds_nothing(name: str, played: dict[str, Played]) -> None:
    """No kill lost, no badge resurrected, no false freshness, all views equal, nobody stuck."""
    verdict = played[name].verdict
    assert verdict.violations == 0, "\n".join(verdict.notes)
    assert verdict.kills > 0


@pytest.mark.parametrize("protection", WITHOUT)
def test_without_a_protection_its_fault_is_found(protection: str) -> None:
    """The naive piece in the place of the real one, in a real process."""
    assert any(each.shown for each in without(protection))


def without(protection: str) -> Iterator[Played]:
    """Play schedules without a protection."""
    return rounds(SEED, schedules=ATTEMPTS, until=inf, without=protection, names=())


def test_every_protection_that_can_be_taken_out_is_needed_somewhere() -> None:
    """And every scenario says what it would show without one."""
    assert all(suited(protection) for protection in EVERY_PART)
    assert [name for name in load() if not SHOWS[name]] == []
