"""The roster over a restart: whoever was known is missed until it reports, and named meanwhile.

Without it a receipt just after a restart would say "dead in 6/6" of the six that were quick to
report, and be silent on the rest. A file that is damaged or cannot be written costs only that.
"""

import asyncio
import logging
from pathlib import Path

import msgspec

from rescind_protocol.limits import MAX_FLEET, MAX_REPORT_BYTES
from rescind_protocol.reports import Report
from rescind_publisher.roster import Roster
from rescind_subscriber import durable

_log = logging.getLogger(__name__)

EVERY_S = 2.0
"""Between two looks for who has come or gone."""
AT_LEAST_EVERY_S = 60.0
"""When everybody is written again: when each was heard last."""
MAX_BYTES = MAX_FLEET * MAX_REPORT_BYTES


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    wall: float
    """When it was heard last."""
    report: Report


_decode = msgspec.msgpack.Decoder(list[_Kept]).decode


class Roll:
    """One file; written by one publisher."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failed = False

    def recall(self, roster: Roster, now: float, wall: float) -> None:
        """Put who was known into a roster. `now` monotonic, `wall` in unix seconds."""
        try:
            with self._path.open("rb") as file:
                kept = _decode(file.read(MAX_BYTES))
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError, ValueError) as error:
            _log.warning("%s is not read: %s; who is there shows as they report", self._path, error)
            return
        for each in kept[:MAX_FLEET]:
            roster.recall(each.report, now - max(0.0, wall - each.wall), each.wall)

    async def keep(self, roster: Roster) -> None:
        """Write who is there whenever that has changed."""
        loop, last, runs = asyncio.get_running_loop(), 0.0, frozenset(roster.runs())
        while True:
            await asyncio.sleep(EVERY_S)
            found = frozenset(roster.runs())
            if found != runs or (found and loop.time() - last > AT_LEAST_EVERY_S):
                runs, last = found, loop.time()
                await asyncio.to_thread(self.save, roster)

    def save(self, roster: Roster) -> None:
        """Write who is there (blocks); trouble is said once."""
        with roster.lock:
            kept = [_Kept(entry.wall, entry.report) for entry in roster.entries()]
        try:
            durable.replace_durably(self._path, [msgspec.msgpack.encode(kept)])
            self._failed = False
        except OSError as error:
            if not self._failed:
                _log.warning("%s cannot be written: %s", self._path, error.strerror)
            self._failed = True
