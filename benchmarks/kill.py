"""`kill`: from the call of `kill()` to the swap of the view in every subscriber, and its floor.

Each sample is the time from just before the call to one subscriber's `on_applied`, which comes
after it has verified the event itself, joined it in and swapped its view. The floor is measured on
the same nodes, message by message in turn with the kills: from just before one committed write (the
spool's SQLite settings) + one signature + one bare NATS publish of as many bytes, to one receiver's
bare verification. As many receivers, connections, event loops and processes as there are
subscribers; a real nats-server with the deployed configuration, on this machine.
"""

import asyncio
import contextlib
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import msgspec
import nats
from nacl.bindings import crypto_sign, crypto_sign_keypair
from nats.aio.client import Client

from benchmarks.material import FABRIC, PUBLISHER, Publisher, badge_kill
from benchmarks.stats import MS, Row, Spread, progress, spread
from benchmarks.workers import FLOOR_SUBJECT, Setup, Workers, running
from rescind.embedded import EmbeddedServer
from rescind_protocol.subjects import logs
from rescind_publisher import KillSwitch, PublisherConfig
from rescind_publisher import Publisher as Engine
from rescind_publisher.sinks.nats import NatsSink
from rescind_subscriber.nats_link import NatsOptions

RATIO = 1.3
WARM_UP = 5
PAUSE_S = 0.002
"""Before each message of either kind, so that none of them begins on what another has warmed up."""
SIGNATURE_BYTES = 64


class Plan(msgspec.Struct, frozen=True):
    """How much is measured."""

    subscribers: int
    rounds: int = 5
    kills: int = 60
    """In each round, with as many messages of the floor in between."""


def plan(subscribers: int, *, quick: bool = False) -> Plan:
    """Return a plan of a few seconds."""
    if quick:
        return Plan(subscribers, rounds=2, kills=4)
    return Plan(subscribers, kills=60 if subscribers <= 10 else 30)


class Result(msgspec.Struct, frozen=True):
    """Times in milliseconds, over every subscriber's time of every kill."""

    subscribers: int
    p50_ms: float
    p99_ms: float
    floor_p50_ms: float
    floor_p99_ms: float
    ratio_p50: float
    """Median over the rounds of the ratio of their medians."""
    last_p50_ms: float
    """Until the last subscriber has applied it."""
    floor_last_p50_ms: float
    ratio_last_p50: float
    receipt_p50_ms: float
    """Until `kill()` returns: stored by the broker and read back."""
    event_bytes: int
    rounds: int
    samples: int
    """Kills times subscribers; the floor has as many."""

    def rows(self) -> list[Row]:
        """Return what people read."""
        n = self.subscribers
        who = "1 subscriber" if n == 1 else f"each of {n} subscribers"
        return [
            Row(f"kill() to applied, {who}", f"{_ms(self.p50_ms)}  (p99 {_ms(self.p99_ms)})", "ms"),
            Row(
                "  its floor: commit + sign + publish + verify",
                f"{_ms(self.floor_p50_ms)}  (p99 {_ms(self.floor_p99_ms)})",
                "ms",
            ),
            Row("  ratio", self.ratio_p50, "", RATIO),
            Row(
                "  until the last one has it, and its floor",
                f"{_ms(self.last_p50_ms)} / {_ms(self.floor_last_p50_ms)}",
                "ms",
                note=f"ratio {self.ratio_last_p50:.2f}",
            ),
            Row("  until kill() returns, read back", self.receipt_p50_ms, "ms"),
            Row(
                f"  {self.rounds} rounds, {self.samples:,} samples of each",
                f"event {self.event_bytes} B",
            ),
        ]


def _ms(value: float) -> str:
    return f"{value:.2f}"


class Sample(msgspec.Struct, frozen=True):
    """Nanoseconds from the start of one message to each receiver, and to the sender's return."""

    each: list[int]
    returned: int


def run(plan: Plan) -> Result:
    """Measure."""
    material = Publisher()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rescind-bench-")))
        server = stack.enter_context(EmbeddedServer(folder / "store"))
        public, secret = crypto_sign_keypair()
        engine = engine_of(material, folder / "spool", server.url_for("publisher"))
        switch = stack.enter_context(KillSwitch(engine))
        progress(f"kill: starting 2 x {plan.subscribers} receivers")
        setup = Setup(
            "subscribers",
            plan.subscribers,
            server.url_for("subscriber"),
            material.trust_file,
            public,
        )
        subscribers = stack.enter_context(running(setup))
        receivers = stack.enter_context(running(msgspec.structs.replace(setup, kind="floor")))
        floor = stack.enter_context(Floor.opened(folder, server.url_for("publisher"), secret))
        return _measure(plan, switch, subscribers, floor, receivers)


def engine_of(material: Publisher, spool: Path, url: str) -> Engine:
    """Return the publisher of a benchmark, on a spool of its own."""
    config = PublisherConfig(fabric=FABRIC, publisher=PUBLISHER, spool=spool)
    sink = NatsSink(FABRIC, NatsOptions(url=url, inbox_prefix="_INBOX_pub"))
    return Engine(config, key=material.key, trust=material.trust, sinks=[sink])


def _measure(
    plan: Plan, switch: KillSwitch, subscribers: Workers, floor: "Floor", receivers: Workers
) -> Result:
    for _ in range(WARM_UP):
        _kill(switch, subscribers)
        floor.say(receivers)
    rounds = []
    for number in range(plan.rounds):
        progress(f"kill: {plan.subscribers} subscribers, round {number + 1} of {plan.rounds}")
        kills, bare = [], []
        for _ in range(plan.kills):
            kills.append(_kill(switch, subscribers))
            bare.append(floor.say(receivers))
        rounds.append((kills, bare))
    progress()
    return _result(plan, rounds, floor.size)


def _kill(switch: KillSwitch, subscribers: Workers) -> Sample:
    target = badge_kill().target
    time.sleep(PAUSE_S)
    begun = time.monotonic_ns()
    receipt = switch.kill(target, reason="key-compromise", reason_admin="INC-412")
    returned = time.monotonic_ns() - begun
    assert not receipt.pending, str(receipt)
    return Sample([at - begun for at in subscribers.times()], returned)


class Floor:
    """The least that can be done: commit, sign, publish; as many bytes as a kill has."""

    def __init__(self, folder: Path, url: str, secret: bytes) -> None:
        self._secret = secret
        self.size = 0
        """Of the last kill that was heard; what is said has the same."""
        self._loop = asyncio.new_event_loop()
        self._client = self._loop.run_until_complete(self._connect(url))
        self._db = sqlite3.connect(folder / "floor.db", isolation_level=None)
        for setting in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL"):
            self._db.execute(f"PRAGMA {setting}")
        self._db.execute("CREATE TABLE events (place INTEGER PRIMARY KEY, raw BLOB NOT NULL)")

    @classmethod
    @contextlib.contextmanager
    def opened(cls, folder: Path, url: str, secret: bytes) -> Iterator["Floor"]:
        """Open, and close at the end."""
        floor = cls(folder, url, secret)
        try:
            yield floor
        finally:
            floor.close()

    async def _connect(self, url: str) -> Client:
        client = await nats.connect(url, inbox_prefix=b"_INBOX_pub")

        async def heard(message: object) -> None:
            self.size = len(message.data)  # type: ignore[attr-defined]

        await client.subscribe(logs(FABRIC), cb=heard)
        await client.flush()
        return client

    def say(self, receivers: Workers) -> Sample:
        """Send one message to all receivers."""
        time.sleep(PAUSE_S)
        message = time.monotonic_ns().to_bytes(8, "big") * (self.size // 8 + 1)
        begun = self._loop.run_until_complete(self._say(message[: self.size - SIGNATURE_BYTES]))
        returned = time.monotonic_ns() - begun
        sample = Sample([at - begun for at in receivers.times()], returned)
        self._loop.run_until_complete(self._client.flush())  # hear the kills so far: their size
        return sample

    async def _say(self, message: bytes) -> int:
        begun = time.monotonic_ns()
        signed = crypto_sign(message, self._secret)
        self._db.execute("INSERT INTO events (raw) VALUES (?)", (signed,))
        await self._client.publish(FLOOR_SUBJECT, signed)
        await self._client.flush()
        return begun

    def close(self) -> None:
        """Close the connection and the file."""
        self._loop.run_until_complete(self._client.close())
        self._loop.close()
        self._db.close()


def _result(
    plan: Plan, rounds: list[tuple[list[Sample], list[Sample]]], event_bytes: int
) -> Result:
    kills = [sample for round_, _ in rounds for sample in round_]
    bare = [sample for _, round_ in rounds for sample in round_]
    whole, floor = _spread_each(kills), _spread_each(bare)
    return Result(
        subscribers=plan.subscribers,
        p50_ms=whole.p50,
        p99_ms=whole.p99,
        floor_p50_ms=floor.p50,
        floor_p99_ms=floor.p99,
        ratio_p50=median(_spread_each(k).p50 / _spread_each(b).p50 for k, b in rounds),
        last_p50_ms=_last(kills),
        floor_last_p50_ms=_last(bare),
        ratio_last_p50=median(_last(k) / _last(b) for k, b in rounds),
        receipt_p50_ms=spread([k.returned for k in kills], MS).p50,
        event_bytes=event_bytes,
        rounds=plan.rounds,
        samples=sum(len(k.each) for k in kills),
    )


def _spread_each(samples: list[Sample]) -> Spread:
    return spread([at for sample in samples for at in sample.each], MS)


def _last(samples: list[Sample]) -> float:
    return spread([max(sample.each) for sample in samples], MS).p50
