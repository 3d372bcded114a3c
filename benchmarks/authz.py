"""`authz`: what a check costs a proxy, beside the same server with an empty handler.

Two servers in a process of their own, each on a Unix socket: the sidecar's, and one that answers
200 to everything. A bare client asks both in turn over a connection each, with the same bytes:
heads as Envoy sends them, with a badge that is known, then with one never seen before, whose
signature is verified.
"""

import multiprocessing
import socket
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from benchmarks.material import AUDIENCE, Publisher, Registry
from benchmarks.stats import US, Row, Spread, over_rounds, progress, spread
from rescind import authz
from rescind_guard import Guard, View
from rescind_guard.freshness import SystemClock
from rescind_protocol.join import Replica

SHARE = 0.6
"""Of the empty handler's calls per second."""
KILLS = 100_000
START_WITHIN_S = 60.0


class Plan(msgspec.Struct, frozen=True):
    """How much is measured."""

    rounds: int = 7
    calls: int = 1500
    kills: int = KILLS


QUICK = Plan(rounds=1, calls=20, kills=100)


class Result(msgspec.Struct, frozen=True):
    """Times of one request, in microseconds; medians over the rounds."""

    empty_us: Spread
    known_us: Spread
    new_us: Spread
    known_share: float
    """Calls per second with a known badge, over those of the empty handler."""
    new_share: float
    rounds: int
    calls: int

    def rows(self) -> list[Row]:
        """Return what people read."""
        return [
            Row("ext_authz over a Unix socket, a badge seen before", self.known_us, "µs"),
            Row("  a badge never seen before", self.new_us, "µs"),
            Row("  the same server's empty handler", self.empty_us, "µs"),
            Row("time beside the empty handler's", 1 / self.known_share, "", 1 / SHARE),
            Row("  with a badge never seen before", 1 / self.new_share),
            Row(
                "calls per second, share of the empty handler's",
                f"{self.known_share:.2f}",
                "",
                note=f"new badges {self.new_share:.2f}; {self.rounds} rounds of {self.calls}",
            ),
        ]


def run(plan: Plan) -> Result:
    """Measure."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="rescind-bench-") as folder:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(folder, plan, theirs), daemon=True)
        process.start()
        try:
            if not ours.poll(START_WITHIN_S):
                raise TimeoutError("the servers did not start")
            return _measure(Path(folder), ours.recv(), plan)
        finally:
            ours.send(None)
            process.join(START_WITHIN_S)


def _serve(folder: str, plan: Plan, pipe: Connection) -> None:
    clock, registry, view, replica = SystemClock(), Registry(), View(), Replica()
    Publisher().fill(replica, plan.kills)
    view.claim()
    view.swap(replica.table)
    guard = Guard(view, registry.issuers, audience=AUDIENCE)
    badges = [registry.badge(number) for number in range(plan.calls * plan.rounds + 1)]
    view.freshen(clock.wall(), clock.boot())
    with (
        authz.Server(authz.Authz(guard), authz.listen("unix:a", folder=Path(folder))),
        authz.Server(_empty, authz.listen("unix:e", folder=Path(folder))),
    ):
        pipe.send(badges)
        pipe.recv()


async def _empty(_: Any, __: Any, send: Callable[..., Any]) -> None:
    head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
    await send(head)
    await send({"type": "http.response.body", "body": b""})


def _measure(folder: Path, badges: list[str], plan: Plan) -> Result:
    known, new = _request(badges[0]), iter(badges[1:])
    kept: dict[str, list[Spread]] = {"empty": [], "known": [], "new": []}
    with _connect(folder / "a") as ours, _connect(folder / "e") as empty:
        for number in range(plan.rounds):
            progress(f"authz: round {number + 1} of {plan.rounds}")
            samples: dict[str, list[int]] = {name: [] for name in kept}
            for _ in range(plan.calls):  # in turn: a busy neighbour disturbs all three alike
                samples["empty"].append(_ask(empty, known))
                samples["known"].append(_ask(ours, known))
                samples["new"].append(_ask(ours, _request(next(new))))
            for name, taken in samples.items():
                kept[name].append(spread(taken, US))
    progress()
    pairs = zip(kept["empty"], kept["known"], kept["new"], strict=True)
    shares = [(empty.p50 / seen.p50, empty.p50 / unseen.p50) for empty, seen, unseen in pairs]
    return Result(
        empty_us=over_rounds(kept["empty"]),
        known_us=over_rounds(kept["known"]),
        new_us=over_rounds(kept["new"]),
        known_share=median(share for share, _ in shares),
        new_share=median(share for _, share in shares),
        rounds=plan.rounds,
        calls=plan.calls,
    )


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(str(path))
    return connection


def _request(badge: str) -> bytes:
    return (
        "GET /envoy/orders/7 HTTP/1.1\r\nhost: orders.acme.example\r\ncontent-length: 0\r\n"
        f"x-capiscio-badge: {badge}\r\n\r\n"
    ).encode()


def _ask(connection: socket.socket, request: bytes) -> int:
    begun = time.perf_counter_ns()
    connection.sendall(request)
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += connection.recv(65_536)
    taken = time.perf_counter_ns() - begun
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"the answer was {answer[:80]!r}")
    return taken
