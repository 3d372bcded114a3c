"""Every scenario with real servers, once, with a fixed seed; and the five protections taken out.

But those that take every core of a small machine: they are measured, and can have nothing beside
them. `make chaos` plays them, and many more schedules, and takes out every protection of every one.
"""

from collections.abc import Iterator
from math import inf

import pytest

from tests.chaos.real_tier import ALONE, SHOWS, Played, load, play, rounds, suited
from tests.chaos.weak import WITHOUT
from tests.chaos.weak_parts import EVERY_PART

SEED = 0
ATTEMPTS = 5
"""Schedules in which the absence of a protection must show; most show it in the first."""


@pytest.mark.parametrize("name", sorted(set(load()) - ALONE))
def test_a_scenario_finds_nothing(name: str) -> None:
    """No kill lost, no badge resurrected, no false freshness, all views equal, nobody stuck."""
    played = play(name, SEED, None)
    assert played is not None
    assert played.verdict.violations == 0, "\n".join(played.verdict.notes)
    assert played.verdict.kills > 0


# Not I2: since a kill that is in force is answered with the living one, no real scenario kills one
# target twice while both kills count. The simulator does, and finds it (`tests/chaos/test_sim.py`).
IN_BOTH = [each for each in WITHOUT if each in EVERY_PART and each != "I2"]


@pytest.mark.parametrize("protection", IN_BOTH)
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
