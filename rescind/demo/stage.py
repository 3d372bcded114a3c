"""The world of the demo, built in front of an `ExitStack` and taken down whatever happens.

A fabric's folder as `rescind up` makes it, a real nats-server and redis-server, a publisher in this
process, guarded MCP servers, sidecars and an agent as processes of their own. Loopback only.
"""

import logging
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import msgspec

from rescind import config, home
from rescind.demo import wire
from rescind.demo.children import Child, Children, DemoFailed
from rescind.demo.issuer import Badge, Issuer
from rescind.embedded.redis import EmbeddedRedis, find_redis
from rescind.embedded.server import EmbeddedServer
from rescind.errors import BadConfig
from rescind.publishing import LocalPublisher
from rescind_publisher.keyfiles import read_private
from rescind_publisher.switch import KillSwitch
from rescind_subscriber.checkpoint import CheckpointFile

FABRIC = "demo"
PUBLISHER = "soc"
AGENT = "did:web:acme.example:agents:x7"
UP_WITHIN_S = 300.0
"""Thirty Python processes beside much else on two cores; some 8 s where nothing else runs."""

_POLL_S = 0.01

Progress = Callable[[str, int, int], None]
"""Told (part, how many are up, of how many) while the world is built."""


class Shape(msgspec.Struct, frozen=True):
    """How large the world is."""

    subscribers: int
    """All of them: one in each server, the others in sidecars."""
    servers: int


class Broker:
    """A real server of the demo, to be killed."""

    def __init__(self, server: EmbeddedServer | EmbeddedRedis) -> None:
        self._server = server

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return self._server.running

    def kill(self) -> None:
        """End it by SIGKILL, as a crash would; returns when it is gone."""
        if self._server.running:
            os.kill(self._server.pid, signal.SIGKILL)
        while self._server.running:
            time.sleep(_POLL_S)


class Stage(msgspec.Struct, frozen=True):
    """The world, up."""

    folder: Path
    brokers: dict[str, Broker]
    """By the names that people use."""
    switch: KillSwitch
    issuer: Issuer
    children: Children
    agent: Child
    badges: dict[str, Badge]
    """Every badge issued, by our name for it."""
    servers: dict[str, Child]
    sidecars: dict[str, Child]
    settings: dict[str, str]
    """`RESCIND_*` of every subscriber, less its name."""

    @property
    def subscribers(self) -> dict[str, Child]:
        """Every process with a view: in servers and in sidecars."""
        return self.servers | self.sidecars

    def issue(self, name: str, *, after: int = 0) -> Badge:
        """Issue a badge, and let the agent work with it from now on."""
        self.badges[name] = badge = self.issuer.issue(after=after)
        self.carry(name, badge)
        return badge

    def carry(self, name: str, badge: Badge) -> None:
        """Let the agent work with this badge from now on, its calls reported under `name`."""
        self.agent.tell(wire.Carry(name, badge.token))

    def wait_remembered(self, name: str, event: tuple[str, int], within_s: float) -> bool:
        """Return whether a subscriber's local snapshot holds an event, within the time."""
        file, (log, seq) = CheckpointFile(self.folder / home.SUBSCRIBERS, name), event
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            kept = file.load(FABRIC)
            if kept is not None and log in kept.image.vector and kept.image.vector[log].seq >= seq:
                return True
            time.sleep(_POLL_S)
        return False

    def start_sidecar(self, name: str) -> Child:
        """Start a sidecar; it follows once it is told to."""
        self.sidecars[name] = child = self.start_subscriber(name, "sidecar")
        return child

    def start_subscriber(self, name: str, program: str) -> Child:
        """Start a process with a subscriber of that name."""
        settings = {**self.settings, "RESCIND_NAME": name}
        return self.children.start(name, f"rescind.demo.{program}", settings)


@contextmanager
def build(shape: Shape, keep: Path | None, progress: Progress) -> Iterator[Stage]:
    """Yield the world once every subscriber is fresh and the agent knows the servers.

    It lives in `keep`, or in a folder that is removed. Raises `DemoFailed`, and what the parts of
    the world raise.
    """
    _check_installed()
    with ExitStack() as cleanup:
        folder = _check_new(keep.absolute()) if keep else Path(cleanup.enter_context(_throw_away()))
        _log_to(folder / "logs", cleanup)
        server = cleanup.enter_context(EmbeddedServer(folder / home.NATS))
        progress("nats-server", 1, 1)
        redis = None if why_no_redis() else EmbeddedRedis(folder / "redis", fabric=FABRIC)
        if redis is not None:
            cleanup.enter_context(redis)
            progress("redis-server", 1, 1)
        stage = _open_fabric(folder, server, redis, cleanup)
        progress("publisher", 1, 1)
        _start_processes(stage, shape, progress)
        _wait_until_up(stage, shape, progress)
        yield stage


def why_no_redis() -> str:
    """Return why the demo has no Redis, "" if it has one."""
    if any(find_spec(each) is None for each in ("redis", "hiredis")):
        return "it needs the packages redis and hiredis: pip install 'rescind[redis]'"
    return "" if find_redis() else "no redis-server on PATH: apt-get install redis-server"


def _log_to(folder: Path, cleanup: ExitStack) -> None:
    """Write what this process's publisher has to say of dying brokers beside the others' logs."""
    folder.mkdir(exist_ok=True, parents=True)
    handler = logging.FileHandler(folder / "publisher.log")
    cleanup.callback(handler.close)
    for name in ("rescind", "rescind_publisher"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        cleanup.callback(logger.removeHandler, handler)


def _open_fabric(
    folder: Path, server: EmbeddedServer, redis: EmbeddedRedis | None, cleanup: ExitStack
) -> Stage:
    """Make the fabric's folder and its publisher, and start the agent."""
    home.create(folder, fabric=FABRIC, publisher=PUBLISHER, port=server.port, now=int(time.time()))
    loaded = config.load(_overrides(folder, server, redis), env={})
    key = read_private(loaded.path(loaded.settings.issuer_key or ""))
    switch = cleanup.enter_context(KillSwitch(LocalPublisher(loaded)))
    children = cleanup.enter_context(Children(folder / "logs"))
    return Stage(
        folder=folder,
        brokers={"NATS": Broker(server)} | ({"Redis": Broker(redis)} if redis else {}),
        switch=switch,
        issuer=Issuer(key, home.LOCAL_ISSUER, AGENT),
        children=children,
        agent=children.start("agent", "rescind.demo.agent", {}),
        badges={},
        servers={},
        sidecars={},
        settings={
            "RESCIND_HOME": str(folder),
            "RESCIND_NATS_URL": server.url_for("subscriber"),
            **({"RESCIND_REDIS_URL": redis.url_for("subscriber")} if redis else {}),
        },
    )


def _start_processes(stage: Stage, shape: Shape, progress: Progress) -> None:
    """Start the slower ones first: what speaks MCP takes a second to import."""
    for name in _names("server", shape.servers):
        stage.servers[name] = stage.start_subscriber(name, "server")
        _show(stage, shape, progress)
    for name in _names("sidecar", shape.subscribers - shape.servers):
        stage.start_sidecar(name).tell(wire.Follow())
        _show(stage, shape, progress)


def _check_installed() -> None:
    """Say now what every process would say later, in a traceback."""
    if find_spec("mcp") is None:
        raise DemoFailed("its servers and its agent speak MCP: pip install 'rescind[mcp]'")


def _check_new(folder: Path) -> Path:
    if home.exists(folder):
        raise BadConfig(f"{folder} holds a fabric already: name another folder to keep")
    return folder


def _throw_away() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="rescind-demo-", ignore_cleanup_errors=True)


def _names(kind: str, count: int) -> list[str]:
    return [f"{kind}-{n}" for n in range(1, count + 1)]


def _overrides(folder: Path, server: EmbeddedServer, redis: EmbeddedRedis | None) -> dict[str, str]:
    """Return the addresses of the servers, whose passwords are their own and in no file."""
    second = (
        {}
        if redis is None
        else {
            "redis_url": redis.url_for("subscriber"),
            "publisher_redis_url": redis.url_for("publisher"),
            "system_redis_url": redis.url_for("system"),
        }
    )
    return second | {
        "home": str(folder),
        "nats_url": server.url_for("subscriber"),
        "publisher_nats_url": server.url_for("publisher"),
        "system_nats_url": server.url_for("system"),
    }


def _show(stage: Stage, shape: Shape, progress: Progress) -> bool:
    """Tell how many are up; return whether all are."""
    fresh = sum(1 for child in stage.subscribers.values() if child.all(wire.Fresh))
    listening = sum(1 for child in stage.servers.values() if child.all(wire.Ready))
    progress("agent", len(stage.agent.all(wire.Ready)), 1)
    progress("guarded MCP servers", listening, shape.servers)
    progress("subscribers", fresh, shape.subscribers)
    is_all = listening == shape.servers and fresh == shape.subscribers
    return is_all and bool(stage.agent.reports)


def _wait_until_up(stage: Stage, shape: Shape, progress: Progress) -> None:
    if not stage.children.wait(lambda: _show(stage, shape, progress), UP_WITHIN_S):
        late = [name for name, child in stage.subscribers.items() if not child.all(wire.Fresh)]
        raise DemoFailed(f"not fresh within {UP_WITHIN_S:.0f} s: {', '.join(late) or 'the agent'}")
    addresses = {name: child.all(wire.Ready)[0].url for name, child in stage.servers.items()}
    stage.agent.tell(wire.Visit(addresses))
