"""A registry node without a network: real handlers, real log and view, the clock set by hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from litestar import Litestar
from litestar.testing import TestClient

from rescind.testing import Fabric
from rescind.testing.badges import ISSUER
from rescind.testing.keys import key_of
from rescind_guard.view import View
from rescind_protocol.changes import RevocationId
from rescind_protocol.trust import Trust
from rescind_publisher import plans
from rescind_publisher.acts import Audited
from rescind_publisher.receipts import Receipt, SinkReceipt, State
from rescind_publisher.requests import KillRequest, Order, RetireRequest
from rescind_publisher.switch import Told
from rescind_registry.app import build
from rescind_registry.config import RegistryConfig
from rescind_registry.node import Node
from rescind_registry.tokens import Scope
from rescind_subscriber.capture import Captured
from rescind_subscriber.memory import positions_of


class SharedFabric(Fabric):
    """A fabric that a server's threads use too: one at a time, for a test waits for its answer."""

    def _tell(self) -> None:
        for follower in self._followers:
            follower.view.release()
            follower.view.claim()
        super()._tell()


class Bench:
    """A node on a fabric of its own; `fresh` and `engine` can be taken away."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.fabric = SharedFabric()
        self._follower = self.fabric.follower()
        self.fresh = self.brokers = True
        self.orders: list[Order] = []
        self.node = Node.make(
            RegistryConfig(issuer=ISSUER, folder=folder, **config),
            followed=self,
            engine=Audited(self, folder / "audit.jsonl", self._follower.clock),
            clock=self._follower.clock,
        )
        self.node.keyring.add(key_of("registry"), since=0)
        self.app: Litestar = build(self.node)

    @property
    def view(self) -> View:
        """What the node follows."""
        return self._follower.view

    @property
    def trust(self) -> Trust:
        """The trust in use."""
        return self._follower._reconciler.joined.trust

    def capture(self) -> Captured | None:
        """Return the state of now."""
        replica = self._follower._reconciler.replica
        return Captured(positions_of(replica), replica.table, {}, 1) if self.fresh else None

    def token(self, *scopes: Scope) -> dict[str, str]:
        """Make an API token, and return the header that says it."""
        said, _ = self.node.tokens.make("test", scopes or (Scope.ADMIN,), now=self.fabric.now)
        return {"Authorization": f"Bearer {said}"}

    # --- the engine ---

    def start(self) -> None:
        """Nothing to make ready."""

    def close(self) -> None:
        """Nothing to let go of."""

    def submit(self, order: Order, told: Told | None = None) -> Receipt:
        """Sign, commit, and let every follower hear of it."""
        del told
        ledger = self.fabric._ledger
        if isinstance(order, KillRequest):
            plan = plans.kill(order, now=self.fabric.now, horizon=ledger.horizon)
        elif isinstance(order, RetireRequest):
            raise TypeError("nobody is retired here")
        else:
            plan = plans.end(order, ledger.live(order.target), now=self.fabric.now)
        ids: tuple[RevocationId, ...] = self.fabric._accept(plan)
        self.orders.append(order)
        return Receipt(
            ids=ids,
            targets=tuple(str(change.target) for change in plan.changes),
            accepted_at=self.fabric.now,
            accepted_ms=0.1,
            sinks={"nats": SinkReceipt(State.DURABLE, 1.0, 1.0)} if self.brokers else {},
            ended=plan.ended,
            new_badges_from=plan.floor,
        )


@contextmanager
def benched(folder: Path, **config: Any) -> Iterator[tuple[Bench, TestClient[Litestar]]]:
    """Give a node and a client of it."""
    bench = Bench(folder, **config)
    with bench.fabric, TestClient(bench.app) as client:
        yield bench, client
    bench.node.close()
