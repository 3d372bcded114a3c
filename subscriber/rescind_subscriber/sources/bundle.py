"""`BundleSource`: the signed form of a registry's bundle, by conditional fetch; needs no broker.

1. The first answer brings heads alone; then the source is `linked`, and a catch-up is due.
2. A catch-up takes the whole, a snapshot and the events after it, or what is new behind the cursor.
3. Then it asks from time to time, or by long poll, whether there is another revision. What comes is
   heard at once; the heads come with every answer, also with "not modified".
4. A cursor is a revision. A node that does not remember it sends the whole, and the reader starts
   over with the snapshot in it.

Whoever sends a bundle is believed nothing: events, snapshot and heads verify by the publishers'
keys (I6). A cache that answers for the server answers with old heads, and these freshen nobody.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from hashlib import sha256

import msgspec

from rescind_protocol import bundles, subjects
from rescind_protocol.errors import Malformed
from rescind_subscriber.bundle_fetch import ANY, Fetched, Fetcher
from rescind_subscriber.bundle_reader import SignedBundle, read_signed
from rescind_subscriber.errors import Rewound, SourceRefused, SourceUnavailable
from rescind_subscriber.http_address import HttpOptions
from rescind_subscriber.keeping import Keeper
from rescind_subscriber.sources.base import Batch, Cursor, Feed, Listed
from rescind_subscriber.tasks import jitter, within

PATH = "/v1/bundles/"
EVERY_S = 10.0
"""Between two requests (interop.md §3: clients of the reference poll as often)."""
MIN_EVERY_S = 0.1
PLACE = "bundle"
"""Where the one snapshot of a bundle lies."""
AT_A_TIME = 64
"""Events heard before others have a turn."""
_IN_THREAD_BYTES = 64 * 1024
_REVISION = re.compile(r"[\x21\x23-\x7e]{1,128}")


class BundleOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How often to ask."""

    every_s: float = EVERY_S
    """Between two requests, jittered by a fifth; by long poll, how long one waits."""
    long_poll: bool = False

    def __post_init__(self) -> None:
        if not MIN_EVERY_S <= self.every_s <= bundles.MAX_WAIT_S:
            raise Malformed(
                f"a bundle is asked for every {MIN_EVERY_S:g} to {bundles.MAX_WAIT_S} s, "
                f"not {self.every_s:g}"
            )


class BundleSource:
    """Events of one fabric from one node's bundle; runs on the loop that calls `start`."""

    def __init__(
        self,
        fabric: str,
        http: HttpOptions,
        options: BundleOptions | None = None,
        *,
        name: str = "bundle",
    ) -> None:
        self.name = name
        self._shown = http.shown
        self._options = options or BundleOptions()
        path = PATH + subjects.check_fabric(fabric)
        self._fetcher = Fetcher(http, path, accept=bundles.SIGNED, name=name)
        self._feed: Feed | None = None
        self._told = ""  # the reason last told to the feed; "" while linked
        self._revision = ""
        """The newest that was handed over."""
        self._taken = asyncio.Event()
        """Set when there is one."""
        self._whole: SignedBundle | None = None
        self._offered = False
        """Whether the reader was shown the snapshot in it."""
        self._keeper = Keeper(self._follow, on_up=self._up, on_down=self._down, name=name)

    def __repr__(self) -> str:
        state = self._told or "linked" if self._feed else "not started"
        return f"<BundleSource {self.name} {self._shown}: {state}>"

    async def start(self, feed: Feed) -> None:
        """Reach the server and go on asking; see `Source.start`."""
        self._fetcher.open()
        self._feed, self._told = feed, ""
        await self._keeper.start()

    async def stop(self) -> None:
        """Close; the feed hears no more."""
        self._feed = None
        await self._keeper.stop()
        await self._fetcher.close()

    # --- what is stored ---

    async def list_snapshots(self) -> list[Listed]:
        """Return the snapshot in the newest bundle; see `SnapshotStore`."""
        whole = await self._fetch_whole()
        self._offered = True
        return [Listed(PLACE, whole.statement)] if whole.statement else []

    async def read_snapshot(self, place: str, size: int) -> list[bytes]:
        """Return its parts; see `SnapshotStore`."""
        del place, size  # there is one, and it is here already
        return list((await self._fetch_whole()).parts)

    async def read(self, after: Cursor | None) -> AsyncIterator[Batch]:
        """Yield the events behind the cursor; see `Source.read`."""
        found: SignedBundle | None
        if after is None:
            found = await self._fetch_whole()
        elif self._whole is not None:
            found = self._resume_whole()
        else:
            found = await self._behind(after)
        self._whole, self._offered = None, False
        if found is not None:
            self._take(found.revision)
            yield Batch(found.events, _cursor(found.revision))

    def _resume_whole(self) -> SignedBundle | None:
        if not self._offered:
            raise Rewound(f"{self.name}: what changed since is not known there; the whole came")
        return self._whole

    async def _behind(self, after: Cursor) -> SignedBundle | None:
        """Return what is new since the cursor, None if nothing is; raises `Rewound`."""
        if not _REVISION.fullmatch(after.position):
            raise Rewound(f"{self.name}: {after.position[:40]!r} is no revision of a bundle")
        fetched = await self._ask_now(after.position)
        self._hear_heads(fetched)
        found = await self._opened(fetched)
        if found is None:
            self._take(after.position)
        elif found.whole:
            self._whole, self._offered = found, False
            return self._resume_whole()
        return found

    def _take(self, revision: str) -> None:
        self._revision = revision
        self._taken.set()

    async def _fetch_whole(self) -> SignedBundle:
        if self._whole is None:
            fetched = await self._ask_now("")
            found = await self._opened(fetched)
            if found is None:
                raise SourceUnavailable(f"{self.name} at {self._shown}: no bundle in the answer")
            self._whole, self._offered = found, False
            self._hear_heads(fetched)
        return self._whole

    async def report(self, subscriber: str, raw: bytes) -> None:
        """Send one report to the node; see `Reporter.report`."""
        del subscriber  # its name is in it
        await self._fetcher.report(raw)

    # --- live ---

    async def _follow(self, up: Callable[[], None]) -> None:
        """Ask for ever; raises why it ended."""
        self._hear_heads(await self._ask(ANY))
        up()
        while True:
            wait_s = await self._rest()
            fetched = await self._ask(self._revision or ANY, wait_s=wait_s)
            found = await self._opened(fetched)
            if found is not None:
                await self._hear(found)
            self._hear_heads(fetched)

    async def _rest(self) -> float:
        """Return when it is time to ask again, and how long the server may then wait."""
        every_s = self._options.every_s
        if not self._options.long_poll:
            await asyncio.sleep(every_s * jitter(0.8, 1.2))
            return 0.0
        # Until the reader has taken something in, there is nothing to wait for a change of.
        await within(every_s, self._taken)
        return every_s

    async def _hear(self, found: SignedBundle) -> None:
        self._revision = found.revision
        for start in range(0, len(found.events), AT_A_TIME):
            for raw in found.events[start : start + AT_A_TIME]:
                if self._feed is not None:
                    self._feed.heard(self.name, raw)
            await asyncio.sleep(0)
        if found.whole:
            self._whole, self._offered = found, False
            self._up()  # a catch-up is due: it takes the snapshot

    def _hear_heads(self, fetched: Fetched) -> None:
        for raw in fetched.heads:
            if self._feed is not None:
                self._feed.heard_head(self.name, raw)

    async def _ask_now(self, known: str) -> Fetched:
        """Ask for a reader, who tries again whatever the reason is."""
        try:
            return await self._ask(known)
        except SourceRefused as error:
            raise SourceUnavailable(str(error)) from error

    async def _ask(self, known: str, *, wait_s: float = 0.0) -> Fetched:
        fetched = await self._fetcher.fetch(known, wait_s=wait_s)
        if fetched.raw is not None and fetched.media_type != bundles.SIGNED:
            raise SourceRefused(
                f"{self.name} at {self._shown}: {fetched.media_type[:60]!r} is not signed by "
                "publishers; this is no registry of this fabric"
            )
        return fetched

    async def _opened(self, fetched: Fetched) -> SignedBundle | None:
        """Take the archive apart, a large one in a thread; None: not modified."""
        raw = fetched.raw
        if raw is None:
            return None
        try:
            if len(raw) < _IN_THREAD_BYTES:
                return read_signed(raw)
            return await asyncio.to_thread(read_signed, raw)
        except Malformed as error:
            raise SourceUnavailable(f"{self.name} at {self._shown}: {error}") from error

    def _up(self) -> None:
        self._told = ""
        if self._feed is not None:
            self._feed.linked(self.name)

    def _down(self, why: str) -> None:
        if self._feed is not None and why != self._told:
            self._told = why
            self._feed.unlinked(self.name, why)


def _cursor(revision: str) -> Cursor:
    return Cursor(revision, sha256(revision.encode()).digest())
