"""Many guarded processes, each with a subscriber and a guard; and the parent's side of them.

Commands over stdin: `fresh`, `call N` (check a badge of agent x7 so often; how many passed), `end`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from rescind_guard.guard import Guard
from rescind_guard.issuers import Issuers
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.nats_link import NatsOptions
from rescind_subscriber.sources.nats import NatsSource
from rescind_subscriber.subscriber import Subscriber
from tests.fakes.badges import Issuer
from tests.fakes.fabric import FABRIC, make_trust
from tests.fakes.sidecar import CONFIG
from tests.fakes.waiting import WITHIN_S, wait_until
from tests.faults.processes import freeze


class Guarded:
    """One process."""

    def __init__(self, url: str, config: SubscriberConfig) -> None:
        self.name = config.name
        said = msgspec.json.encode(config).decode()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.fleet", url, said],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def ask(self, command: str) -> Any:
        """Return the answer to a command."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"{self.name} has ended"
        return json.loads(answer)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; what it does has happened when this returns."""
        if number == signal.SIGSTOP:
            freeze(self._process.pid)
            return
        os.kill(self._process.pid, number)
        if number == signal.SIGKILL:
            self._process.wait()

    def close(self) -> None:
        """End it, whatever state it is in."""
        if self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGCONT)
            self._process.communicate("end\n", timeout=WITHIN_S)
        else:
            self._process.communicate()


class Fleet:
    """Processes named eu-1, eu-2, …; all of them fresh when it is entered."""

    def __init__(self, url: str, count: int, **changes: Any) -> None:
        base = msgspec.structs.asdict(CONFIG) | changes
        configs = [SubscriberConfig(**(base | {"name": f"eu-{n + 1}"})) for n in range(count)]
        self._each = {config.name: Guarded(url, config) for config in configs}

    def __getitem__(self, name: str) -> Guarded:
        return self._each[name]

    def __enter__(self) -> Self:
        for each in self._each.values():
            wait_until(lambda each=each: each.ask("fresh"))  # type: ignore[misc]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for each in self._each.values():
            each.close()


def main() -> None:
    """Serve one process."""
    url, said = sys.argv[1:]
    config = msgspec.json.decode(said, type=SubscriberConfig)
    issuer = Issuer()
    token = issuer.badge(iat=int(time.time()), exp=int(time.time()) + 600)
    options = NatsOptions(url=url, inbox_prefix="_INBOX_sub")
    with Subscriber(make_trust(), lambda: [NatsSource(FABRIC, options)], config=config) as at:
        guard = Guard(at.view, Issuers.from_jwks({issuer.iss: issuer.jwks()}))
        for line in sys.stdin:
            word, *rest = line.split()
            if word == "end":
                return
            answer = at.fresh if word == "fresh" else _call(guard, token, int(rest[0]))
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


def _call(guard: Guard, token: str, times: int) -> int:
    return sum(bool(guard.check(token)) for _ in range(times))


if __name__ == "__main__":
    main()
