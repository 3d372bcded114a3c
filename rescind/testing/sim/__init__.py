"""A deterministic simulator of a whole fabric: virtual clocks, virtual network, the real code.

What is real: events, heads, keys, trust, the join, the reconciler, the local snapshot's bytes, view
and guard, the publisher's ledger and chain. What is modelled: brokers, network, disk, time, and the
two loops around the steps (a publisher's lanes, a subscriber's reader).
"""

from rescind.testing.sim.checker import Verdict
from rescind.testing.sim.parts import Parts
from rescind.testing.sim.plan import plan
from rescind.testing.sim.schedule import Schedule, Step, What
from rescind.testing.sim.simulation import run

__all__ = ["Parts", "Schedule", "Step", "Verdict", "What", "plan", "run"]
