"""Our side of the suite's processes: start, ask, hear, kill.

None outlives this process (`exec_bound`). What one reports is read by a thread of its own, and kept
in order until it is asked for.
"""

import contextlib
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from rescind.embedded.process import bound
from tests.chaos import wire
from tests.fakes.waiting import WITHIN_S

ROOT = Path(__file__).parents[2]
_LAST_WORDS = 2000
T = TypeVar("T")


class WorkerFailed(Exception):
    """A process did not do as it was told; the sentence has its last words."""


class Worker:
    """One process."""

    def __init__(self, module: str, host: wire.Host, *before: str) -> None:
        self.host, self.name = host, host.name
        self.reports: list[wire.Report] = []
        """All but answers, oldest first; taken by whoever reads them."""
        self.gone = False
        self._numbers = itertools.count(1)
        self._answers: dict[int, msgspec.Raw] = {}
        self._news = threading.Condition()
        self._log = Path(host.folder).parent / f"{host.name}.log"
        python = [sys.executable, "-m", module, wire.encode(host).decode()]
        with self._log.open("ab") as errors:
            self.process = subprocess.Popen(
                bound(*before, *python),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                process_group=0,
            )
        self._hearing = threading.Thread(target=self._hear, name=f"hear {self.name}", daemon=True)
        self._hearing.start()

    def __repr__(self) -> str:
        return f"<Worker {self.name}, pid {self.process.pid}>"

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid

    def _hear(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.endswith(b"\n"):
                break  # it died in the middle of it
            report = wire.read_report(line)
            with self._news:
                if isinstance(report, wire.Answer):
                    self._answers[report.number] = report.value
                else:
                    self.reports.append(report)
                self._news.notify_all()
        with self._news:
            self.gone = True
            self._news.notify_all()

    def take(self) -> list[wire.Report]:
        """Return the reports that have come since this was last called."""
        with self._news:
            taken, self.reports = self.reports, []
        return taken

    def ready(self) -> None:
        """Wait until it takes orders."""
        self._wait(lambda: any(isinstance(each, wire.Ready) for each in self.reports), "start")

    def tell(self, order: wire.Order) -> int:
        """Send an order; return its number."""
        number = next(self._numbers)
        line = wire.encode(msgspec.structs.replace(order, number=number)) + b"\n"
        assert self.process.stdin is not None
        with self._news:  # one line at a time: several threads may give orders
            try:
                self.process.stdin.write(line)
                self.process.stdin.flush()
            except OSError as error:
                raise WorkerFailed(f"{self.name} has ended: {self.last_words()}") from error
        return number

    def answer(self, number: int, kind: type[T]) -> T:
        """Wait for the answer to an order."""
        self._wait(lambda: number in self._answers, "answer")
        return msgspec.json.decode(self._answers.pop(number), type=kind)

    def ask(self, order: wire.Order, kind: type[T]) -> T:
        """Return the answer to an order."""
        return self.answer(self.tell(order), kind)

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WITHIN_S
        with self._news:
            while not condition():
                if self.gone or not self._news.wait(max(0.0, deadline - time.monotonic())):
                    raise WorkerFailed(f"{self.name} did not {what}: {self.last_words()}")

    def dead(self) -> None:
        """Wait until it has ended, and all that it said was heard."""
        self.process.wait(WITHIN_S)
        self._hearing.join(WITHIN_S)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self.process.kill()
        self.dead()
        self._close_pipes()

    def _close_pipes(self) -> None:
        for pipe in filter(None, (self.process.stdin, self.process.stdout)):
            with contextlib.suppress(OSError):  # an order that it did not read any more
                pipe.close()

    def last_words(self) -> str:
        """Return the end of what it said to nobody."""
        return self._log.read_bytes()[-_LAST_WORDS:].decode("utf-8", "replace").strip()
