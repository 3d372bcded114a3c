"""Output that nobody reads holds nobody up."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rescind.cli import unblocked as module
from rescind.cli.unblocked import Queued
from tests.fakes.waiting import wait_until


@contextmanager
def piped() -> Iterator[tuple[int, Queued]]:
    """Give the end of a pipe that nobody reads yet, and what writes to its other end."""
    reading, writing = os.pipe()
    queued = Queued(writing, module._lost_document)
    try:
        yield reading, queued
    finally:
        os.close(reading)
        queued.end()
        os.close(writing)


def test_a_pipe_that_is_full_blocks_no_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit is dropped, and its number is said once somebody reads."""
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", 300_000)
    line = json.dumps({"event": "x" * 1000}).encode() + b"\n"
    with piped() as (reading, queued):
        for _ in range(1000):
            queued.write(line)
        seen = b""
        while seen.count(b"\n") < 300_000 // len(line):
            seen += os.read(reading, 1 << 20)
        while b"not_read" not in seen:
            queued.write(line)
            seen += os.read(reading, 1 << 20)
    kinds = [json.loads(each) for each in seen.splitlines()]
    (lost,) = [each for each in kinds if each["event"] == "not_read"]
    assert lost["lines"] >= 600


def test_the_end_waits_for_no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lets go of what nobody takes."""
    monkeypatch.setattr(module, "FLUSH_S", 0.05)
    with piped() as (_, queued):
        queued.write(b"x" * 1_000_000)
        queued.end()


def test_all_is_written_in_order_before_the_end() -> None:
    """Where somebody reads."""
    with piped() as (reading, queued):
        for number in range(100):
            queued.write(b"%d\n" % number)
        queued.end()
        assert os.read(reading, 10_000).split() == [b"%d" % n for n in range(100)]


def test_a_reader_that_went_away_is_an_error() -> None:
    """As for every program in a pipe."""
    reading, writing = os.pipe()
    os.close(reading)
    queued = Queued(writing, module._lost_line)
    queued.write(b"x\n")
    wait_until(lambda: queued._broken is not None)
    with pytest.raises(BrokenPipeError):
        queued.write(b"x\n")
    os.close(writing)
