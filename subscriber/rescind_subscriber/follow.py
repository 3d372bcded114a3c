"""The loop around the reconcile step: sources in, checkpoints out. Knows no source by name.

1. remember: the local snapshot, if there is one
2. start every source; each hears live from then on, at core speed
3. whenever a source is (re)connected, a gap shows, a head is not covered, or some minutes have
   passed: read what the source stores, from the cursor to its end. What is heard meanwhile is
   joined at once; the order does not matter (I2). So replay meets live without a gap, and the
   heads prove it
4. save the local snapshot from time to time, and at the end

Any task that ends by surprise ends all of them: the owner restarts the loop, loudly. A reader that
dies quietly while health stays green is the fault this shape excludes.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Sequence

from rescind_guard.metrics import Counter
from rescind_guard.view import View
from rescind_protocol.clock import Clock
from rescind_protocol.image import Floor, Image
from rescind_protocol.table import Table
from rescind_protocol.trust import Trust
from rescind_subscriber.checkpoint import (
    Checkpoint,
    CheckpointDamaged,
    CheckpointFile,
    CheckpointLost,
)
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.errors import Rewound, SourceRefused, SourceUnavailable
from rescind_subscriber.reconcile import Reconciler
from rescind_subscriber.sources.base import Cursor, Source

log = logging.getLogger("rescind.subscriber")

SLICE = 64
"""Stored events joined at a time: some milliseconds of signatures, then live ones have a turn."""
SAVE_AT_LEAST_EVERY_S = 60.0


class Follower:
    """Follows any set of sources and joins them into one view; is the `Feed` of its sources."""

    def __init__(
        self,
        trust: Trust,
        sources: Sequence[Source],
        view: View,
        *,
        clock: Clock,
        config: SubscriberConfig,
        file: CheckpointFile | None,
    ) -> None:
        self.reconciler = Reconciler(trust, view, clock)
        self.sources = {source.name: source for source in sources}
        self.cursors: dict[str, Cursor] = {}
        self.links: dict[str, str] = dict.fromkeys(self.sources, "starting")
        """Why each source is not linked; "" when it is."""
        self.refused: dict[str, SourceRefused] = {}
        self.trouble: dict[str, str] = {}
        """What is wrong besides links, by kind; a sentence each."""
        self.reads = Counter()
        self.caught_up: set[str] = set()
        """Sources read to their end at least once."""
        self._fabric = trust.fabric
        self._view = view
        self._config = config
        self._file = file
        self._due = {name: asyncio.Event() for name in self.sources}
        self._saved: object = None

    # --- the feed ---

    def heard(self, _source: str, raw: bytes) -> None:
        """Take a live event."""
        if self.reconciler.event(raw):
            self._read_all()

    def heard_head(self, _source: str, raw: bytes) -> None:
        """Take a head; one that is not covered says that a tail was lost."""
        if self.reconciler.head(raw):
            self._read_all()

    def linked(self, source: str) -> None:
        """Know a source as connected and subscribed."""
        self.links[source] = ""
        self.refused.pop(source, None)
        self._due[source].set()

    def unlinked(self, source: str, why: str) -> None:
        """Know a source as deaf."""
        self.links[source] = why or "not connected"
        log.warning("source %s: %s", source, why)

    def _read_all(self) -> None:
        for due in self._due.values():
            due.set()

    # --- the loop ---

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until `stop`; raises whatever ended a task by surprise."""
        self._view.claim()
        self._remember()
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(self._follow(s)) for s in self.sources.values()]
                running.append(tasks.create_task(self._keep_saving()))
                await stop.wait()
                for task in running:
                    task.cancel()
        finally:
            for source in self.sources.values():
                with contextlib.suppress(Exception):
                    await source.stop()
            await self._save()
            self._view.release()

    async def _follow(self, source: Source) -> None:
        while True:
            try:
                await source.start(self)
                break
            except SourceRefused as error:
                self.refused[source.name] = error
                self.unlinked(source.name, str(error))
                await asyncio.sleep(self._config.retry_most_s)
        await self._keep_reading(source)

    async def _keep_reading(self, source: Source) -> None:
        due, wait_s = self._due[source.name], self._config.retry_s
        while True:
            jittered = self._config.reread_every_s * random.uniform(0.5, 1.5)  # noqa: S311
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(due.wait(), jittered)
            due.clear()
            if await self._read(source):
                wait_s = self._config.retry_s
            else:
                # Nothing new: what is missing is not stored yet, or the source is away.
                await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311
                wait_s = min(2 * wait_s, self._config.retry_most_s)

    async def _read(self, source: Source) -> bool:
        """Read a source from its cursor to its end; return whether that brought anything."""
        before, name = self.cursors.get(source.name), source.name
        try:
            async for batch in source.read(before):
                await self._join(batch.events)
                self.cursors[name] = batch.cursor
        except Rewound as error:
            self._rewind(name, error)
        except SourceUnavailable as error:
            self.reads.add("unavailable")
            self.trouble[f"read {name}"] = str(error)
            self._due[name].set()
        else:
            self.reads.add("complete")
            self.caught_up.add(name)
            self.trouble.pop(f"read {name}", None)
        return self.cursors.get(name) != before

    def _rewind(self, name: str, error: Rewound) -> None:
        """Start over from the beginning; nothing that was applied is taken back."""
        self.reads.add("rewound")
        log.warning("source %s: %s; reading it again from its beginning", name, error)
        self.cursors.pop(name, None)
        self._due[name].set()

    async def _join(self, raws: list[bytes]) -> None:
        for start in range(0, len(raws), SLICE):
            self.reconciler.batch(raws[start : start + SLICE])
            await asyncio.sleep(0)

    # --- what a restart remembers ---

    def _remember(self) -> None:
        """Load the local snapshot, and keep what the view knows already (after a restart)."""
        known = image_of(self._view.published.table)
        checkpoint = self._load()
        if checkpoint is not None:
            self.reconciler.replica.merge(checkpoint.image)
            self.reconciler.remember_heads(checkpoint.newest_heads)
            self.cursors.update(checkpoint.cursors)
        self.reconciler.replica.merge(known)
        self.reconciler.publish_replica()

    def _load(self) -> Checkpoint | None:
        file = self._file
        if file is None:
            return None
        try:
            if file.acquire():
                return file.load(self._fabric)
            self.trouble["snapshot"] = f"{file.path} is in use by another process"
            self._file = None
        except CheckpointDamaged as error:
            self.trouble["snapshot"] = str(error)
            log.error("%s; starting stale, reading everything again", error)  # noqa: TRY400
            if file.path.exists():  # a foreign one is not ours to overwrite
                self._file = None
        except CheckpointLost as error:
            self._lose_file(error)
        return None

    async def _keep_saving(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(self._config.snapshot_every_s)
            overdue = time.monotonic() - last >= SAVE_AT_LEAST_EVERY_S
            if overdue or self._state_key() != self._saved:
                await self._save()
                last = time.monotonic()

    def _state_key(self) -> object:
        return (self._view.published.generation, dict(self.cursors))

    async def _save(self) -> None:
        if self._file is None:
            return
        key = self._state_key()
        checkpoint = Checkpoint(
            self._fabric,
            self.reconciler.replica.image(),
            # An event that could not be read must be read again by a newer version (I10).
            dict(self.cursors) if self.reconciler.unreadable is None else {},
            self.reconciler.newest_heads(),
        )
        try:
            await asyncio.to_thread(self._file.save, checkpoint)
            self._saved = key
            self.trouble.pop("snapshot", None)
        except CheckpointLost as error:
            self._lose_file(error)

    def _lose_file(self, error: CheckpointLost) -> None:
        if "snapshot" not in self.trouble:
            log.error("%s; a restart will read everything again", error)
        self.trouble["snapshot"] = str(error)


def image_of(table: Table) -> Image:
    """Return what a published table says as an image that has seen nothing: only kills to keep."""
    entries = list(table.items())
    return Image(
        revocations=tuple(r for _, e in entries for r in e.revocations),
        floors=tuple(Floor(d, iat, log) for d, e in entries for log, iat in e.floors),
    )
