"""`EmbeddedRedis`: one real redis-server (or valkey-server) on the loopback, bound to this process.

No wheel carries a Redis that is recent enough, so the one on PATH is used. It gets the shipped
configuration and the shipped users, each with a password of its own; the file names only digests.
"""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
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
PORT_ATTEMPTS = 5
"""A free port can be taken between our look and the server's start; Redis cannot choose its own."""
_POLL_S = 0.005
_PROBE_S = 1.0
_NAMES = ("redis-server", "valkey-server")


def find_redis() -> Path | None:
    """Return the path of a server on PATH, if there is one."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    return Path(found) if found else None


def users_acl(fabric: str, passwords: Mapping[str, str]) -> str:
    """Return the shipped users file for a fabric, with the digests of these passwords."""
    text = (resources.files(__package__) / "users.acl").read_text("utf-8")
    text = text.replace("{default}", f"{{{fabric}}}")
    for user, password in passwords.items():
        digest = sha256(password.encode()).hexdigest()
        text = text.replace(f"#{user.upper()}_PASSWORD_SHA256", f"#{digest}")
    return text


class EmbeddedRedis:
    """Context manager around one redis-server process.

    `store` is the directory of its append-only file (made with mode 0700); None means a throw-away
    one. `options` are further words of its command line, `users` further lines of its users file.
    Raises `EmbeddedServerError` with one sentence: no binary, port taken, store not writable.
    """

    def __init__(
        self,
        store: Path | None = None,
        *,
        fabric: str = "default",
        port: int = 0,
        passwords: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        users: Sequence[str] = (),
    ) -> None:
        self.port = port
        """What is listened on, the same again after a restart."""
        self.passwords = dict(passwords or {user: secrets.token_hex(24) for user in USERS})
        self._given_store, self._fabric = store, fabric
        self._options, self._users = tuple(options), tuple(users)
        self._cleanup = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return (
            f"<EmbeddedRedis {f'pid {self.pid}, port {self.port}' if self.running else 'stopped'}>"
        )

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise EmbeddedServerError("the embedded redis-server is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the server's process is alive."""
        return self._process is not None and self._process.poll() is None

    def url_for(self, user: str) -> str:
        """Return the address with the user's name and password: a secret."""
        return f"redis://{user}:{self.passwords[user]}@127.0.0.1:{self.port}"

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
        """Start the server and return when it answers."""
        if self._process is not None:
            raise EmbeddedServerError("the embedded redis-server was already started")
        binary = find_redis()
        if binary is None:
            raise EmbeddedServerError("no redis-server here: install the package redis-server")
        try:
            self._start(binary)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server (SIGTERM, then SIGKILL) and free its store; harmless if it is gone."""
        process, self._process = self._process, None
        if process is not None:
            end(process)
        self._cleanup.close()

    def _start(self, binary: Path) -> None:
        store = open_store(self._given_store, self._cleanup)
        run = Path(self._cleanup.enter_context(scratch("rescind-redis-")))
        acl = run / "users.acl"
        acl.touch(mode=0o600)
        acl.write_text(
            users_acl(self._fabric, self.passwords) + "".join(f"{u}\n" for u in self._users)
        )
        config = run / "redis.conf"  # a copy: a Sentinel has its servers rewrite their files
        config.write_bytes((resources.files(__package__) / "redis.conf").read_bytes())
        given, login = self.port, f"subscriber {self.passwords['subscriber']}"
        for attempt in range(PORT_ATTEMPTS):
            self.port = given or free_port()
            log = self._cleanup.enter_context((run / f"log.{attempt}").open("w+b"))
            words = [str(binary), str(config), "--port", str(self.port), "--bind", "127.0.0.1"]
            words += ["--dir", str(store), "--aclfile", str(acl), *self._options]
            self._process = spawn(bound(*words), os.environ, log)
            if _wait_ready(
                self._process, self.port, login, log, last=given or attempt == PORT_ATTEMPTS - 1
            ):
                return


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_ready(
    process: subprocess.Popen[bytes], port: int, login: str, log: IO[bytes], *, last: object
) -> bool:
    """Return whether the server answers; False if its port was taken and another may be tried."""
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            text = log_tail(log)
            taken = "Address already in use" in text
            if taken and not last:
                return False
            raise EmbeddedServerError(f"redis-server did not start: {_why(text)}")
        if _answers(port, login):
            return True
        time.sleep(_POLL_S)
    raise EmbeddedServerError(f"redis-server was not ready within {READY_WITHIN_S:.0f} s")


def _answers(port: int, login: str) -> bool:
    """Whether a PING is answered: logged in, for a server that still loads asks that first."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), _PROBE_S) as s:
        s.sendall(f"AUTH {login}\r\nPING\r\nQUIT\r\n".encode())
        return b"+PONG" in b"".join(iter(lambda: s.recv(1024), b""))
    return False


def _why(text: str) -> str:
    """Return the sentence hidden in the server's log."""
    if "Address already in use" in text:
        return "the port is taken by another program: choose another one, or 0 for a free one"
    marked = [
        line for line in text.splitlines() if "***" in line or "Can't" in line or ">>>" in line
    ]
    return (marked or text.splitlines() or ["it said nothing"])[-1].strip()
