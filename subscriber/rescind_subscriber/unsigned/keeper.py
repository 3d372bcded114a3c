"""`ListKeeper`: keeps a view's unsigned lists up to date, in a thread of its own.

1. what a restart remembers denies before anything is fetched
2. every list is asked for at once, then every `every_s`, by conditional fetch
3. a good answer replaces the whole list: what has left it stops denying, unless a kill denies it
4. one that cannot be fetched or understood changes nothing: what was known goes on to deny, and
   that is a trouble until the next good answer

Nothing here touches what is joined or how fresh it is: `View.show_lists` is the one way out. What
follows the signed log knows nothing of it, and the other way round.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from math import inf
from pathlib import Path
from typing import Self

import msgspec

from rescind_guard.errors import BadGuard
from rescind_guard.exposition import Family
from rescind_guard.freshness import SystemClock
from rescind_guard.metrics import Counter
from rescind_guard.unsigned import UnsignedList
from rescind_guard.view import View
from rescind_protocol.clock import Clock
from rescind_protocol.errors import RescindError
from rescind_subscriber.background import Background
from rescind_subscriber.errors import ListUnavailable, ListUnkept
from rescind_subscriber.metrics import list_families
from rescind_subscriber.tasks import jitter
from rescind_subscriber.unsigned.fetch import Answer
from rescind_subscriber.unsigned.place import Place
from rescind_subscriber.unsigned.reader import merged, read_page
from rescind_subscriber.unsigned.shelf import Kept, ListShelf

log = logging.getLogger("rescind.lists")

EVERY_S = 10.0
"""As a bundle is asked for (interop.md §3)."""
TICK_S = 0.1
MAX_LISTS = 16
AT_ONCE = 4
MAX_PAGES = 500
"""Of one list: 50,000 entries in pages of a hundred, as the reference's default is."""
MAX_PAGES_S = 60.0
"""Other lists wait for the round that a list of many pages is fetched in."""
SAVE_EVERY_S = 300.0
"""That a list was confirmed is written so often; its contents with each change."""
NEVER = "was not fetched yet"
CLASS = "unsigned"
"""What the class is called, beside what publishers sign."""

Fetch = Callable[[Place, str], Answer]
"""(place, tag) → its answer; raises `ListUnavailable`."""


class Standing(msgspec.Struct, frozen=True):
    """Where one list stands, for people and for health checks."""

    issuer: str
    at: str
    entries: int
    age_s: float | None
    """Since the last good answer; None: never. It is not an age of the view."""
    trouble: str
    """"" if the last answer was good and is kept."""
    trust: str = CLASS


class _Known:
    """What is known of one list; the keeper's thread writes."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.list = UnsignedList(place.issuer, {})
        self.tag = ""
        self.confirmed_at: float | None = None
        """Unix seconds of the last good answer."""
        self.confirmed_boot = -inf
        """The same by CLOCK_BOOTTIME; -inf: before this process."""
        self.kept: UnsignedList | None = None
        """What is on disk."""
        self.kept_at = -inf
        self.due = -inf
        self.unfetched = NEVER
        self.unkept = ""

    @property
    def trouble(self) -> str:
        """What is wrong with it; "": nothing."""
        return "; ".join(filter(None, (self.unfetched, self.unkept)))

    def age_s(self, clock: Clock) -> float:
        """Return the greater age by either clock, so that no jump makes it younger."""
        if self.confirmed_at is None:
            return inf
        here = 0.0 if self.confirmed_boot == -inf else clock.boot() - self.confirmed_boot
        return max(clock.wall() - self.confirmed_at, here)


class ListKeeper(Background):
    """Publishes lists in `view`, beside what a subscriber joins there."""

    THREAD = "rescind-lists"

    def __init__(
        self,
        places: Iterable[Place],
        fetch: Fetch,
        view: View,
        *,
        folder: Path | None = None,
        name: str = "subscriber",
        every_s: float = EVERY_S,
        clock: Clock | None = None,
    ) -> None:
        """`folder`: where lists are kept over a restart, by `name`. Raises `BadGuard`."""
        self._known = {place.issuer: _Known(place) for place in places}
        if len(self._known) > MAX_LISTS:
            raise BadGuard(f"at most {MAX_LISTS} unsigned lists are followed")
        self._fetch, self._view = fetch, view
        self._shelf = ListShelf(folder, name) if folder else None
        self._every_s = every_s
        self._clock = clock or SystemClock()
        self._shown = view.lists
        self.fetches = Counter()
        super().__init__()

    def __repr__(self) -> str:
        return f"<ListKeeper {len(self._known)} unsigned lists, {len(self.troubles)} in trouble>"

    # --- life ---

    def start(self) -> Self:
        """Publish what a restart remembers, then fetch in a thread; returns at once."""
        if self._thread is None:
            self.load()
            self._launch()
        return self

    def after_fork(self) -> None:
        """In the child: what was known denies, a thread of its own; the files are the parent's."""
        running = self._thread is not None
        self._reset()
        self._shelf = None
        self._shown = self._view.lists
        if running:
            self._launch()

    def load(self) -> None:
        """Publish what was kept on disk; what is wrong there is a trouble, and ends nothing."""
        for known in self._known.values() if self._shelf else ():
            try:
                kept = self._shelf.load(known.place) if self._shelf else None
            except ListUnkept as error:
                self._say_unkept(known, str(error))
                continue
            if kept is not None:
                known.list, known.tag = kept.list, kept.tag
                known.kept, known.kept_at = known.list, kept.confirmed_at
                known.confirmed_at = kept.confirmed_at
        self._show()

    def _run(self, stopping: threading.Event) -> None:
        with ThreadPoolExecutor(AT_ONCE, "rescind-lists") as pool:
            while not stopping.is_set():
                try:
                    self.step(lambda due: list(pool.map(self._ask, due)))
                except Exception:
                    log.exception("following unsigned lists failed; it goes on")
                stopping.wait(TICK_S)

    # --- one round ---

    def step(self, ask_all: "Callable[[list[_Known]], list[_Asked]] | None" = None) -> None:
        """Ask for every list that is due, publish what changed, then keep it."""
        now = self._clock.boot()
        due = [known for known in self._known.values() if known.due <= now]
        asked = ask_all(due) if ask_all else [self._ask(known) for known in due]
        for known, answer in zip(due, asked, strict=True):
            self._take(known, answer)
        self._show()
        for known in due:
            self._keep(known)

    def _ask(self, known: _Known) -> "_Asked":
        """Ask and read, in any thread; nothing is changed here."""
        try:
            answer = self._fetch(known.place, known.tag)
            tag, found = answer.tag, known.list
            if answer.raw is not None:
                pages = self._pages(known.place, answer.raw)
                found = merged(pages)
                # A tag is of one page: with several, nothing says that the others are unchanged.
                tag = answer.tag if len(pages) == 1 else ""
        except RescindError as error:
            return error
        return tag, known.list if found == known.list else found

    def _pages(self, place: Place, raw: bytes) -> list[UnsignedList]:
        """Read a list's first page and fetch those behind it; raises `RescindError`."""
        pages, cursors, begun = [], set[str](), self._clock.boot()
        while True:
            page, cursor = read_page(raw, place.issuer)
            pages.append(page)
            if not cursor:
                return pages
            if cursor in cursors:
                raise ListUnavailable("repeats a page: it does not understand its own cursor")
            cursors.add(cursor)
            if len(pages) == MAX_PAGES or self._clock.boot() - begun > MAX_PAGES_S:
                raise ListUnavailable(f"has not ended after {len(pages)} pages")
            answer = self._fetch(place.page(cursor), "")
            if answer.raw is None:
                raise ListUnavailable("answers a page with nothing")
            raw = answer.raw

    def _take(self, known: _Known, asked: "_Asked") -> None:
        known.due = self._clock.boot() + self._every_s * jitter(0.8, 1.2)
        if isinstance(asked, RescindError):
            self.fetches.add("failed")
            if known.unfetched != str(asked):
                log.warning(
                    "unsigned list of %s: %s; what was known of it denies on",
                    known.place.issuer,
                    asked,
                )
            known.unfetched = str(asked)
            return
        if known.unfetched not in ("", NEVER):
            log.info("unsigned list of %s is fetched again", known.place.issuer)
        known.unfetched = ""
        tag, found = asked
        self.fetches.add("unchanged" if found is known.list else "changed")
        known.list = found
        known.tag = tag  # last: a fork in between asks for the list again
        known.confirmed_at, known.confirmed_boot = self._clock.wall(), self._clock.boot()

    def _show(self) -> None:
        """Publish if anything is different: each change has every cached badge looked up again."""
        now = [known.list for known in self._known.values() if len(known.list)]
        if [id(each) for each in now] != [id(each) for each in self._shown.lists.values()]:
            self._shown = self._view.show_lists(now, self._shown)

    def _keep(self, known: _Known) -> None:
        at = known.confirmed_at
        if self._shelf is None or at is None or known.unfetched:
            return
        if known.kept is known.list and 0 <= at - known.kept_at < SAVE_EVERY_S:
            return
        place, found = known.place, known.list
        kept = Kept(
            place.issuer, place.url, known.tag, at, dict(found.killed), dict(found.suspended)
        )
        try:
            self._shelf.save(place, kept)
        except ListUnkept as error:
            self._say_unkept(known, f"{error}; a restart will not remember it")
        else:
            known.kept, known.kept_at, known.unkept = found, at, ""

    def _say_unkept(self, known: _Known, why: str) -> None:
        if known.unkept != why:
            log.error("unsigned list of %s: %s", known.place.issuer, why)
        known.unkept = why

    # --- questions, from any thread ---

    @property
    def troubles(self) -> dict[str, str]:
        """What is wrong, by what it is about; a sentence each."""
        return {
            f"unsigned list {known.place.issuer}": f"{known.place.shown} {known.trouble}"
            for known in self._known.values()
            if known.trouble
        }

    def standings(self) -> list[Standing]:
        """Return where each list stands."""
        return [self._standing(known) for known in self._known.values()]

    def _standing(self, known: _Known) -> Standing:
        age = known.age_s(self._clock)
        place = known.place
        return Standing(
            place.issuer, place.shown, len(known.list), None if age == inf else age, known.trouble
        )

    def metrics(self) -> list[Family]:
        """Return what a scrape gets, as of now."""
        now = self.standings()
        return list_families(
            {each.issuer: inf if each.age_s is None else each.age_s for each in now},
            {each.issuer: not each.trouble for each in now},
            {each.issuer: each.entries for each in now},
            self.fetches.read(),
        )


_Asked = tuple[str, UnsignedList] | RescindError
