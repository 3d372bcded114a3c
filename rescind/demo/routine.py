"""A suspension, from the command to the last badge's end, with no push channel involved.

A real nats-server for the log, a publisher, a registry that answers over HTTP, two agents with
keepers. The guard follows nothing: it knows the registry's keys and the time, no more.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from rescind import config, home
from rescind.demo.children import DemoFailed
from rescind.demo.report import Claim, claim
from rescind.embedded.server import EmbeddedServer
from rescind.publishing import LocalPublisher
from rescind_guard.freshness import SystemClock
from rescind_guard.guard import Guard
from rescind_guard.issuers import Issuers
from rescind_protocol.changes import Effect
from rescind_protocol.keys import SigningKey
from rescind_protocol.limits import SKEW_S
from rescind_protocol.targets import agent
from rescind_publisher.switch import KillSwitch
from rescind_registry import agents
from rescind_registry.app import build
from rescind_registry.config import RegistryConfig
from rescind_registry.node import Node
from rescind_registry.serving import Server, listen
from rescind_subscriber.badge_keeper import BadgeKeeper
from rescind_subscriber.errors import BadgeRefused, BadgeUnavailable
from rescind_subscriber.registry_client import RegistryClient

AGENT = "did:web:acme.example:agents:x7"
OTHER = "did:web:acme.example:agents:y8"
TTL_S = 6
"""In earnest 300 s; here nobody should have to wait."""
AHEAD_S = SKEW_S
"""The guard's clock is as far ahead as clocks may differ: a badge ends there at its `exp`, and not
a minute later, which is what guards grant to clocks that are behind."""
RENEWALS = 2
POLL_S = 0.05
WITHIN_S = 60.0

Seen = Callable[[str, list[Claim]], None]


class _AheadClock(SystemClock):
    """A clock that is ahead by what is allowed."""

    def wall(self) -> float:
        """Unix seconds."""
        return super().wall() + AHEAD_S


class World(msgspec.Struct, frozen=True):
    """All that plays."""

    switch: KillSwitch
    node: Node
    guard: Guard
    keys: dict[str, SigningKey]

    def keeper(self, did: str) -> BadgeKeeper:
        """Return the keeper of an agent's badge."""
        clock, config = SystemClock(), self.node.config
        client = RegistryClient(
            config.origin, did, self.keys[did], issuer=config.iss, ttl_s=TTL_S, clock=clock
        )
        return BadgeKeeper(client, clock=clock)


@contextmanager
def world() -> Iterator[World]:
    """Build it in a folder that is removed, and take it down whatever happens."""
    with ExitStack() as running:
        place = tempfile.TemporaryDirectory(prefix="rescind-demo-", ignore_cleanup_errors=True)
        folder = Path(running.enter_context(place))
        server = running.enter_context(EmbeddedServer(folder / home.NATS))
        now = int(time.time())
        home.create(folder, fabric="demo", publisher="soc", port=server.port, now=now)
        publisher = LocalPublisher(config.load(_addresses(folder, server), env={}))
        switch = running.enter_context(KillSwitch(publisher))
        publisher.subscriber.wait_fresh(WITHIN_S)
        node = _start_registry(folder, publisher, running)
        keys = {did: SigningKey.generate() for did in (AGENT, OTHER)}
        for did, key in keys.items():
            node.agents.enrol(
                agents.make(did, public=key.public, domain=None, level=2, now=time.time())
            )
        jwks = msgspec.json.encode({"keys": node.keyring.jwks()})
        issuers = Issuers.from_jwks({node.config.iss: jwks})
        guard = Guard(None, issuers, revocation="skip", clock=_AheadClock())
        yield World(switch, node, guard, keys)


def _addresses(folder: Path, server: EmbeddedServer) -> dict[str, object]:
    users = {"nats_url": "subscriber", "publisher_nats_url": "publisher"}
    users |= {"system_nats_url": "system"}
    urls = {name: server.url_for(user) for name, user in users.items()}
    return {"home": str(folder), "heartbeat_s": 0.2, **urls}


def _start_registry(folder: Path, publisher: LocalPublisher, running: ExitStack) -> Node:
    said = RegistryConfig(
        issuer=home.LOCAL_ISSUER, folder=folder / home.REGISTRY, port=0, min_ttl_s=1, ttl_s=TTL_S
    )
    listener = running.enter_context(listen(said))
    said = msgspec.structs.replace(said, port=listener.getsockname()[1])
    node = Node.make(said, followed=publisher.subscriber, engine=publisher)
    running.callback(node.close)
    node.keyring.add(SigningKey.generate(), since=0)
    running.enter_context(Server(build(node), said, listener))
    return node


def play(seen: Seen) -> None:
    """Play the acts; tell of each as it ends. Raises what the parts of the world raise."""
    with world() as made, made.keeper(AGENT) as keeper, made.keeper(OTHER) as control:
        seen(f"A keeper renews badges of {TTL_S} s", _renewals(made, keeper))
        last = keeper.badge()
        receipt = made.switch.kill(
            agent(AGENT), effect=Effect.ISSUANCE, reason="review", timeout_s=WITHIN_S
        )
        said = claim("said once, durable on NATS", (receipt.durable != ("nats",), str(receipt)))
        seen("The agent is suspended", [said, *_refused(made, keeper, last)])
        seen("Its last badge", [_expired(made, last), _goes_on(made, control)])
        made.switch.reinstate(agent(AGENT))
        seen("The agent is reinstated", [_back(made)])


def _renewals(made: World, keeper: BadgeKeeper) -> list[Claim]:
    badges, codes = set[str](), set[str]()

    def renewed() -> bool:
        badges.add(token := keeper.badge())
        codes.add(str(made.guard.check(token).code))
        return len(badges) > RENEWALS

    _wait(renewed)
    others = sorted(codes - {"OK"})
    return [
        claim(f"{len(badges)} badges, each a new one", (len(badges) <= RENEWALS, "not renewed")),
        claim("every call allowed", (bool(others), ", ".join(others))),
    ]


def _refused(made: World, keeper: BadgeKeeper, last: str) -> list[Claim]:
    still = str(made.guard.check(last).code)
    _wait(lambda: keeper.stopped)
    try:
        keeper.badge()
        dropped = "it still hands a badge out"
    except BadgeRefused as refused:
        dropped = "" if "403" in str(refused) else str(refused)
    return [
        claim("guards know nothing of it: the last badge still works", (still != "OK", still)),
        claim(
            "the next badge is refused with 403; the keeper stops and drops the last",
            (bool(dropped), dropped),
        ),
    ]


def _expired(made: World, last: str) -> Claim:
    began = time.monotonic()
    _wait(lambda: str(made.guard.check(last).code) != "OK")
    code, took = str(made.guard.check(last).code), time.monotonic() - began
    return claim(
        f"a copy of it dies by itself {took:.1f} s later: BADGE_EXPIRED",
        (code != "BADGE_EXPIRED", code),
        (took > TTL_S, f"after {took:.1f} s, and it lives {TTL_S} s"),
    )


def _goes_on(made: World, control: BadgeKeeper) -> Claim:
    """The control: an agent beside it that nobody suspended."""
    try:
        code = str(made.guard.check(control.badge()).code)
    except (BadgeRefused, BadgeUnavailable) as error:
        code = str(error)
    return claim("an agent that was not suspended goes on", (code != "OK", code))


def _back(made: World) -> Claim:
    with made.keeper(AGENT) as keeper:
        _wait(lambda: not keeper.stopped)
        try:
            code = str(made.guard.check(keeper.badge()).code)
        except (BadgeRefused, BadgeUnavailable) as error:
            code = str(error)
    return claim("it is given a badge again, and works", (code != "OK", code))


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        if time.monotonic() > deadline:
            raise DemoFailed(f"it did not happen within {WITHIN_S:.0f} s")
        time.sleep(POLL_S)
