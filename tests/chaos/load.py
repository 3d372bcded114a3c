"""Kills, reinstatements and retractions, given all the time, in a thread beside the faults."""

import contextlib
import threading
import time
from collections.abc import Iterator
from random import Random

from tests.chaos.cast import HEAL_WITHIN_S
from tests.chaos.stage import Stage
from tests.chaos.workers import WorkerFailed

PAUSE_S = 0.02
"""Between two requests: some dozens a second."""
_WEIGHTS = {"badge": 4, "agent": 4, "retract": 1, "reinstate": 1}
_POLL_S = 0.005


class Load:
    """Requests to publishers that run; one that is gone is asked again when it is back."""

    def __init__(self, stage: Stage, random: Random) -> None:
        self.given = 0
        """Requests so far."""
        self.refused: list[str] = []
        self._stage, self._random = stage, random
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(PAUSE_S):
            publishers = sorted(self._stage.publishers)
            if publishers:
                with contextlib.suppress(WorkerFailed, KeyError):  # it was killed meanwhile
                    self._request(self._random.choice(publishers))

    def _request(self, publisher: str) -> None:
        stage, number = self._stage, self._random.randrange(self._stage.shape.agents)
        (what,) = self._random.choices(tuple(_WEIGHTS), tuple(_WEIGHTS.values()))
        if what == "badge":
            answer = stage.kill_badge(self._random.choice(stage.badges), by=publisher)
        elif what == "agent":
            answer = stage.kill(number, by=publisher)
        else:
            answer = stage.end(number, by=publisher, retract=what == "retract")
        self.given += 1
        if answer.refused:
            self.refused.append(answer.refused)

    def until(self, given: int) -> None:
        """Wait until so many requests were given."""
        deadline = time.monotonic() + HEAL_WITHIN_S
        while self.given < given:
            if time.monotonic() > deadline:
                raise TimeoutError(f"only {self.given} of {given} requests were given")
            time.sleep(_POLL_S)

    def more(self, requests: int) -> None:
        """Wait until so many more were given."""
        self.until(self.given + requests)

    def end(self) -> None:
        """Give no more."""
        self._ended.set()
        self._thread.join(HEAL_WITHIN_S)


@contextlib.contextmanager
def under_load(stage: Stage) -> Iterator[Load]:
    """Give requests for the time of the block, or until `end`."""
    load = Load(stage, Random(stage.random.random()))  # noqa: S311 - must replay
    try:
        yield load
    finally:
        load.end()
