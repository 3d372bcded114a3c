"""A process with a subscriber in it, asked over stdin; and the parent's side of it.

Commands: `denies N`, `fresh`, `trouble`, `fork`, `child COMMAND`, `end`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.nats_link import NatsOptions
from rescind_subscriber.sources.nats import NatsSource
from rescind_subscriber.subscriber import Subscriber
from tests.fakes.fabric import FABRIC, make_trust
from tests.fakes.following import victim
from tests.fakes.waiting import WITHIN_S, wait_until

CONFIG = SubscriberConfig(heartbeat_s=0.05, snapshot_every_s=0.02, retry_s=0.02, retry_most_s=0.2)


def make_subscriber(url: str, folder: Path | None = None, **more: Any) -> Subscriber:
    """Return a subscriber of a real server; not started."""
    options = NatsOptions(url=url, inbox_prefix="_INBOX_sub")
    return Subscriber(
        make_trust(),
        lambda: [NatsSource(FABRIC, options)],
        config=CONFIG,
        state_dir=folder,
        **more,
    )


def denies(at: Subscriber, *numbers: int) -> bool:
    """Whether all of these victims are known to be killed."""
    table = at.view.published.table
    return all(table.get(victim(number).digest) is not None for number in numbers)


class Sidecar:
    """The process, and questions to it."""

    def __init__(self, url: str, folder: Path | None = None) -> None:
        command = [sys.executable, "-m", "tests.fakes.sidecar", url, str(folder or "")]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self.ask("end")
        self._process.communicate(timeout=WITHIN_S)

    def ask(self, command: str) -> Any:
        """Return the answer to a command."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the process has ended"
        return json.loads(answer)

    def until(self, command: str) -> None:
        """Return when the answer is true."""
        wait_until(lambda: self.ask(command))

    def kill(self) -> None:
        """End it by SIGKILL: nothing is saved, nothing closed."""
        self._process.kill()
        self._process.wait()


class _Served:
    """The process's side."""

    def __init__(self, at: Subscriber) -> None:
        self.at = at
        self.child: tuple[IO[str], IO[str]] | None = None
        self.at_fork: dict[str, bool] = {}

    def serve(self, asked: IO[str], answers: IO[str]) -> None:
        """Answer until `end` or the end of input."""
        for line in asked:
            answers.write(json.dumps(self.answer(*line.split())) + "\n")
            answers.flush()
            if line.strip() == "end":
                return

    def answer(self, word: str, *rest: str) -> Any:
        """Answer one command."""
        if word == "child" and self.child is not None:
            self.child[0].write(" ".join(rest) + "\n")
            self.child[0].flush()
            return json.loads(self.child[1].readline())
        answers: dict[str, Callable[[], Any]] = {
            "denies": lambda: denies(self.at, *map(int, rest)),
            "fresh": lambda: self.at.fresh,
            "trouble": lambda: self.at.status().trouble,
            "at_fork": lambda: self.at_fork,
            "fork": self.fork,
            "end": lambda: True,
        }
        return answers[word]()

    def fork(self) -> int:
        """Fork; the child answers what begins with `child`."""
        to_child, to_parent = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            self.at_fork = {"fresh": self.at.fresh, "denies": denies(self.at, 1)}
            self.serve(os.fdopen(to_child[0]), os.fdopen(to_parent[1], "w"))
            self.at.stop()
            os._exit(0)
        self.child = os.fdopen(to_child[1], "w"), os.fdopen(to_parent[0])
        return pid


def main() -> None:
    """Serve one subscriber."""
    url, folder = sys.argv[1:]
    with make_subscriber(url, Path(folder) if folder else None) as at:
        _Served(at).serve(sys.stdin, sys.stdout)


if __name__ == "__main__":
    main()
