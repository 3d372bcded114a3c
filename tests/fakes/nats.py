"""Real nats-servers for tests, links as each user, and a feed that records."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rescind.embedded import EmbeddedServer
from rescind.embedded.server import new_passwords, packaged_config, password_variable
from rescind_subscriber.nats_link import Link, NatsOptions

FABRIC = "test"
STREAM = f"RESCIND_{FABRIC}"
LOG = f"rescind.{FABRIC}.log.a"
GET = f"$JS.API.DIRECT.GET.{STREAM}"
PREFIXES = {"publisher": "_INBOX_pub", "subscriber": "_INBOX_sub", "system": "_INBOX_sys"}


def edited_config(path: Path, *edits: tuple[str, str]) -> Path:
    """Write the packaged configuration with each (old, new) edit made; an edit must bite."""
    text = packaged_config().read_text()
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text)
    return path


def admin_server(directory: Path, *edits: tuple[str, str], port: int = 0) -> EmbeddedServer:
    """Return a server, not started, with a user `admin` beside the publishers who may do all."""
    admin = f"{{ user: admin, password: ${password_variable('admin')} }}\n"
    users = "users: [\n      {\n        user: publisher"
    config = edited_config(directory / "admin.conf", (users, _insert(admin)), *edits)
    passwords = {**new_passwords(), "admin": "padmin"}
    return EmbeddedServer(directory / "store", config=config, passwords=passwords, port=port)


def _insert(user: str) -> str:
    return f"users: [\n      {user}      {{\n        user: publisher"


def options(server: EmbeddedServer, user: str, **changes: Any) -> NatsOptions:
    """Return the options of one of the server's users."""
    prefix = PREFIXES.get("subscriber" if user.startswith("host_") else user, f"_INBOX_{user}")
    return NatsOptions(**{"url": server.url_for(user), "inbox_prefix": prefix} | changes)


class Watched:
    """A link with what it reported: ups, downs and problems, in order."""

    def __init__(self, link_options: NatsOptions) -> None:
        self.told: list[str] = []
        self.problems: list[str] = []
        self.link = Link(
            link_options, on_up=self._up, on_down=self.told.append, on_problem=self.problems.append
        )

    async def _up(self) -> None:
        self.told.append("up")


@asynccontextmanager
async def linked(server: EmbeddedServer, user: str) -> AsyncIterator[Watched]:
    """Give a link as that user."""
    watched = Watched(options(server, user))
    await watched.link.start()
    try:
        yield watched
    finally:
        await watched.link.stop()


async def api(link: Link, verb: str, **payload: Any) -> dict[str, Any]:
    """Call the JetStream API and return its answer."""
    raw = json.dumps(payload).encode() if payload else b""
    answer: dict[str, Any] = json.loads((await link.request(f"$JS.API.{verb}", raw)).payload)
    return answer


async def store(link: Link, *events: bytes, subject: str = LOG, **headers: str) -> None:
    """Append events, each acked by the server."""
    for event in events:
        reply = await link.request(subject, event, headers=headers or None)
        assert b'"seq"' in reply.payload, reply


class RecordingFeed:
    """A feed that writes down what it hears."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.heads: list[bytes] = []
        self.states: list[str] = []
        self.reasons: list[str] = []

    def heard(self, source: str, raw: bytes) -> None:
        """Take a live event."""
        del source
        self.events.append(raw)

    def heard_head(self, source: str, raw: bytes) -> None:
        """Take a head."""
        del source
        self.heads.append(raw)

    def linked(self, source: str) -> None:
        """Note the state."""
        del source
        self.states.append("linked")

    def unlinked(self, source: str, why: str) -> None:
        """Note the state, once, and the reason."""
        del source
        self.reasons.append(why)
        if self.states[-1:] != ["unlinked"]:
            self.states.append("unlinked")

    def spread_s(self) -> float:
        """Be a small fleet."""
        return 0.0
