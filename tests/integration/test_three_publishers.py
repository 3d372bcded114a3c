"""Three publishers on hosts of their own, two brokers: one dies and is retired, one key is stolen.

Real servers, real processes, the real command line.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from rescind.embedded import EmbeddedRedis, EmbeddedServer
from rescind_protocol import snapshots, trust
from rescind_protocol.image import Image
from rescind_protocol.targets import Target, agent
from rescind_protocol.trust import ALL_RIGHTS, Trust, TrustFile
from rescind_publisher.errors import BadRequest, NotPermitted
from rescind_publisher.keyfiles import write_private
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.sources.nats import NatsSource
from rescind_subscriber.sources.redis import RedisSource
from rescind_subscriber.subscriber import Subscriber
from tests.fakes import nats as on_nats
from tests.fakes import redis as on_redis
from tests.fakes.fabric import FABRIC, NOW, ROOT, key_of, trusted
from tests.fakes.host import Host
from tests.fakes.waiting import WITHIN_S, wait_until

NAMES = ("east", "west", "north")
QUICK = SubscriberConfig(heartbeat_s=0.2, retry_s=0.05, retry_most_s=0.5, reports=False)


def x(number: int) -> Target:
    """Return one of many agents."""
    return agent(f"did:web:acme.example:x{number}")


class Fabric:
    """Two brokers, three hosts, two subscribers."""

    def __init__(self, nats: EmbeddedServer, redis: EmbeddedRedis, folder: Path) -> None:
        self.nats, self.redis, self.folder = nats, redis, folder
        file = TrustFile(
            ver=trust.VERSION,
            aud=FABRIC,
            version=1,
            iat=NOW,
            keys=tuple(trusted(key_of(name), name, ALL_RIGHTS) for name in NAMES),
            required=NAMES,
        )
        self.signed = trust.sign(file, ROOT)
        write_private(folder / "root.key", ROOT)
        self.hosts = {name: self._host(name) for name in NAMES}
        self.subscribers: list[Subscriber] = []
        self.stack = ExitStack()
        """What ends with the test."""

    def _host(self, name: str) -> Host:
        host = Host(self.folder / name, name, key_of(name))
        settings = {
            "fabric": FABRIC,
            "nats_url": self.nats.url_for("subscriber"),
            "publisher_nats_url": self.nats.url_for("publisher"),
            "redis_url": self.redis.url_for("subscriber"),
            "publisher_redis_url": self.redis.url_for("publisher"),
        }
        host.settle(self.signed, ROOT, settings)
        return host

    def trust(self) -> Trust:
        """Return the trust that everybody began with."""
        return trust.read(self.signed, root=ROOT.public, fabric=FABRIC)

    def subscriber(self) -> Subscriber:
        """Return one more subscriber of both brokers, not started."""
        made = Subscriber(
            self.trust(),
            lambda: [
                NatsSource(FABRIC, on_nats.options(self.nats, "subscriber")),
                RedisSource(FABRIC, on_redis.options(self.redis, "subscriber")),
            ],
            config=QUICK,
        )
        self.subscribers.append(made)
        return made

    def states(self) -> set[bytes]:
        """Return what the subscribers know, as bytes that no order of arrival changes."""
        return {_bytes(each) for each in self.subscribers}

    def agree(self) -> None:
        """Wait until all are fresh and have the same state, byte for byte."""

        def same() -> bool:
            fresh = all(each.status().state == "LIVE" for each in self.subscribers)
            return fresh and len(self.states()) == 1

        wait_until(same, WITHIN_S)

    def denied(self, *numbers: int) -> list[bool]:
        """Return which of the agents all subscribers deny."""
        tables = [subscriber.view.published.table for subscriber in self.subscribers]
        return [all(t.get(x(number).digest) is not None for t in tables) for number in numbers]


def _bytes(subscriber: Subscriber) -> bytes:
    captured = subscriber.capture()
    if captured is None:
        return b""
    image = captured.image()
    return snapshots.encode(
        Image(
            vector=dict(sorted(image.vector.items())),
            named=tuple(sorted(image.named, key=lambda n: (n.id, n.target))),
            revocations=tuple(sorted(image.revocations, key=lambda r: r.id)),
            floors=tuple(sorted(image.floors, key=lambda f: (f.target, f.log))),
            retired={k: dict(sorted(v.items())) for k, v in sorted(image.retired.items())},
        )
    )


@pytest.fixture
def fabric(nats: EmbeddedServer, redis: EmbeddedRedis, tmp_path: Path) -> Iterator[Fabric]:
    """Give everything, running; every process ends with the test."""
    made = Fabric(nats, redis, tmp_path)
    with made.stack:
        for host in made.hosts.values():
            made.stack.enter_context(host)
        for _ in range(2):
            made.stack.enter_context(made.subscriber())
        yield made


def test_three_publishers_one_dies_and_one_key_is_stolen(fabric: Fabric) -> None:
    """What each of the three has said converges; what is retired or revoked is void everywhere."""
    east, west, north = (fabric.hosts[name] for name in NAMES)

    # 1. each kills; west takes a kill of east back while north kills the same agent
    for number, host in enumerate((east, west, north)):
        assert len(host.switch.kill(x(number), timeout_s=WITHIN_S).durable) == 2
    fabric.agree()
    assert fabric.denied(0, 1, 2) == [True, True, True]
    west.switch.retract(x(0), timeout_s=WITHIN_S)
    north.switch.kill(x(0), timeout_s=WITHIN_S)
    west.switch.retract(x(2), timeout_s=WITHIN_S)
    fabric.agree()
    assert fabric.denied(0, 1, 2) == [True, True, False]  # the kill that nobody named wins

    # 2. nobody is retired who is heard; then north dies, and nothing is proven without it
    with pytest.raises(BadRequest, match="is alive"):
        east.switch.retire("north")
    north.kill()
    aged = fabric.subscribers[0]
    wait_until(lambda: aged.status().state != "LIVE", WITHIN_S)
    said = east.rescind("retire", "north", "--reason", "burnt")
    assert "retired publisher north" in said
    assert "ends at event 2" in said
    fabric.agree()
    assert fabric.denied(0, 1, 2) == [True, True, False]

    # 3. west's key was stolen when it took the kill of x2 back: cut before, by the root
    retraction = _event_of(fabric, west)
    cuts = fabric.folder / "cuts.json"
    log, number = retraction
    cuts.write_text(east.rescind("trust", "cuts", "west", "--before", f"{log}={number}"))
    desk = ("--root", fabric.folder / "root.key", "--file", east.home / "trust.jws")
    east.rescind("trust", "revoke", "west", "--cuts", cuts, *desk)
    said = east.rescind("trust", "publish", east.home / "trust.jws")
    assert "published trust version 2" in said
    fabric.agree()
    assert fabric.denied(0, 1, 2) == [True, True, True]
    assert {s.trust.version for s in fabric.subscribers} == {2}

    # 4. who has the key is told so, and is heard by nobody
    wait_until(lambda: _refuses(west), WITHIN_S)

    # 5. who comes later with the first trust file has all of it from the brokers
    late = fabric.subscriber()
    with late:
        late.wait_fresh(WITHIN_S)
        fabric.agree()

        # 6. north comes back: what it kills now counts, in a new log
        fabric.stack.enter_context(north)
        north.switch.kill(x(7), timeout_s=WITHIN_S)
        wait_until(lambda: fabric.denied(7) == [True], WITHIN_S)
        fabric.agree()


def _event_of(fabric: Fabric, host: Host) -> tuple[str, int]:
    """Return log and number of the last event of a publisher."""
    captured = fabric.subscribers[0].capture()
    assert captured is not None
    return next(
        (log, at.seq)
        for log, at in captured.positions.vector.items()
        if log.startswith(host.key.kid[:11])
    )


def _refuses(host: Host) -> bool:
    try:
        host.switch.kill(x(9), timeout_s=1)
    except NotPermitted as error:
        return "revoked" in str(error)
    return False


def test_a_publisher_taken_for_gone_says_its_own_again(fabric: Fabric) -> None:
    """Cut off while it killed, and retired: back, it gives up no kill that it had accepted."""
    east, north = fabric.hosts["east"], fabric.hosts["north"]
    north.switch.kill(x(1), timeout_s=WITHIN_S)
    fabric.agree()
    north.kill()
    # a kill that no broker has: accepted, in the spool alone
    settings = north.home / "rescind.toml"
    whole = settings.read_text()
    lonely = whole.replace(str(fabric.nats.port), "1").replace(str(fabric.redis.port), "2")
    settings.write_text(lonely)
    with north:
        assert north.switch.kill(x(2), timeout_s=0).pending
    settings.write_text(whole)
    wait_until(lambda: "retired" in _retired(east), WITHIN_S)
    fabric.agree()
    assert fabric.denied(1, 2) == [True, False]
    with north:
        north.switch.kill(x(3), timeout_s=WITHIN_S)
        wait_until(lambda: fabric.denied(1, 2, 3) == [True, True, True], WITHIN_S)
        fabric.agree()


def _retired(host: Host) -> str:
    try:
        return str(msgspec.to_builtins(host.switch.retire("north").targets)) + " retired"
    except BadRequest as error:
        return str(error)
