"""What a reader feels of a writer: the worst gap between two look-ups, with and without one.

A reader thread looks keys up as fast as it can and notes the longest gap. Windows with a writer at
work alternate with windows in which the writer's thread sleeps; both kinds see the same noise of
the host. The figure of a kind is the median over its windows of each window's worst gap.
"""

import threading
import time
from collections.abc import Callable, Sequence
from statistics import median

import msgspec

from benchmarks.stats import MS


class Pauses(msgspec.Struct, frozen=True):
    """In milliseconds: medians over windows of the worst gap, and the worst of all windows."""

    with_writer_ms: float
    without_writer_ms: float
    worst_with_ms: float
    worst_without_ms: float
    windows: int
    """Of each kind."""
    writes: int

    @property
    def more_ms(self) -> float:
        """What the writer adds."""
        return self.with_writer_ms - self.without_writer_ms


def measure(
    look_up: Callable[[bytes], object],
    keys: Sequence[bytes],
    write: Callable[[], object],
    *,
    windows: int,
    window_s: float,
    every_s: float,
) -> Pauses:
    """Write once every `every_s` in each second window of `window_s`."""
    gaps: dict[bool, list[int]] = {True: [], False: []}
    writes = 0
    for number in range(2 * windows):
        writing = number % 2 == 0
        stop = threading.Event()
        writer = threading.Thread(target=_keep_writing, args=(write, every_s, stop, writing))
        found = _Reader(look_up, keys)
        reader = threading.Thread(target=found.run, args=(stop,))
        reader.start()
        writer.start()
        time.sleep(window_s)
        stop.set()
        reader.join()
        writer.join()
        gaps[writing].append(found.worst_ns)
        writes += round(window_s / every_s) if writing else 0
    return Pauses(
        with_writer_ms=median(gaps[True]) / MS,
        without_writer_ms=median(gaps[False]) / MS,
        worst_with_ms=max(gaps[True]) / MS,
        worst_without_ms=max(gaps[False]) / MS,
        windows=windows,
        writes=writes,
    )


def _keep_writing(
    write: Callable[[], object],
    every_s: float,
    stop: threading.Event,
    writing: bool,  # noqa: FBT001 - the two kinds of window
) -> None:
    while not stop.wait(every_s):
        if writing:
            write()


class _Reader:
    def __init__(self, look_up: Callable[[bytes], object], keys: Sequence[bytes]) -> None:
        self._look_up, self._keys = look_up, keys
        self.worst_ns = 0

    def run(self, stop: threading.Event) -> None:
        clock, look_up, worst = time.perf_counter_ns, self._look_up, 0
        before = clock()
        while not stop.is_set():
            for key in self._keys:
                look_up(key)
                now = clock()
                worst = max(worst, now - before)
                before = now
        self.worst_ns = worst
