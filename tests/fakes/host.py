"""A host of its own: a process with a publisher, its folder as an operator makes it by hand.

python -m tests.fakes.host HOME     runs until its standard input ends
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from rescind.config import load
from rescind.publishing import LocalPublisher
from rescind_protocol.encoding import b64url_encode
from rescind_protocol.keys import SigningKey
from rescind_publisher.control_client import ControlClient
from rescind_publisher.keyfiles import write_private, write_trust
from rescind_publisher.switch import KillSwitch
from tests.fakes.waiting import WITHIN_S

RESCIND = Path(sys.executable).with_name("rescind")


class Host:
    """One publisher's folder and process, and the command line over it."""

    def __init__(self, home: Path, name: str, key: SigningKey) -> None:
        self.home, self.name, self.key = home, name, key
        self._process: subprocess.Popen[str] | None = None

    def settle(self, trust: bytes, root: SigningKey, settings: Mapping[str, object]) -> None:
        """Write the folder: key, trust file, settings."""
        self.home.mkdir(mode=0o700, parents=True)
        write_private(self.home / "publisher.key", self.key)
        write_trust(self.home / "trust.jws", trust)
        said = {
            "publisher": self.name,
            "root_key": b64url_encode(root.public),
            "heartbeat_s": 0.2,
            **settings,
        }
        lines = [f"{name} = {json.dumps(value)}" for name, value in said.items()]
        path = self.home / "rescind.toml"
        path.touch(mode=0o600)
        path.write_text("\n".join(lines) + "\n")

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.fakes.host", str(self.home)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    @property
    def switch(self) -> KillSwitch:
        """Return a kill switch that asks the process."""
        return KillSwitch(ControlClient(self.home / "control/control.sock"))

    def rescind(self, *words: str | Path, code: int = 0) -> str:
        """Run a command of the command line here; return what it writes."""
        done = subprocess.run(
            [RESCIND, *words, "--home", self.home],
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


def _main(home: str) -> None:
    publisher = LocalPublisher(load({"home": home}))
    publisher.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    publisher.close()


if __name__ == "__main__":
    _main(sys.argv[1])
