"""The pieces that protect, each of which can be taken out.

A simulator that finds nothing without a protection proves nothing with it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from rescind.testing.sim.brokers import FencedBroker, StreamBroker
from rescind.testing.sim.lanes import Lane
from rescind_protocol.join import Replica, ViewReplica
from rescind_publisher.ledger import Ledger
from rescind_subscriber.checkpoint import Checkpoint, decode
from rescind_subscriber.reconcile import Reconciler


@dataclass(frozen=True)
class Parts:
    """The real ones, unless another is given."""

    ledger: type[Ledger] = Ledger
    """What is in force already, and what others have ended."""
    replica: Callable[[], Replica] = ViewReplica
    """The join (I2)."""
    reconciler: type[Reconciler] = Reconciler
    """Freshness by signed time (I4)."""
    recall: Callable[[bytes], Checkpoint | None] = decode
    """What a restart remembers (I7); raises `Malformed` for a damaged snapshot."""
    stream: type[StreamBroker] = StreamBroker
    fenced: type[FencedBroker] = FencedBroker
    """Compare-and-append."""
    lane: type[Lane] = Lane
    """Digests as message ids, acks read back."""
