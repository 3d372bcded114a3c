"""From a schedule that fails to a shorter one that fails as well."""

from collections.abc import Callable

import msgspec

from rescind.testing.sim import Schedule

MOST_RUNS = 300
"""A schedule has a dozen steps and takes milliseconds: cheap, but not without an end."""


def shrink(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """Leave out one step after the other for as long as it goes on failing."""
    runs, again = 0, True
    while again and runs < MOST_RUNS:
        again = False
        for place in reversed(range(len(schedule.steps))):
            steps = schedule.steps[:place] + schedule.steps[place + 1 :]
            shorter = msgspec.structs.replace(schedule, steps=steps)
            runs += 1
            if fails(shorter):
                schedule, again = shorter, True
    return schedule


def describe(schedule: Schedule) -> str:
    """Return a schedule as text, one step a line."""
    hosts = f"{schedule.publishers} publishers, {schedule.subscribers} subscribers"
    times = f"limit {schedule.limit_s:g} s, healed after {schedule.length_s:g} s"
    lines = [f"{hosts}, brokers {', '.join(schedule.brokers)}, {times}"]
    lines += [
        f"{step.at:8.1f} s  {step.what}: who {step.who}, other {step.other}"
        + (f", lasts {step.lasts_s:g} s" if step.lasts_s else "")
        + (f", amount {step.amount:g}" if step.amount else "")
        for step in schedule.steps
    ]
    return "\n".join(lines)
