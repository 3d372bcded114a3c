"""`Bundles`: answers requests for the bundle, at once or when there is something new.

1. after every change that the hub hears of, the followed state is captured and the document moved
2. whoever waits is answered: a delta where one is possible, the whole otherwise; made once, however
   many ask
3. every answer, a 304 too, carries the newest heads

What takes long runs in threads. All else belongs to the loop of `open`.
"""

import asyncio
import logging
from collections import OrderedDict
from contextlib import suppress

import msgspec

from rescind_protocol import bundles
from rescind_registry.bundle import signed
from rescind_registry.bundle.asking import ANY, Ask, Form
from rescind_registry.bundle.bodies import Body, delta_of, json_of, opa_of
from rescind_registry.bundle.document import Document
from rescind_registry.bundle.needs import Following, Hub
from rescind_registry.bundle.signing import BundleSigner

log = logging.getLogger("rescind.registry")

MAX_WAITING = 10_000
"""Long polls at once; an OPA that is refused backs off, one that is answered at once does not."""
MAX_MARKS = 4096
TURNS = 1000
"""Of the loop, for the hub to take in what was relayed; each takes 256 events."""
RETRY_AFTER_S = 1
OK, NOT_MODIFIED, UNAVAILABLE = 200, 304, 503


class Mark(msgspec.Struct, frozen=True):
    """All events of a revision that were said with a number below this one are part of it."""

    number: int
    epoch: int


class Answer(msgspec.Struct, frozen=True):
    """A response, for whatever serves HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes = b""


class Bundles:
    """One for each node. `open` and `close` on the loop that answers."""

    def __init__(
        self,
        fabric: str,
        hub: Hub,
        following: Following,
        *,
        signer: BundleSigner | None = None,
        author: signed.Author | None = None,
    ) -> None:
        self.document = Document(fabric)
        self._hub, self._following = hub, following
        self._signer, self._author = signer, author
        self._ready = False
        self._revision = self.document.revision
        """What is told: every event of it is in the window."""
        self._lock = asyncio.Lock()
        """Held while the document moves, which it does in a thread."""
        self._marks: OrderedDict[str, Mark] = OrderedDict()
        self._made: dict[tuple[Form, str | None], asyncio.Task[Body | None]] = {}
        self._making: set[asyncio.Task[Body | None]] = set()
        self._wholes: dict[Form, Body] = {}
        self._building = asyncio.Lock()
        """Held while a whole is built: of ten revisions in a second not each one is."""
        self._base: signed.Base | None = None
        self._moved = asyncio.Event()
        self._waiting = 0
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Bundles {self.document!r}, {self._waiting} waiting>"

    # --- life ---

    async def open(self) -> None:
        """Begin to follow the hub."""
        self._task = asyncio.create_task(self._keep(), name="rescind bundles")

    async def close(self) -> None:
        """End; whoever waits is answered with what there is."""
        task, self._task = self._task, None
        self._wake()
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep(self) -> None:
        while True:
            before = self._stamp()
            try:
                await self.refresh()
            except Exception:
                log.exception("the bundle was not brought up to date")
            if self._stamp() == before:  # nothing in between: no await separates the two
                await self._hub.changed()
            if self._hub.stopping:
                self._wake()

    @property
    def _ending(self) -> bool:
        return self._task is None or self._hub.stopping

    def _stamp(self) -> tuple[int, int, int]:
        return self._hub.window.end, self._hub.heads_end, self._hub.epoch

    async def refresh(self) -> None:
        """Bring the document to the state of this moment."""
        mark = Mark(self._hub.window.end, self._hub.epoch)
        async with self._lock:
            moved = await asyncio.to_thread(self._advance, max(self._hub.versions, default=1))
        for _ in range(TURNS):  # until every event of this revision is in the window
            if not self._hub.behind:
                break
            await asyncio.sleep(0)
        self._ready = self._ready or self._following.fresh
        self._revision = self.document.revision
        if moved or self._revision not in self._marks:
            self._marks[self._revision] = mark
            if len(self._marks) > MAX_MARKS:
                self._marks.popitem(last=False)
            self._made.clear()
            self._wake()

    def _advance(self, trust: int) -> bool:
        # Also where it is not proven: a kill that is known must reach whoever asks (I3).
        captured = self._following.capture(proven=False)
        if captured is None:
            return False
        return self.document.advance(captured.table, captured.positions, trust)

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    # --- answering ---

    async def answer(self, ask: Ask) -> Answer:
        """Answer one request, after `wait_s` at the latest."""
        if not self._ready:
            return self._refuse("this node has not yet proven that it knows every kill")
        if ask.form is Form.SIGNED and self._author is None:
            return self._refuse(
                "this node has no key with the right 'snapshot', so it cannot sign the state: "
                "follow a broker, or another node"
            )
        if self._has(ask) and ANY not in ask.known and ask.wait_s > 0:
            if self._waiting >= MAX_WAITING:
                return self._refuse("too many clients wait for a change: try again later")
            await self._wait(ask)
        if self._has(ask):
            # Its own, if it is ahead: a delta from an older one would remove what is gone already.
            ahead = self.document.revision in ask.known
            revision = self.document.revision if ahead else self._revision
            return Answer(NOT_MODIFIED, self._headers(revision, ask.form))
        body = await self._body(ask)
        if body is None:
            return self._refuse("this node cannot prove just now that it knows every kill")
        headers = self._headers(body.revision, ask.form) | {"content-type": body.media_type}
        return Answer(OK, headers, body.raw)

    def _has(self, ask: Ask) -> bool:
        # A client may be ahead of what is told: its delta was made while the document moved.
        return not {ANY, self._revision, self.document.revision}.isdisjoint(ask.known)

    async def _wait(self, ask: Ask) -> None:
        self._waiting += 1
        try:
            # Not `wait_for`: in Python 3.11 it can swallow a cancellation.
            with suppress(TimeoutError):
                async with asyncio.timeout(ask.wait_s):
                    while self._has(ask) and not self._ending:
                        await self._moved.wait()
        finally:
            self._waiting -= 1

    def _headers(self, revision: str, form: Form) -> dict[str, str]:
        heads = sorted(self._hub.heads.items())
        return {
            # The signed form differs from node to node, in its bytes and not in what it says.
            "etag": f'W/"{revision}"' if form is Form.SIGNED else f'"{revision}"',
            "cache-control": "no-cache",
            "vary": "Accept, Prefer",
            bundles.HEADS.lower(): bundles.join_heads(raw for _, (_, raw) in heads),
        }

    def _refuse(self, why: str) -> Answer:
        headers = {"content-type": bundles.JSON, "retry-after": str(RETRY_AFTER_S)}
        return Answer(UNAVAILABLE, headers, msgspec.json.encode({"error": why}))

    async def _body(self, ask: Ask) -> Body | None:
        if ask.delta and (since := self._since(ask)) is not None:
            delta = await self._shared(ask.form, since)
            if delta is not None:
                return delta
        return await self._shared(ask.form, None)

    def _since(self, ask: Ask) -> str | None:
        """Return a revision of the client's that is remembered here."""
        return next((known for known in ask.known if known in self._marks), None)

    async def _shared(self, form: Form, since: str | None) -> Body | None:
        """Make a body, or wait for the one that is being made."""
        task = self._made.get((form, since))
        if task is None:
            task = self._made[form, since] = asyncio.create_task(self._make(form, since))
            self._making.add(task)
            task.add_done_callback(self._finish)
        return await asyncio.shield(task)

    def _finish(self, task: asyncio.Task[Body | None]) -> None:
        """What was not made is tried again at the next request."""
        self._making.discard(task)
        if task.cancelled() or task.exception() is not None or task.result() is None:
            self._made = {key: made for key, made in self._made.items() if made is not task}

    async def _make(self, form: Form, since: str | None) -> Body | None:
        if form is Form.SIGNED:
            return await self._signed(since)
        if since is not None:
            async with self._lock:
                patch = self.document.delta(since)
                return None if patch is None else delta_of(self.document.revision, patch)
        async with self._building:
            return await self._whole(form)

    async def _whole(self, form: Form) -> Body:
        async with self._lock:
            captured = self.document.capture()
        made = self._wholes.get(form)
        if made is None or made.revision != captured.revision:
            if form is Form.JSON:
                made = await asyncio.to_thread(json_of, captured)
            else:
                made = await asyncio.to_thread(opa_of, captured, self._signer)
            self._wholes[form] = made
        return made

    # --- the signed form ---

    async def _signed(self, since: str | None) -> Body | None:
        window, revision = self._hub.window, self._revision
        if since is not None:
            mark = self._marks[since]
            if mark.epoch != self._hub.epoch or not signed.fits(window, mark.number):
                return None
            events = [said.raw for said in window.since(mark.number)]
            return Body(revision, signed.pack(revision, b"", events), bundles.SIGNED)
        async with self._building:
            base = await self._snapshot()
            if base is None:
                return None
            revision, events = self._revision, [said.raw for said in window.since(base.number)]
            # First whom to go by: what comes after it may be signed by new keys (ADR 15).
            versions = [raw for _, raw in sorted(self._hub.versions.items())]
            raw = await asyncio.to_thread(signed.pack, revision, base.member, versions + events)
        return Body(revision, raw, bundles.SIGNED)

    async def _snapshot(self) -> signed.Base | None:
        """Return a snapshot that the window goes on from: the last one, or a new one."""
        window, base = self._hub.window, self._base
        if (
            base is not None
            and base.epoch == self._hub.epoch
            and signed.goes_on(window, base.number)
        ):
            return base
        number, epoch = window.end, self._hub.epoch
        member = await asyncio.to_thread(self._write_snapshot)
        if member is not None:
            self._base = signed.Base(number, epoch, member)
            return self._base
        return None

    def _write_snapshot(self) -> bytes | None:
        """Sign what is known, if it is proven: a snapshot that leaves a kill out would end it."""
        captured = self._following.capture()
        if captured is None or self._author is None:
            return None
        return self._author.write(captured.image(), captured.trust)
