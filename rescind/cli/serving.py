"""The embedded server of `rescind up`: where it listens, its passwords, and its restarts."""

import re
import socket
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from rescind import home
from rescind.config import FILE_NAME, Loaded
from rescind.embedded import EmbeddedServer, EmbeddedServerError
from rescind.errors import BadConfig
from rescind_publisher.keyfiles import write_secret

LOOPBACK = ("127.0.0.1", "localhost")
BACKOFF_MIN_S = 0.5
BACKOFF_MAX_S = 30.0
STEADY_S = 60.0
"""A server that ran this long starts again at once."""
_USERS = {"nats_url": "subscriber", "publisher_nats_url": "publisher", "system_nats_url": "system"}


def free_port() -> int:
    """Return a port of the loopback that is free now."""
    with closing(socket.socket()) as probe:
        probe.bind((LOOPBACK[0], 0))
        return int(probe.getsockname()[1])


def check_port(port: int) -> None:
    """Raise `BadConfig` where something listens already."""
    with closing(socket.socket()) as probe:
        # As the server does: a port in TIME_WAIT can be listened on again.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK[0], port))
        except OSError as error:
            raise BadConfig(
                f"port {port} of {LOOPBACK[0]} is taken ({error.strerror}): choose another one, "
                "as in `rescind up --port 4333`, or 0 for any that is free"
            ) from error


def addresses(loaded: Loaded) -> dict[str, SplitResult]:
    """Return the address of each user; raises `BadConfig` where they are not one server's."""
    found: dict[str, SplitResult] = {}
    for setting, user in _USERS.items():
        url = urlsplit(getattr(loaded.settings, setting) or "")
        if url.hostname not in LOOPBACK or not url.port or not url.password:
            raise BadConfig(
                f"setting {setting!r} is no address of an embedded server "
                f"(nats://{user}:PASSWORD@127.0.0.1:PORT): for a server of your own use "
                "--external-nats"
            )
        if url.username != user:
            raise BadConfig(f"setting {setting!r} must log in as {user!r} at an embedded server")
        found[user] = url
    if len({url.port for url in found.values()}) > 1:
        raise BadConfig(f"settings {', '.join(_USERS)} name different ports")
    return found


def move(loaded: Loaded, port: int) -> None:
    """Write another port into the addresses of the fabric's own settings file."""
    file, old = loaded.home / FILE_NAME, addresses(loaded)["subscriber"].port
    if loaded.file != file:
        raise BadConfig(f"--port cannot change {loaded.file}: write port {port} into its addresses")
    text = file.read_text("utf-8")
    moved = re.sub(rf"(@(?:127\.0\.0\.1|localhost)):{old}\b", rf"\g<1>:{port}", text)
    write_secret(file, moved.encode(), replace=True)


def make_server(loaded: Loaded) -> EmbeddedServer:
    """Make the server that the settings' addresses are about."""
    found = addresses(loaded)
    port = found["subscriber"].port
    passwords = {user: unquote(url.password or "") for user, url in found.items()}
    check_port(int(port or 0))
    return EmbeddedServer(Path(loaded.home) / home.NATS, port=port or 0, passwords=passwords)


class Keeper:
    """Starts a server again when it dies, with back-off; the publisher drains meanwhile."""

    def __init__(self, server: EmbeddedServer, say: Callable[[str, str], None]) -> None:
        """`say(word, sentence)` hears what happened."""
        self._server, self._say = server, say
        self._started_at = time.monotonic()
        self._wait_s = 0.0
        self._due: float | None = None

    def look(self) -> None:
        """Notice a dead server and start it when its time has come; call this often."""
        if self._server.running:
            return
        now = time.monotonic()
        if self._due is None:
            steady = now - self._started_at >= STEADY_S
            self._wait_s = (
                0.0 if steady else min(max(2 * self._wait_s, BACKOFF_MIN_S), BACKOFF_MAX_S)
            )
            self._due = now + self._wait_s
            self._say(
                "nats down",
                f"the server ended; it starts again in {self._wait_s:g} s, kills wait in the spool",
            )
        if now >= self._due:
            self._restart()

    def _restart(self) -> None:
        self._due = None
        self._started_at = time.monotonic()
        self._server.stop()
        try:
            self._server.start()
        except EmbeddedServerError as error:
            self._say("nats down", str(error))
        else:
            self._say("nats up", f"the server runs again, pid {self._server.pid}")
