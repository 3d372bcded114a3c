"""Processes bound to this one: whatever becomes of the demo, none of them stays.

- Each dies with this process, however that ends (`PR_SET_PDEATHSIG`, see `exec_bound`), stopped
  ones too. The signal follows the *thread* that started it: start them from the main thread.
- Each has a process group of its own: Ctrl-C reaches the demo alone, which then ends them.
- What they report is read by one thread each and kept in order of arrival.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self, TypeVar

import rescind.embedded
from rescind.demo import wire
from rescind_protocol.errors import RescindError

EXEC_BOUND = Path(rescind.embedded.__file__).with_name("exec_bound.py")
AT_ONCE = 2 * (os.cpu_count() or 1)
"""Processes that are starting at the same time."""
START_WITHIN_S = 30.0
_LOG_TAIL_BYTES = 4096
R = TypeVar("R", bound=wire.Report)


class DemoFailed(RescindError):
    """The demo's own world broke; the sentence says what."""

    code = "DEMO_FAILED"


class Child:
    """One process, and all it has reported."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        if process.stdin is None or process.stdout is None:
            raise TypeError("a child needs both pipes")
        self.name = name
        self.process = process
        self.orders, self.heard = process.stdin, process.stdout
        self.log = log
        self.reports: list[wire.Report] = []
        self.ended = False
        """Whether it has closed its reports without being asked to."""
        self.stopped = False
        """Whether we have ended it."""

    def __repr__(self) -> str:
        return f"<Child {self.name}, pid {self.process.pid}>"

    def all(self, kind: type[R]) -> list[R]:
        """Return the reports of one kind, oldest first."""
        return [report for report in list(self.reports) if isinstance(report, kind)]

    def tell(self, order: wire.Order) -> None:
        """Send it an order."""
        try:
            self.orders.write(wire.encode(order) + b"\n")
            self.orders.flush()
        except BrokenPipeError:
            raise DemoFailed(f"{self.name} has ended: {self.last_words()}") from None

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash would."""
        self.stopped = True
        self.process.kill()
        self.process.wait()

    def last_words(self) -> str:
        """Return the last line of its stderr that has words."""
        text = self.log.read_bytes()[-_LOG_TAIL_BYTES:].decode("utf-8", "replace")
        worded = [line.strip(" |") for line in text.splitlines() if any(map(str.isalpha, line))]
        return worded[-1] if worded else "it said nothing"


class Children:
    """All processes of the demo. A context manager: none is left when it exits."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._news = threading.Condition()
        self._all: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, name: str, module: str, settings: Mapping[str, str]) -> Child:
        """Start `python -m module`; `settings` is all of `RESCIND_*` that it sees.

        Waits while too many are starting: thirty at once would all be slow, and none to be seen.
        """
        self.wait(lambda: self._starting() < AT_ONCE, START_WITHIN_S)
        others = {k: v for k, v in os.environ.items() if not k.startswith("RESCIND_")}
        log = self._logs / f"{name}.log"
        python = [sys.executable, "-P", "-m", module]
        with log.open("ab") as errors:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(EXEC_BOUND), str(os.getpid()), *python],
                env={**others, **settings},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                process_group=0,
            )
        child = Child(name, process, log)
        self._all.append(child)
        threading.Thread(target=self._hear, args=(child,), name=f"hear {name}", daemon=True).start()
        return child

    def _hear(self, child: Child) -> None:
        for line in child.heard:
            report = wire.read_report(line)
            with self._news:
                child.reports.append(report)
                self._news.notify_all()
        with self._news:
            child.ended = True
            self._news.notify_all()

    def wait(self, condition: Callable[[], bool], within_s: float) -> bool:
        """Return whether `condition` came true in time; `DemoFailed` if a process ended meanwhile.

        It is asked whenever a process reports something.
        """
        deadline = time.monotonic() + within_s
        with self._news:
            while not condition():
                self._check_alive()
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._news.wait(left)
        return True

    def _starting(self) -> int:
        return sum(1 for child in self._all if not child.reports and not child.ended)

    def _check_alive(self) -> None:
        for child in self._all:
            if child.ended and not child.stopped:
                raise DemoFailed(f"{child.name} has ended: {child.last_words()}")

    def close(self) -> None:
        """End all of them: kill first, then wait."""
        running = [child for child in self._all if not child.stopped]
        for child in running:
            child.stopped = True
            child.process.kill()
        for child in running:
            child.process.wait()
        for child in self._all:
            for pipe in (child.orders, child.heard):
                with contextlib.suppress(OSError):  # an order that it did not read any more
                    pipe.close()
