"""`channels`: from `POST /v1/kills` to a guard's deny, through every channel a fleet can follow.

All of it is the product: `rescind up` with the embedded nats-server, a Redis beside it, `rescind
serve`, and for each channel a sidecar in a process of its own. The deny is a whole check of a
badge, made as soon as the sidecar's view has changed.
"""

import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from benchmarks.stats import MS, Row, Spread, progress, spread
from rescind.embedded import EmbeddedRedis

PUSH_LIMIT_MS = 20.0
READY_WITHIN_S = 60.0
PAUSE_S = 0.05
PUSHED = ("nats", "redis", "sse", "grpc")
"""Channels whose median has a limit."""
POLLED = "bundle-poll"
POLL_LIMIT_MS = 500.0
"""Beyond the interval, at the 99th percentile."""
HEARTBEAT_S = "0.2"


class Plan(msgspec.Struct, frozen=True):
    """How much is measured."""

    kills: int = 200
    polled_kills: int = 40
    """Of the channel that asks from time to time: each takes half an interval."""
    every_s: float = 1.0
    """Its interval; `bundle_every_s` is 10 by default."""
    warm_up: int = 5


QUICK = Plan(kills=3, polled_kills=3, every_s=0.2, warm_up=1)


class Result(msgspec.Struct, frozen=True):
    """By channel, from the request to the deny."""

    every_s: float
    deny_ms: dict[str, Spread]
    answer_ms: Spread
    """Until the answer to `POST /v1/kills`, which says that the kill was read back."""
    samples: dict[str, int]

    def rows(self) -> list[Row]:
        """Return what people read."""
        limits = dict.fromkeys(PUSHED, PUSH_LIMIT_MS)
        most_ms = self.every_s * 1000 + POLL_LIMIT_MS
        return [
            *(
                Row(f"POST /v1/kills to a deny by {name}", found, "ms", limits.get(name))
                for name, found in self.deny_ms.items()
            ),
            Row(f"  its p99, every {self.every_s:g} s", self.deny_ms[POLLED].p99, "ms", most_ms),
            Row("  to the answer, read back", self.answer_ms, "ms"),
        ]


class World(msgspec.Struct, frozen=True):
    """What runs, and how to reach it."""

    home: str
    url: str
    grpc_url: str
    token: str
    redis_url: str
    every_s: float


CHANNELS: dict[str, Callable[[World], dict[str, Any]]] = {
    "nats": lambda _: {"sources": ("nats",)},
    "redis": lambda world: {"sources": ("redis",), "redis_url": world.redis_url},
    "sse": lambda world: {"sources": ("sse",), "feed_url": world.url},
    "grpc": lambda world: {"sources": ("grpc",), "feed_grpc_url": world.grpc_url},
    "bundle-long-poll": lambda world: {
        "sources": ("bundle",),
        "feed_url": world.url,
        "bundle_long_poll": True,
    },
    POLLED: lambda world: {
        "sources": ("bundle",),
        "feed_url": world.url,
        "bundle_every_s": world.every_s,
    },
}
"""Channel to the settings of a sidecar that follows by nothing else."""


def run(plan: Plan) -> Result:
    """Measure one channel after the other, in one world."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        world = stack.enter_context(_world(folder, plan))
        client = stack.enter_context(
            httpx2.Client(base_url=world.url, headers={"Authorization": f"Bearer {world.token}"})
        )
        denied: dict[str, list[int]] = {}
        answered: list[int] = []
        for name in CHANNELS:
            progress(f"channels: {name}")
            rounds = plan.warm_up + (plan.polled_kills if name == POLLED else plan.kills)
            # Polled: anywhere in the interval, not always right behind the poll before.
            pause_s = plan.every_s if name == POLLED else PAUSE_S
            with _sidecar(name, world) as pipe:
                times = [_kill(client, pipe, f"{name}-{n}", pause_s) for n in range(rounds)]
            denied[name] = [deny for deny, _ in times[plan.warm_up :]]
            answered += [answer for _, answer in times[plan.warm_up :]]
        progress()
    return Result(
        every_s=plan.every_s,
        deny_ms={name: spread(times, MS) for name, times in denied.items()},
        answer_ms=spread(answered, MS),
        samples={name: len(times) for name, times in denied.items()},
    )


def _kill(client: httpx2.Client, pipe: Connection, agent: str, pause_s: float) -> tuple[int, int]:
    """Kill an agent; return when its badge was denied and when the request was answered."""
    did = f"did:web:acme.example:agents:{agent}"
    pipe.send(did)
    assert pipe.recv() == "allowed"
    time.sleep(random.uniform(PAUSE_S, max(PAUSE_S, pause_s)))  # noqa: S311 - a phase
    begun = time.monotonic_ns()
    answer = client.post("/v1/kills", json={"targets": [{"kind": "agent", "id": did}]})
    answered = time.monotonic_ns() - begun
    assert answer.status_code == 200, answer.text
    if not pipe.poll(READY_WITHIN_S):
        raise TimeoutError(f"{agent} was not denied within {READY_WITHIN_S:.0f} s")
    return pipe.recv() - begun, answered


# --- the sidecar's process ---


@contextmanager
def _sidecar(name: str, world: World) -> Iterator[Connection]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    settings = {"home": world.home, "name": f"by-{name}", "feed_token": world.token}
    process = context.Process(
        target=_guard, args=(theirs, settings | CHANNELS[name](world)), daemon=True
    )
    process.start()
    theirs.close()
    try:
        if not ours.poll(READY_WITHIN_S) or ours.recv() != "ready":
            raise TimeoutError(f"the sidecar by {name} is not fresh in time")
        yield ours
    finally:
        ours.close()
        process.join(10)
        process.kill()


def _guard(pipe: Connection, settings: dict[str, Any]) -> None:
    """Follow, and check the badge of the agent that is named, as soon as anything is applied."""
    from rescind import Sidecar  # noqa: PLC0415 - in the process that needs it
    from rescind.demo.issuer import Issuer  # noqa: PLC0415
    from rescind.home import LOCAL_ISSUER  # noqa: PLC0415
    from rescind_publisher.keyfiles import read_private  # noqa: PLC0415

    sidecar, badge = Sidecar(**settings), ""

    def look(_: object) -> None:
        if badge and sidecar.guard.check(badge).code == "BADGE_REVOKED":
            pipe.send(time.monotonic_ns())

    sidecar.subscriber.on_applied.append(look)
    key = read_private(sidecar.loaded.path(sidecar.loaded.settings.issuer_key or ""))
    with sidecar:
        sidecar.subscriber.wait_fresh(READY_WITHIN_S)
        pipe.send("ready")
        while (did := _asked(pipe)) is not None:
            issued = Issuer(key, LOCAL_ISSUER, did).issue().token
            assert sidecar.guard.check(issued)
            badge = issued
            pipe.send("allowed")


def _asked(pipe: Connection) -> str | None:
    try:
        return str(pipe.recv())
    except EOFError:
        return None


# --- the world ---


@contextmanager
def _world(folder: Path, plan: Plan) -> Iterator[World]:
    with ExitStack() as stack:
        home, redis_folder = folder / "home", folder / "redis"
        redis_folder.mkdir()
        redis = stack.enter_context(EmbeddedRedis(redis_folder, fabric="default"))
        env = {
            "RESCIND_HEARTBEAT_S": HEARTBEAT_S,
            "RESCIND_REDIS_URL": redis.url_for("subscriber"),
            "RESCIND_PUBLISHER_REDIS_URL": redis.url_for("publisher"),
            "RESCIND_REGISTRY_GRPC_PORT": "0",
        }
        stack.enter_context(command(home, env, "up", "--port", "0", until="state"))
        said = stack.enter_context(
            command(home, env, "serve", "--listen", "127.0.0.1:0", until="serving")
        )
        yield World(
            home=str(home),
            url=said["url"],
            grpc_url=f"http://127.0.0.1:{said['grpc']}",
            token=Path(said["token_file"]).read_text().strip(),
            redis_url=redis.url_for("subscriber"),
            every_s=plan.every_s,
        )


@contextmanager
def command(home: Path, env: dict[str, str], *words: str, until: str) -> Iterator[dict[str, Any]]:
    """Run a command of ours until the end; give what it said of that kind."""
    script = str(Path(sys.executable).with_name("rescind"))
    process = subprocess.Popen(
        [script, *words, "--json"],
        env={**os.environ, **env, "RESCIND_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said = json.loads(line)
            if said.get("event") == until and said.get("state", "LIVE") == "LIVE":
                break
        else:
            raise RuntimeError(f"rescind {words[0]} ended with {process.wait()}")
        yield said
    finally:
        process.terminate()
        process.wait(30)
