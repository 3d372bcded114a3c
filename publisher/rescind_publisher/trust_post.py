"""Puts the versions of the trust file into every sink, and sees that they stay there.

They are one more log, called `trust`, whose numbers are the versions; every publisher keeps it up,
for all hold the same bytes. A store in which other bytes lie at a version's number, signed by no
root, is healed as a log of events is: the versions go on at a new place.

On the publisher's loop. It is never on the way of a kill.
"""

import asyncio
import logging
from collections.abc import Awaitable, Sequence

from rescind_protocol.errors import RescindError
from rescind_protocol.subjects import TRUST_LOG
from rescind_protocol.trust import Trust
from rescind_publisher.drain import Outlet
from rescind_publisher.errors import SinkForked, SinkLost, SinkMoved
from rescind_publisher.lane import limited
from rescind_publisher.sinks.base import Movable, Record, Sink, Stored

_log = logging.getLogger(__name__)

FIRST_LOOK_AFTER_S = 10.0
"""A command that is a publisher for a moment has no part in this."""
LOOK_EVERY_S = 60.0
MOVES_AT_ONCE = 3
"""Found at another place, found damaged there, left for the next: else the next look goes on."""
HOLD_TIMEOUT_S = 10.0
"""For one version in one sink: some questions, each of which has a limit of its own."""


class TrustPost:
    """Knows where each sink has each version; those read back there count."""

    def __init__(self, outlets: Sequence[Outlet], trust: Trust) -> None:
        self._outlets, self._trust = outlets, trust
        self._stored: dict[str, dict[bytes, Stored]] = {each.sink.name: {} for each in outlets}
        self._problems: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()

    def start(self) -> None:
        """Begin to look, a while from now."""
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def stop(self) -> None:
        """Write nothing more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self) -> None:
        await asyncio.sleep(FIRST_LOOK_AFTER_S)
        while True:
            await self.post(self._trust)
            await asyncio.sleep(LOOK_EVERY_S)

    async def post(self, trust: Trust) -> dict[str, str]:
        """Have every sink hold the versions of a trust; return what is wrong by sink, "" if not."""
        if trust.version >= self._trust.version:
            self._trust = trust
        async with self._looking:
            problems = await asyncio.gather(*map(self._post, self._outlets))
        return dict(zip(self._stored, problems, strict=True))

    async def _post(self, outlet: Outlet) -> str:
        name = outlet.sink.name
        if not outlet.ready:
            return outlet.problem or f"{name}: not connected"
        try:
            await self._hold_all(outlet.sink)
        except RescindError as error:
            if self._problems.get(name) != str(error):
                _log.error("the trust file is not in %s: %s", name, error)
            self._problems[name] = str(error)
            return str(error)
        self._problems.pop(name, None)
        return ""

    async def _hold_all(self, sink: Sink, moves: int = MOVES_AT_ONCE) -> None:
        """Have a sink hold every version, also where it has to move them first."""
        trust, stored = self._trust, self._stored[sink.name]
        try:
            for version, raw in enumerate(trust.raws, trust.version - len(trust.raws) + 1):
                call = _hold(sink, Record(TRUST_LOG, version, raw), stored.get(raw))
                # Whatever a sink does wrong, or not at all: the next look comes.
                stored[raw] = await limited(_judged(call, sink, trust), sink.name, HOLD_TIMEOUT_S)
        except (SinkLost, SinkMoved):
            if moves == 0:
                raise
            await self._hold_all(sink, moves - 1)


async def _judged(call: Awaitable[Stored], sink: Sink, trust: Trust) -> Stored:
    """Await a version's place; what the root has not signed as that version is left behind."""
    try:
        return await call
    except SinkForked as error:
        version = int(error.position.rpartition("/")[2])
        if trust.holds_root(error.found, version) or not isinstance(sink, Movable):
            raise
        why = f"has bytes that are no version of the trust file at {version}"
        raise sink.leave(error.position, why) from error


async def _hold(sink: Sink, record: Record, at: Stored | None) -> Stored:
    """Have a sink hold a version, and return where; `at`: where it was."""
    if at is not None and await sink.read_back(at) == record.raw:
        return at
    return await _append(sink, record, repair=at is not None)


async def _append(sink: Sink, record: Record, *, repair: bool) -> Stored:
    """Append; a store that had the same id and not the same bytes is asked again without one."""
    stored = await sink.append(record, repair=repair)
    if stored.duplicate and await sink.read_back(stored) != record.raw:
        stored = await sink.append(record, repair=True)
    return stored
