"""A sink that keeps what it gets, refuses, or holds its writer up; and lines as files have them."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from rescind_guard.errors import LogFailed
from rescind_guard.evidence import Record
from tests.fakes.waiting import WITHIN_S


class LogSink:
    """Keeps records in memory. `full`: refuses after that many; `gate`: each write waits for it."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.full: int | None = None
        self.breaks: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def write(self, records: Sequence[Record]) -> None:
        """Take records, or as many as there is room for."""
        self.gate.wait(WITHIN_S)
        if self.breaks is not None:
            raise self.breaks
        room = len(records) if self.full is None else max(0, self.full - len(self.records))
        self.records += records[:room]
        if room < len(records):
            raise LogFailed("the sink is full", room)


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file; what is no JSON is a torn line, and left out."""
    found = []
    for line in path.read_bytes().splitlines():
        try:
            found.append(msgspec.json.decode(line))
        except msgspec.DecodeError:
            continue
    return found
