"""Test what relies on rescind without a broker: real guards and kills, virtual time and network.

`Fabric` is for tests of your own service. `rescind.testing.sim` is the simulator that tests the
fabric itself.
"""

from rescind.testing.badges import TestBadge
from rescind.testing.coverage import assert_guarded
from rescind.testing.fabric import Fabric, Follower

__all__ = ["Fabric", "Follower", "TestBadge", "assert_guarded"]
