"""What the brokers hold of an own log and the spool lacks is taken back: the spool is an old copy.

A spool that was restored from a backup has forgotten kills that are in force everywhere. Its
publisher could not end them, and its heads would name events of long ago. So what the follower
beside it has applied of our own logs is compared with the spool, from the start on; what is lacking
is read back from the sinks, verified, and committed as far as it follows on what is there.

Not while another host's heads name such a log: that one is alive, and has our key.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

from rescind_protocol.heads import Position
from rescind_protocol.positions import START
from rescind_protocol.trust import LOG_PREFIX_CHARS
from rescind_publisher import metrics
from rescind_publisher.config import PublisherConfig
from rescind_publisher.drain import Outlet
from rescind_publisher.errors import SinkRefused, SinkUnavailable, SpoolFailed
from rescind_publisher.follower import KnowingFollower
from rescind_publisher.lane import limited
from rescind_publisher.ledger import Ledger
from rescind_publisher.metrics import Counters
from rescind_publisher.sinks.base import Inspectable
from rescind_subscriber.known import Known

_log = logging.getLogger(__name__)

AGAIN_S = 60.0
"""A log that could not be read whole is tried again after so long."""


def lacking(
    known: Known, own: Mapping[str, Position], *, kid: str, publisher: str, not_these: Iterable[str]
) -> dict[str, int]:
    """Return the own logs that the spool lacks a part of, and up to which number they are known.

    `not_these`: the current log, and those that were dropped because nobody needs them.
    """
    heard = known.heads.get(publisher)
    alive = (set(heard.named) - own.keys()) if heard is not None else set()
    skipped = {*not_these, *alive, *known.positions.forked}
    return {
        log: at.seq
        for log, at in known.positions.vector.items()
        if log.startswith(kid[:LOG_PREFIX_CHARS])
        and log not in skipped
        and at.seq > own.get(log, START).seq
    }


class Reclaimer:
    """Looks for what is lacking, with each few heads; on the publisher's loop, the disk aside."""

    def __init__(
        self,
        ledger: Ledger,
        outlets: Sequence[Outlet],
        follower: KnowingFollower,
        *,
        kid: str,
        config: PublisherConfig,
        counters: Counters,
    ) -> None:
        self._ledger, self._outlets, self._follower = ledger, outlets, follower
        self._kid, self._config, self._counters = kid, config, counters
        self._not_before: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._keep_looking())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_looking(self) -> None:
        while True:
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - whatever it is: the next look may do better
                _log.exception("looking for what the spool lacks failed")
            await asyncio.sleep(self._config.heartbeat_s)

    async def look(self) -> None:
        """Take back what is lacking now, if anything is."""
        now = asyncio.get_running_loop().time()
        for log, upto in (await asyncio.to_thread(self._lacking)).items():
            if now >= self._not_before.get(log, now):
                self._not_before[log] = now + AGAIN_S
                await self._take_back(log, upto)

    def _lacking(self) -> dict[str, int]:
        known = self._follower.known()
        if known is None:
            return {}
        return lacking(
            known,
            self._ledger.positions,
            kid=self._kid,
            publisher=self._config.publisher,
            not_these=(self._ledger.log, *self._ledger.dropped),
        )

    async def _take_back(self, log: str, upto: int) -> None:
        taken = 0
        for outlet in self._outlets:
            if not (outlet.ready and isinstance(outlet.sink, Inspectable)):
                continue
            try:
                held = await self._held(outlet.sink, log, upto)
                taken += await asyncio.to_thread(self._ledger.adopt, log, held)
            except (SinkUnavailable, SinkRefused, SpoolFailed) as error:
                _log.warning("log %s is not taken back yet: %s", log, error)
        self._counters.add(metrics.TAKEN_BACK, taken)
        reached = self._ledger.positions.get(log, START).seq
        _log.error(
            "this spool is an older copy: %d events of log %s were taken back from the brokers%s",
            taken,
            log,
            "" if reached >= upto else f"; it ends at {reached}, and {upto} are known to the fleet",
        )

    async def _held(self, sink: Inspectable, log: str, upto: int) -> dict[int, list[bytes]]:
        """Return what a sink holds beyond the spool, by number; nothing of it is verified."""
        found: dict[int, list[bytes]] = {}
        first = self._ledger.positions.get(log, START).seq + 1
        held = sink.contents(log)
        while True:
            call = limited(anext(held, None), sink.name, self._config.send_timeout_s)
            if (batch := await call) is None:
                return found
            for record in batch:
                if first <= record.seq <= upto:
                    found.setdefault(record.seq, []).append(record.raw)
