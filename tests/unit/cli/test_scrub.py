"""`rescind scrub`: what it waits for, what it says, how it ends."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rescind.cli import switching
from rescind_publisher.status import ScrubStatus, SinkStatus, Status
from tests.unit.cli.conftest import Run

WHOLE = ScrubStatus(done=1, checked=9, total=9, finished_at=1.0)


class Scripted:
    """A publisher whose sinks go through these states, the last one for ever."""

    def __init__(self, *states: ScrubStatus | None) -> None:
        self.states = list(states)
        self.asked = 0

    def scrub(self) -> Status:
        """Begin."""
        self.asked += 1
        return self.status()

    def status(self) -> Status:
        """Return the next state."""
        now = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        sink = SinkStatus("nats", ready=True, pending=0, problem=None, scrub=now)
        return Status("f", "soc", "kid", 1, "log", 0, 1, 0, False, (sink,), {})  # noqa: FBT003


@pytest.fixture
def scrubbing(monkeypatch: pytest.MonkeyPatch) -> list[ScrubStatus | None]:
    """Give the list of states that the publisher goes through."""
    states: list[ScrubStatus | None] = []

    @contextmanager
    def engine(_session: object) -> Iterator[tuple[Scripted, None]]:
        yield Scripted(*states), None

    monkeypatch.setattr(switching, "engine", engine)
    return states


@pytest.mark.parametrize(
    ("last", "code", "says"),
    [
        (ScrubStatus(done=1, checked=9, total=9), 0, "9 events compared, 0 were lost"),
        (ScrubStatus(done=1, checked=9, total=9, lost=2, mended=2), 0, "2 mended"),
        (ScrubStatus(done=1, checked=9, total=9, lost=2, mended=1), 1, "2 were lost, 1 mended"),
        (ScrubStatus(done=1, forks=("event 3 of log a",)), 1, "another event 3 of log a"),
        (ScrubStatus(done=1, problem="nats: not connected"), 4, "not all: nats: not connected"),
        (None, 0, "cannot show what it holds"),
    ],
)
def test_each_outcome_has_its_words_and_code(
    run: Run, scrubbing: list[ScrubStatus | None], last: ScrubStatus | None, code: int, says: str
) -> None:
    """Mended is well; what is not, or a fork, is 1; what could not be looked at is 4."""
    scrubbing += [last and ScrubStatus(), last]
    done = run("scrub")
    assert (done.exit_code, says in done.stdout) == (code, True), done.stdout


def test_it_waits_for_a_comparison_that_began_after_the_call(
    run: Run, scrubbing: list[ScrubStatus | None]
) -> None:
    """One that was under way may have passed the damage already: its end is not enough."""
    scrubbing += [
        ScrubStatus(running=True, checked=8, total=9),
        WHOLE,
        ScrubStatus(running=True, done=1, checked=1, total=9),
        ScrubStatus(done=2, checked=9, total=9, lost=1),
    ]
    assert run("scrub").exit_code == 1


def test_one_that_takes_too_long_is_said_and_goes_on(
    run: Run, scrubbing: list[ScrubStatus | None]
) -> None:
    """Neither yes nor no."""
    scrubbing.append(ScrubStatus(running=True, checked=1, total=9))
    done = run("scrub", "--timeout", "0", "--json")
    assert done.exit_code == 4
    assert not json.loads(done.stdout)["ended"]
    assert "goes on" in done.stderr
