"""`rescind` as a person runs it: real processes, by the installed command."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

from tests.fakes.waiting import WITHIN_S, wait_until

RESCIND = str(Path(sys.executable).with_name("rescind"))


class Done:
    """A command that ended. No command may ever show a traceback, or a token."""

    def __init__(self, words: tuple[str, ...], code: int, out: str, err: str) -> None:
        self.words, self.code, self.out, self.err = words, code, out, err
        assert "Traceback" not in err + out, f"{words}: {err}"

    def __repr__(self) -> str:
        return f"<{' '.join(self.words)}: {self.code}\n{self.out}\n{self.err}>"

    @property
    def document(self) -> Any:
        """What --json wrote."""
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one sentence that an error is."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self
        return lines[0].removeprefix("error: ")


class Terminal:
    """Runs commands on one fabric's folder."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def environment(self, **more: str) -> dict[str, str]:
        """No settings but the folder and what is given."""
        kept = {name: said for name, said in os.environ.items() if not name.startswith("RESCIND_")}
        return {**kept, "RESCIND_HOME": str(self.home), "TERM": "dumb", **more}

    def run(self, *words: str, given: str = "", **more: str) -> Done:
        """Run a command to its end; `more` are variables."""
        done = subprocess.run(
            [RESCIND, *words],
            input=given,
            env=self.environment(**more),
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        return Done(words, done.returncode, done.stdout, done.stderr)

    def issue(self, name: str) -> str:
        """Issue a badge to an agent of that name."""
        done = self.run("badge", "issue", "--sub", did(name))
        assert done.code == 0, done
        return done.out.strip()

    def verdict(self, badge: str) -> str:
        """Return the code that `explain` gives; the badge itself is never shown."""
        done = self.run("explain", "--json", given=badge)
        assert badge.split(".")[1] not in done.out + done.err
        assert done.document["allowed"] is (done.code == 0)
        return str(done.document["code"])

    def killed(self, *target: str) -> bool:
        """Ask `status` whether a target is killed."""
        done = self.run("status", *target, "--check", "--json")
        assert done.document["killed"] is (done.code == 1), done
        return done.code == 1

    def start(self, *words: str, **more: str) -> "Running":
        """Start a command that goes on until it is ended."""
        return Running([RESCIND, *words], self.environment(**more))


class Running:
    """A process and the lines it writes; a context manager that ends it."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            # In the background of a script Ctrl-C is ignored, and children inherit that.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self.lines: list[str] = []
        self.errors: list[str] = []
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._readers = [
            threading.Thread(target=_read, args=pair, daemon=True)
            for pair in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.end(signal.SIGTERM)

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Lines of JSON that are of one kind, so far."""
        found = [json.loads(line) for line in list(self.lines)]
        return [each for each in found if each["event"] == kind]

    def wait_for(self, kind: str, **members: object) -> dict[str, Any]:
        """Return the first such line that has these members, once it is there."""

        def matching() -> list[dict[str, Any]]:
            found = self.events(kind)
            return [e for e in found if all(e.get(k) == v for k, v in members.items())]

        wait_until(lambda: matching() or self.process.poll() is not None, WITHIN_S)
        assert matching(), f"ended without {kind} {members}: {self.lines} {self.errors}"
        return matching()[0]

    def end(self, how: signal.Signals) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(how)
        code = self.process.wait(WITHIN_S)
        for reader in self._readers:
            reader.join(WITHIN_S)
        assert "Traceback" not in "".join(self.errors)
        return code


def _read(stream: Any, into: list[str]) -> None:
    for line in stream:
        into.append(line.rstrip("\n"))  # noqa: PERF401 - another thread looks at each line as it comes
    stream.close()


def admin_token(serving: dict[str, Any]) -> str:
    """Return the first token of a node, from the file that its first line names."""
    return Path(serving["token_file"]).read_text().strip()


def did(name: str) -> str:
    """Return an agent's DID; each test has agents of its own."""
    return f"did:web:acme.example:{name}"


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def refused(done: Done, code: int, part: str) -> None:
    """Check that a command ended with a sentence."""
    assert done.code == code, done
    assert part in done.error, done
