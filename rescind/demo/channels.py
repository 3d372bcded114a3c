"""One kill through each channel that a fleet can follow, from `POST /v1/kills` to the deny.

`rescind up --serve` runs the fabric and the registry; for each channel a sidecar, a process of its
own, follows it by nothing else. The request goes over HTTP, as from any program.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from rescind import config, home
from rescind.demo import wire
from rescind.demo.children import Child, Children, DemoFailed
from rescind.demo.issuer import Badge, Issuer
from rescind.demo.report import Claim, claim
from rescind.demo.stage import why_no_redis
from rescind.embedded.process import bound, end
from rescind.embedded.redis import EmbeddedRedis
from rescind_publisher.keyfiles import read_private

FABRIC = "default"
WITHIN_S = 60.0
EVERY_S = "1"
"""Between two polls of the bundle; 10 s where nothing is set."""
OTHER = "nobody-killed"
"""The control: an agent beside the others that is killed by no channel."""
REDIS = "Redis"
_POLL_S = 0.01
_PROGRAM = "from rescind.cli.main import main; main()"

Seen = Callable[[str, list[Claim]], None]
Settings = dict[str, str]


class Fabric(msgspec.Struct, frozen=True):
    """What `rescind up --serve` runs, and how to reach it."""

    home: Path
    url: str
    grpc_url: str
    token: str
    redis_url: str | None
    key: Path
    """The local issuer's private key."""

    def issue(self, agent: str) -> Badge:
        """Return a badge of an agent."""
        return Issuer(read_private(self.key), home.LOCAL_ISSUER, did(agent)).issue()


CHANNELS: dict[str, Callable[[Fabric], Settings]] = {
    "NATS": lambda _: {"SOURCES": "nats"},
    REDIS: lambda at: {"SOURCES": "redis", "REDIS_URL": at.redis_url or ""},
    "SSE": lambda at: {"SOURCES": "sse", "FEED_URL": at.url},
    "gRPC": lambda at: {"SOURCES": "grpc", "FEED_GRPC_URL": at.grpc_url},
    "the bundle, by long poll": lambda at: {
        "SOURCES": "bundle",
        "FEED_URL": at.url,
        "BUNDLE_LONG_POLL": "true",
    },
    f"the bundle, every {EVERY_S} s": lambda at: {
        "SOURCES": "bundle",
        "FEED_URL": at.url,
        "BUNDLE_EVERY_S": EVERY_S,
    },
}
"""Channel to what is set, as `RESCIND_*`, for a sidecar that follows it and nothing else."""


class World(msgspec.Struct, frozen=True):
    """All that plays."""

    fabric: Fabric
    children: Children
    sidecars: dict[str, Child]
    """By channel."""
    http: httpx2.Client


def did(agent: str) -> str:
    """Return the name of an agent of the demo."""
    return f"did:web:acme.example:agents:{_slug(agent)}"


def _slug(channel: str) -> str:
    return channel.lower().replace(",", "").replace(" ", "-")


def play(seen: Seen) -> None:
    """Play each channel; tell of each as it ends. Raises what the parts of the world raise."""
    with _world() as world:
        for name, child in world.sidecars.items():
            seen(f"By {name} alone", _run(world, name, child))
        missing = why_no_redis()
        seen("Beside it", [_control(world), *([_skipped(missing)] if missing else [])])


def _run(world: World, name: str, child: Child) -> list[Claim]:
    badge = world.fabric.issue(name)
    before = _verdict(world, child, badge, f"{name}, before")
    began = time.monotonic()
    refused, ids = _kill(world, did(name))
    found = [_applied(world, child, each) for each in ids]
    after = _verdict(world, child, badge, f"{name}, after")
    took = f"{(max(found) - began) * 1000:.0f} ms" if found else "never"
    return [
        claim("its guard allows the badge", (before != "OK", before)),
        claim("POST /v1/kills: 200, on a broker", (bool(refused), refused)),
        claim(f"its view has the kill {took} after the request", (not found, "it has not")),
        claim("its guard denies it: BADGE_REVOKED", (after != "BADGE_REVOKED", after)),
    ]


def _kill(world: World, agent: str) -> tuple[str, list[str]]:
    """Ask for a kill over HTTP; return why it was not done, "" if it was, and its places."""
    body = {"targets": [{"kind": "agent", "id": agent}]}
    try:
        answer = world.http.post("/v1/kills", json=body)
        if answer.status_code != httpx2.codes.OK:
            return f"{answer.status_code}: {answer.text}", []
        return "", list(answer.json()["ids"])
    except httpx2.HTTPError as error:
        raise DemoFailed(f"the registry did not answer: {error}") from error


def _applied(world: World, child: Child, place: str) -> float:
    """Wait for a sidecar to have a kill in its view, and return when that was."""
    log, seq, _ = place.rsplit("/", 2)

    def at() -> list[float]:
        return [each.at for each in child.all(wire.Applied) if each.has((log, int(seq)))]

    if not world.children.wait(lambda: bool(at()), WITHIN_S):
        raise DemoFailed(f"{child.name} did not hear of the kill within {WITHIN_S:.0f} s")
    return min(at())


def _verdict(world: World, child: Child, badge: Badge, name: str) -> str:
    """Ask a sidecar's guard about a badge; return its code."""

    def said() -> list[str]:
        return [each.code for each in child.all(wire.Decided) if each.badge == name]

    child.tell(wire.Check(name, badge.token))
    if not world.children.wait(lambda: bool(said()), WITHIN_S):
        raise DemoFailed(f"{child.name} did not answer within {WITHIN_S:.0f} s")
    return said()[0]


def _control(world: World) -> Claim:
    badge = world.fabric.issue(OTHER)
    codes = {name: _verdict(world, child, badge, OTHER) for name, child in world.sidecars.items()}
    denied = [f"{name}: {code}" for name, code in codes.items() if code != "OK"]
    return claim("an agent that nobody killed goes on, everywhere", (bool(denied), str(denied)))


def _skipped(why: str) -> Claim:
    return claim(f"Redis was left out: {why}")


# --- the world ---


@contextmanager
def _world() -> Iterator[World]:
    """Build it in a folder that is removed, and take it down whatever happens."""
    with ExitStack() as running:
        place = tempfile.TemporaryDirectory(prefix="rescind-demo-", ignore_cleanup_errors=True)
        folder = Path(running.enter_context(place))
        (folder / "logs").mkdir()
        redis = None if why_no_redis() else EmbeddedRedis(folder / "redis", fabric=FABRIC)
        if redis is not None:
            running.enter_context(redis)
        fabric = running.enter_context(_fabric(folder, redis))
        children = running.enter_context(Children(folder / "logs"))
        http = running.enter_context(
            httpx2.Client(
                base_url=fabric.url,
                headers={"Authorization": f"Bearer {fabric.token}"},
                timeout=WITHIN_S,
                trust_env=False,
            )
        )
        world = World(fabric, children, _start_sidecars(fabric, children), http)
        _wait_fresh(world)
        yield world


@contextmanager
def _fabric(folder: Path, redis: EmbeddedRedis | None) -> Iterator[Fabric]:
    place, log, errors = folder / "home", folder / "logs/up.json", folder / "logs/up.log"
    others = {k: v for k, v in os.environ.items() if not k.startswith("RESCIND_")}
    env = {
        "HOME": str(place),
        "HEARTBEAT_S": "0.2",
        "REGISTRY_LISTEN": "127.0.0.1:0",
        "REGISTRY_GRPC_PORT": "0",
    }
    if redis is not None:
        env["REDIS_URL"] = redis.url_for("subscriber")
        env["PUBLISHER_REDIS_URL"] = redis.url_for("publisher")
    with log.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(
            bound(sys.executable, "-P", "-c", _PROGRAM, "up", "--port", "0", "--serve", "--json"),
            env=others | _settings(env),
            stdout=out,
            stderr=err,
            process_group=0,
        )
    try:
        said = _said(process, log, errors)
        loaded = config.load({"home": str(place)}, env={})
        yield Fabric(
            home=place,
            url=said["url"],
            grpc_url=f"http://127.0.0.1:{said['grpc']}",
            token=Path(said["token_file"]).read_text().strip(),
            redis_url=env.get("REDIS_URL"),
            key=loaded.path(loaded.settings.issuer_key or ""),
        )
    finally:
        end(process)


def _settings(said: Settings) -> Settings:
    return {f"RESCIND_{name}": value for name, value in said.items()}


def _said(process: "subprocess.Popen[bytes]", log: Path, errors: Path) -> dict[str, Any]:
    """Wait for the node to serve, and return what it says of itself."""
    deadline = time.monotonic() + WITHIN_S
    while process.poll() is None and time.monotonic() < deadline:
        for line in log.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                said: dict[str, Any] = msgspec.json.decode(line)
                if said.get("event") == "serving":
                    return said
        time.sleep(_POLL_S)
    lines = errors.read_text("utf-8", "replace").splitlines() or ["it said nothing"]
    raise DemoFailed(f"rescind up --serve did not come up: {lines[-1]}")


def _start_sidecars(fabric: Fabric, children: Children) -> dict[str, Child]:
    found: dict[str, Child] = {}
    for name, settings in CHANNELS.items():
        if name == REDIS and fabric.redis_url is None:
            continue
        common = {"HOME": str(fabric.home), "NAME": _slug(name), "FEED_TOKEN": fabric.token}
        said = _settings(common | settings(fabric))
        found[name] = children.start(_slug(name), "rescind.demo.sidecar", said)
        found[name].tell(wire.Follow())
    return found


def _wait_fresh(world: World) -> None:
    def late() -> list[str]:
        return [name for name, child in world.sidecars.items() if not child.all(wire.Fresh)]

    if not world.children.wait(lambda: not late(), WITHIN_S):
        raise DemoFailed(f"not fresh within {WITHIN_S:.0f} s: {', '.join(late())}")
