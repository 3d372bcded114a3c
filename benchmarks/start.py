"""`start`: how long it takes until something is there.

- import: `python -c "import rescind"` in processes of their own, in turn with `python -c pass`,
  which is the floor that no package can go below.
- the embedded server: from `EmbeddedServer.start()` to its address, a new store each time.
- a subscriber: from `start()` to the first view that holds everything in its local snapshot.
- a guard: from the start of its process to the first deny of a killed badge, by the local snapshot
  alone, with no broker to be reached.
"""

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import msgspec

from benchmarks import first_deny
from benchmarks.material import AGENT, FABRIC, ISSUER, Publisher, Registry, timed
from benchmarks.stats import MS, Row, Spread, progress, spread
from rescind.embedded import EmbeddedServer
from rescind_guard import View
from rescind_protocol import trust
from rescind_protocol.changes import Kill
from rescind_protocol.join import Replica
from rescind_protocol.keys import SigningKey
from rescind_protocol.targets import agent
from rescind_subscriber import Subscriber
from rescind_subscriber.checkpoint import Checkpoint, CheckpointFile
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.memory import positions_of

IMPORT_MS = 80.0
FIRST_DENY_MS = 1000.0
WITHIN_S = 60.0


class Plan(msgspec.Struct, frozen=True):
    """How much is measured."""

    imports: int = 20
    servers: int = 5
    subscribers: int = 3
    revocations: int = 100_000


QUICK = Plan(imports=2, servers=1, subscribers=1, revocations=500)


class Result(msgspec.Struct, frozen=True):
    """Times in milliseconds."""

    import_ms: Spread
    python_ms: Spread
    """`python -c pass`, the floor."""
    import_minus_python_ms: float
    server_ms: Spread
    subscriber_ms: Spread
    first_deny_ms: Spread
    """From the start of a process, everything included."""
    revocations: int
    snapshot_bytes: int
    imports: int

    def rows(self) -> list[Row]:
        """Return what people read."""
        return [
            Row("python -c 'import rescind'", self.import_ms, "ms"),
            Row("  python -c pass (the floor)", self.python_ms, "ms"),
            Row("  the import itself", self.import_minus_python_ms, "ms", IMPORT_MS),
            Row("embedded nats-server, to its address", self.server_ms, "ms"),
            Row(
                f"subscriber, to a view of {self.revocations:,} from its snapshot",
                self.subscriber_ms,
                "ms",
                note=f"{self.snapshot_bytes / 1e6:.1f} MB",
            ),
            Row(
                f"new process, to its first deny of {self.revocations:,}, no broker",
                self.first_deny_ms,
                "ms",
                FIRST_DENY_MS,
            ),
        ]


def run(plan: Plan) -> Result:
    """Measure."""
    progress("start: importing")
    imports, pythons = [], []
    for _ in range(plan.imports):
        pythons.append(timed(lambda: _python("pass")))
        imports.append(timed(lambda: _python("import rescind")))
    progress("start: embedded servers")
    servers = [_server() for _ in range(plan.servers)]
    with tempfile.TemporaryDirectory(prefix="rescind-bench-") as folder:
        publisher, size = _snapshot(Path(folder), plan.revocations)
        progress("start: subscribers")
        subscribers = [_subscriber(Path(folder), publisher, plan) for _ in range(plan.subscribers)]
        progress("start: first denies")
        denies = [_first_deny(Path(folder)) for _ in range(plan.subscribers)]
    progress()
    return Result(
        import_ms=spread(imports, MS),
        python_ms=spread(pythons, MS),
        import_minus_python_ms=(median(imports) - median(pythons)) / MS,
        server_ms=spread(servers, MS),
        subscriber_ms=spread(subscribers, MS),
        first_deny_ms=spread(denies, MS),
        revocations=plan.revocations,
        snapshot_bytes=size,
        imports=plan.imports,
    )


def _python(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


def _server() -> int:
    server = EmbeddedServer()
    try:
        return timed(server.start)
    finally:
        server.stop()


def _snapshot(folder: Path, revocations: int) -> tuple[Publisher, int]:
    publisher, replica = Publisher(), Replica()
    publisher.fill(replica, revocations - 1)
    _leave_victim(folder, publisher, replica)
    file = CheckpointFile(folder, SubscriberConfig().name)
    file.acquire()
    believed = publisher.trust
    kept = Checkpoint(FABRIC, believed.digest, positions_of(replica), read_by=believed.version)
    file.save(kept, replica.table)
    file.release()
    return publisher, file.path.stat().st_size


def _leave_victim(folder: Path, publisher: Publisher, replica: Replica) -> None:
    """Kill one agent more, and leave what `first_deny` needs: its badge, whom to trust."""
    registry, root = Registry(), SigningKey.generate()
    badge = registry.badge(7)
    replica.apply(publisher.unsigned((Kill(target=agent(AGENT.format(7))),)))
    (folder / first_deny.BADGE).write_text(badge)
    (folder / first_deny.JWKS).write_bytes(ISSUER.encode() + b"\n" + registry.document)
    (folder / first_deny.TRUST).write_bytes(trust.sign(publisher.trust_file, root))
    (folder / first_deny.ROOT).write_bytes(root.public)


def _first_deny(folder: Path) -> int:
    begun = time.monotonic_ns()  # one clock for all processes of a host
    command = [sys.executable, "-m", "benchmarks.first_deny", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True)
    denied_ns, code = done.stdout.split()
    if code != b"BADGE_REVOKED":
        raise RuntimeError(f"the killed badge was answered {code.decode()}")
    return int(denied_ns) - begun


def _subscriber(folder: Path, publisher: Publisher, plan: Plan) -> int:
    view = View()
    subscriber = Subscriber(publisher.trust, list, view=view, state_dir=folder)

    def loaded() -> None:
        subscriber.start()
        _wait(lambda: len(view.published.table) >= plan.revocations)

    try:
        return timed(loaded)
    finally:
        subscriber.stop()


def _wait(condition: Callable[[], bool]) -> None:
    deadline, poll = time.monotonic() + WITHIN_S, threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the subscriber did not load its snapshot")
        poll.wait(0.001)
