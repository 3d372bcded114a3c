"""What a restart remembers (I7): when the local snapshot is read, written, and by whom.

Trouble with it never stops the following: it is said loudly, once, and shown in the status. A
subscriber without its snapshot starts stale and reads everything again.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import NamedTuple, ParamSpec

from rescind_protocol.image import Floor, Image
from rescind_protocol.join import Replica
from rescind_protocol.table import Table
from rescind_protocol.trust import Trust
from rescind_subscriber.checkpoint import (
    MAX_SLOTS,
    Checkpoint,
    CheckpointDamaged,
    CheckpointFile,
    CheckpointForeign,
    CheckpointLost,
)
from rescind_subscriber.faults import Fault, Faults

P = ParamSpec("P")
SAVE_AT_LEAST_EVERY_S = 60.0
SAVING_SHARE = 20
"""Between two saves pass so many times the seconds that the last one took: 5 % of a core."""


class State(NamedTuple):
    """What is to be kept, and what tells whether it has changed."""

    key: object
    checkpoint: Checkpoint
    table: Table


class Memory:
    """Loads and saves one subscriber's local snapshot; without a file it keeps nothing."""

    def __init__(
        self, file: CheckpointFile | None, trust: Trust, every_s: float, faults: Faults
    ) -> None:
        self.trouble = ""
        """What is wrong with the snapshot; a sentence."""
        self._file = file
        self._faults = faults
        self._fabric = trust.fabric
        self.trust = trust.digest
        """Whom the cursors hold for."""
        self._every_s = every_s
        self._saved: object = None
        self._run = ""

    def load(self, run: str = "") -> Checkpoint | None:
        """Return what was kept; another process's too, for a restart may overlap (I7)."""
        if self._file is None:
            return None
        self._run = run
        self._own(self._file)
        try:
            return self._file.load(self._fabric)
        except CheckpointForeign as error:  # not ours to overwrite
            self._complain(str(error))
            self.release()
            self._file = None
        except (CheckpointDamaged, CheckpointLost) as error:
            self._complain(f"{error}; starting stale, reading everything again")
        return None

    def others(self) -> Image | None:
        """Return the kills that a sibling kept later than we did, if one did."""
        found = self._file.newest_of_others(self._fabric) if self._file is not None else None
        if found is None:
            return None
        return Image(revocations=found.image.revocations, floors=found.image.floors)

    def goodbye(self) -> None:
        """Know that this run has said that it ends."""
        if self._file is not None:
            self._file.goodbye()

    def ended(self) -> list[str]:
        """Return runs of this host that ended without a goodbye."""
        return self._file.ended() if self._file is not None else []

    def release(self) -> None:
        """Let another process, or our next start, have the file."""
        if self._file is not None:
            self._file.release()

    async def keep(self, state: Callable[[], State]) -> None:
        """Save for ever what changes, from time to time."""
        last, wait_s = time.monotonic(), self._every_s
        while True:
            await asyncio.sleep(wait_s)
            begun = time.monotonic()
            if begun - last >= SAVE_AT_LEAST_EVERY_S or state().key != self._saved:
                await self.save(state())
                last = time.monotonic()
                wait_s = max(self._every_s, SAVING_SHARE * (last - begun))

    async def save(self, state: State) -> None:
        """Save once, if the file is ours or free."""
        if self._file is None or not self._own(self._file):
            return
        try:
            await _aside(self._file.save, state.checkpoint, state.table)
            self._saved, self.trouble = state.key, ""
        except CheckpointLost as error:
            self._complain(f"{error}; a restart will not remember what is new")

    def _own(self, file: CheckpointFile) -> bool:
        try:
            if file.acquire(self._run):
                return True
            self._complain(
                f"{file.path} and {MAX_SLOTS - 1} more are in use by other processes: this one "
                "keeps no snapshot; give it a name of its own"
            )
        except CheckpointLost as error:
            self._complain(f"{error}; a restart will not remember what is new")
        return False

    def _complain(self, sentence: str) -> None:
        if not self.trouble:
            self._faults.note(Fault.LOCAL_SNAPSHOT, sentence, level=logging.ERROR)
        self.trouble = sentence


def positions_of(replica: Replica) -> Image:
    """Return the replica's state without its table, which is immutable and kept beside."""
    return Image(
        vector=dict(replica.vector),
        above={log: dict(links) for log, links in replica.above.items()},
        named=tuple(replica.named),
        horizons=dict(replica.horizons),
        forked=tuple(sorted(replica.forked)),
        retired=replica.cuts.retired,
    )


def image_of(table: Table) -> Image:
    """Return what a published table says as an image that has seen nothing: only kills to keep."""
    entries = list(table.items())
    return Image(
        revocations=tuple(r for _, e in entries for r in e.revocations),
        floors=tuple(Floor(d, iat, log) for d, e in entries for log, iat in e.floors),
    )


async def _aside(call: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Call in another thread; in this one where the interpreter ends, and gives no more of them."""
    try:
        await asyncio.to_thread(call, *args, **kwargs)
    except RuntimeError:
        call(*args, **kwargs)
