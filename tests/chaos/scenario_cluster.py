"""A NATS cluster of three: the stream's leader is killed, then cut off."""

import time

from rescind.testing.keys import FABRIC
from tests.chaos.load import under_load
from tests.chaos.real_tier import Context, scenario
from tests.chaos.servers import Shape
from tests.chaos.stage import Stage
from tests.faults.processes import crash

KILLS = 10
SHAPE = Shape(
    subscribers=dict.fromkeys(("s1", "s2", "s3"), ("nats",)), brokers=("nats",), clustered=True
)


@scenario("cluster's leader killed, then cut off", shows={"retry": "lost", "I2": "lost"})
def leader_lost(context: Context) -> None:
    """Kills are given all the time; each time another leader is found, and nothing is lost."""
    with Stage(context, SHAPE) as stage, under_load(stage) as load:
        cluster = stage.cluster
        load.until(KILLS)
        # 1. the leader is killed; the others choose another one
        first = cluster.leader(FABRIC)
        crash(cluster.servers[first])
        load.more(KILLS)
        stage.wait(lambda: cluster.leader(FABRIC) not in ("", first), "there is another leader")
        stage.wait(stage.drained, "the stream takes kills again")
        # 2. it comes back
        cluster.servers[first].start()
        load.more(KILLS)
        # 3. the leader is cut off from the others, with the clients that it has
        second = cluster.leader(FABRIC)
        cluster.cut_off(second)
        load.more(2 * KILLS)
        load.end()
        cluster.mend()
        stage.well("cluster's leader killed, then cut off", time.monotonic())
