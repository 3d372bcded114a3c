"""`bundle`: what a bundle of many revocations costs, and how soon a kill is in a client's hands.

The node's parts are whole: the reconcile step, the hub, the bundle, HTTP on a real socket. The
client is a process of its own that long-polls for deltas as an OPA does, takes each archive apart
and parses it. From the signed event in the node's hands to the parsed kill in the client's; the
broker before it and a guard behind it are measured by `kill`.
"""

import asyncio
import gzip
import http.client
import io
import json
import multiprocessing
import socket
import tarfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from typing import Any

import msgspec
import uvicorn
from litestar import Litestar

from benchmarks.material import FABRIC, PUBLISHER, Publisher, badge_kill
from benchmarks.stats import MS, Row, Spread, progress, spread
from rescind_guard.freshness import SystemClock
from rescind_guard.view import View
from rescind_registry.bundle import bodies, signed
from rescind_registry.bundle.bundles import Bundles
from rescind_registry.bundle.document import Document
from rescind_registry.bundle.routes import routes
from rescind_registry.feeds.hub import Hub
from rescind_subscriber.capture import Captured
from rescind_subscriber.memory import positions_of
from rescind_subscriber.reconcile import Reconciler

PATH = f"/v1/bundles/{FABRIC}"
PREFER = "modes=snapshot,delta;wait=60"
WAIT_S = 30.0
BUILD_LIMIT_MS = 1000.0
NOT_MODIFIED_LIMIT_MS = 5.0
KILL_LIMIT_MS = 50.0


class Plan(msgspec.Struct, frozen=True):
    """How much is measured."""

    revocations: int = 100_000
    builds: int = 5
    polls: int = 300
    kills: int = 200


QUICK = Plan(revocations=500, builds=2, polls=10, kills=5)


class Result(msgspec.Struct, frozen=True):
    """What it costs."""

    revocations: int
    archive_bytes: int
    first_ms: float
    """From the followed state to the document that later ones are worked out from: at a start."""
    build_ms: Spread
    signed_build_ms: float
    not_modified_ms: Spread
    kill_ms: Spread
    delta_bytes: int
    samples: int

    def rows(self) -> list[Row]:
        """Return what people read."""
        n = f"{self.revocations:,} revocations"
        return [
            Row(f"archive of {n}", self.build_ms, "ms", BUILD_LIMIT_MS),
            Row(f"  it has {self.archive_bytes / 1e6:.1f} MB", ""),
            Row("  the node's first look at them", self.first_ms, "ms"),
            Row("  signed form", self.signed_build_ms, "ms"),
            Row("not modified", self.not_modified_ms, "ms", NOT_MODIFIED_LIMIT_MS),
            Row("kill to a client that long-polls deltas", self.kill_ms, "ms", KILL_LIMIT_MS),
            Row(f"  a delta has {self.delta_bytes} bytes", ""),
        ]


class Node:
    """The parts of a node that follow, here fed by hand."""

    def __init__(self, publisher: Publisher) -> None:
        self.fresh = True
        self.hub = Hub()
        self._view = View()
        self._view.claim()
        self.at = Reconciler(publisher.trust, self._view, SystemClock())
        self.at.relay = self.hub
        author = signed.Author(publisher.key, PUBLISHER, FABRIC, time.time)
        self.bundles = Bundles(FABRIC, self.hub, self, author=author)

    def capture(self, *, proven: bool = True) -> Captured | None:
        """Return what is known; nothing else writes meanwhile."""
        del proven
        return Captured(positions_of(self.at.replica), self.at.replica.table, {}, 1)


def run(plan: Plan) -> Result:
    """Measure."""
    publisher = Publisher()
    node = Node(publisher)
    publisher.fill(node.at.replica, plan.revocations)
    progress("building archives")
    document = Document(FABRIC)
    first, begun = node.capture(), time.perf_counter_ns()
    assert first is not None
    document.advance(first.table, first.positions)
    first_ms = (time.perf_counter_ns() - begun) / MS
    builds, size = _builds(document, plan.builds)
    result = asyncio.run(_serve(plan, publisher, node))
    progress()
    return msgspec.structs.replace(
        result, first_ms=first_ms, build_ms=spread(builds, MS), archive_bytes=size
    )


def _builds(document: Document, times: int) -> tuple[list[int], int]:
    took, size = [], 0
    for _ in range(times):
        begun = time.perf_counter_ns()
        size = len(bodies.opa_of(document.capture(), None).raw)
        took.append(time.perf_counter_ns() - begun)
    return took, size


async def _serve(plan: Plan, publisher: Publisher, node: Node) -> Result:
    await node.hub.open()
    node.at.publish_replica()
    await node.bundles.open()
    try:
        async with _listening(node) as port:
            try:
                return await _measure(plan, publisher, node, port)
            finally:
                await node.bundles.close()  # whoever waits is answered, and the server can end
    finally:
        await node.hub.close()


@asynccontextmanager
async def _listening(node: Node) -> AsyncIterator[int]:
    # With the protocol named, or asyncio leaves Nagle's delay on: 40 ms an answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    app = Litestar(routes(FABRIC, node.bundles), logging_config=None)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task
        listener.close()


async def _measure(plan: Plan, publisher: Publisher, node: Node, port: int) -> Result:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    work = context.Process(target=_client, args=(theirs, port, plan.polls), daemon=True)
    work.start()
    try:
        polls = list(await asyncio.to_thread(_receive, ours))
        progress("killing")
        kills, sizes = [], []
        for _ in range(plan.kills):
            await asyncio.sleep(0.02)  # until the client waits again
            kill = badge_kill()
            raw = publisher.signed((kill,))
            said = time.monotonic_ns()
            node.at.event(raw)
            jti, at, size = await asyncio.to_thread(_receive, ours)
            assert jti == kill.target.id
            kills.append(at - said)
            sizes.append(size)
        signed_ms = await asyncio.to_thread(_signed_ms, port)
    finally:
        work.terminate()
        work.join()
    return Result(
        revocations=plan.revocations,
        archive_bytes=0,
        first_ms=0.0,
        build_ms=Spread(0.0, 0.0),
        signed_build_ms=signed_ms,
        not_modified_ms=spread(polls, MS),
        kill_ms=spread(kills, MS),
        delta_bytes=max(sizes),
        samples=len(kills),
    )


def _receive(ours: Connection) -> Any:
    if not ours.poll(WAIT_S):
        raise TimeoutError("the client is silent")
    return ours.recv()


def _signed_ms(port: int) -> float:
    """Fetch the signed form for the first time, when it has to be made."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    begun = time.perf_counter_ns()
    connection.request("GET", PATH, headers={"Accept": "application/vnd.rescind.bundle"})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == http.client.OK
    connection.close()
    return (time.perf_counter_ns() - begun) / MS


def _client(theirs: Connection, port: int, polls: int) -> None:
    """Be an OPA: the whole, then `polls` times not modified, then whatever comes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2 * WAIT_S)
    took = []
    while True:
        answer, raw = _get(connection, {"Prefer": "modes=snapshot,delta"})
        if answer.status == http.client.OK:
            break
        time.sleep(0.1)  # the node takes its first look
    etag = answer.headers["ETag"]
    for _ in range(polls):
        begun = time.perf_counter_ns()
        answer, raw = _get(connection, {"Prefer": "modes=snapshot,delta", "If-None-Match": etag})
        took.append(time.perf_counter_ns() - begun)
        assert answer.status == http.client.NOT_MODIFIED
    theirs.send(took)
    while True:
        answer, raw = _get(connection, {"Prefer": PREFER, "If-None-Match": etag})
        if answer.status == http.client.OK:
            etag = answer.headers["ETag"]
            theirs.send((_killed(raw), time.monotonic_ns(), len(raw)))


def _get(
    connection: http.client.HTTPConnection, headers: dict[str, str]
) -> tuple[http.client.HTTPResponse, bytes]:
    connection.request("GET", PATH, headers=headers)
    answer = connection.getresponse()
    return answer, answer.read()


def _killed(raw: bytes) -> str:
    """Return the badge that a delta kills."""
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(raw))) as tar:
        member = tar.extractfile("patch.json")
        assert member is not None
        operations = json.load(member)["data"]
    paths = [str(each["path"]) for each in operations]
    return next(path for path in paths if "/badge/" in path).rpartition("/")[2]
