"""Tier one: many schedules in the simulator, on as many cores as asked for."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from itertools import count, islice
from multiprocessing import get_context

import msgspec

from rescind.testing.signatures import known_signatures
from rescind.testing.sim import Parts, Schedule, Verdict, plan, run
from tests.chaos.shrink import shrink
from tests.chaos.weak import WITHOUT

CHUNK = 100
"""Schedules handed to a worker at a time: a second or so."""


class Chunk(msgspec.Struct, frozen=True):
    """What some seeds came to."""

    verdict: Verdict
    failed: tuple[int, ...] = ()


def parts_without(name: str | None) -> Parts:
    """Return the real parts, one of them replaced by the naive one."""
    return WITHOUT[name] if name else Parts()


def guarded(schedule: Schedule, parts: Parts) -> Verdict:
    """Run one schedule; an error of its own is a finding, and ends no other schedule."""
    try:
        return run(schedule, parts)
    except Exception as error:  # noqa: BLE001 - whatever it is
        return Verdict(schedules=1, broken=1, notes=[f"{type(error).__name__}: {error}"])


@contextmanager
def quiet() -> Iterator[None]:
    """Log nothing: thousands of brokers lie, and each is complained of."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def play(seeds: Iterable[int], without: str | None = None) -> Chunk:
    """Run the schedules of these seeds in this process."""
    total, failed, parts = Verdict(), [], parts_without(without)
    with quiet(), known_signatures():
        for seed in seeds:
            found = guarded(plan(seed), parts)
            if found.violations:
                failed.append(seed)
            total.add(found)
    return Chunk(total, tuple(failed))


def explain(seed: int, without: str | None) -> tuple[Schedule, list[str]]:
    """Return the shortest schedule found that fails as this seed's, and what is wrong with it."""
    parts = parts_without(without)
    with quiet(), known_signatures():
        schedule = shrink(plan(seed), lambda shorter: guarded(shorter, parts).violations > 0)
        return schedule, guarded(schedule, parts).notes


def chunks(
    seed: int, *, schedules: int | None, until: float, jobs: int, without: str | None
) -> Iterator[Chunk]:
    """Yield chunk after chunk, until there were enough or it is `until` (monotonic)."""
    if jobs == 1:
        for seeds in _seeds(seed, schedules):
            if time.monotonic() >= until:
                return
            yield play(seeds, without)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from _parallel(
            lambda seeds: pool.submit(play, seeds, without), _seeds(seed, schedules), until, jobs
        )


def _parallel(
    submit: Callable[[range], Future[Chunk]], seeds: Iterator[range], until: float, jobs: int
) -> Iterator[Chunk]:
    waiting = {submit(each) for each in islice(seeds, 2 * jobs)}
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        for each in done:
            if time.monotonic() < until:
                waiting |= {submit(more) for more in islice(seeds, 1)}
            yield each.result()


def _seeds(first: int, schedules: int | None) -> Iterator[range]:
    for start in count(first, CHUNK):
        end = start + CHUNK if schedules is None else min(start + CHUNK, first + schedules)
        if start >= end:
            return
        yield range(start, end)
