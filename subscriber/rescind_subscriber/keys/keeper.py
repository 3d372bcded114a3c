"""`KeyKeeper`: keeps the keys of issuers up to date, in a thread of its own.

1. what a restart remembers is published first
2. every issuer is asked at once, then every `every_s`
3. one whose key a badge missed is asked at once, but not again within `miss_every_s`
4. one that does not answer is asked again after 5 s · 2ⁿ, ±25 %, and its keys stay as they are
5. keys that nobody confirmed for a day make no badge good
"""

import logging
import os
import random
import threading
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from rescind_guard.errors import BadGuard
from rescind_guard.exposition import Family
from rescind_guard.freshness import SystemClock
from rescind_guard.issuers import IssuerKey, Issuers, read_jwks
from rescind_guard.key_view import KeyView
from rescind_guard.metrics import Counter
from rescind_guard.view import View
from rescind_protocol import targets
from rescind_protocol.clock import Clock
from rescind_protocol.targets import canonical_issuer
from rescind_subscriber.errors import KeysUnavailable
from rescind_subscriber.keys import known as step
from rescind_subscriber.keys.addresses import url_of
from rescind_subscriber.keys.known import Known
from rescind_subscriber.keys.shelf import KeyShelf
from rescind_subscriber.metrics import key_families

log = logging.getLogger("rescind.keys")

EVERY_S = 300.0
MISS_EVERY_S = 30.0
"""Whoever sends unknown `kid`s makes us ask an issuer so often at most."""
RETRY_S = 5.0
TICK_S = 0.5
MAX_FETCHED = 64
"""Issuers whose keys are fetched; an allowlist is written by hand."""
AT_ONCE = 8
STOP_WITHIN_S = 2.0

Fetch = Callable[[str], bytes]
"""URL → document; raises `KeysUnavailable`."""


class KeyKeeper:
    """Publishes keys in `view`; a `Guard` takes it in place of its issuers."""

    def __init__(
        self,
        fetched: Iterable[str],
        fetch: Fetch,
        *,
        files: Issuers | None = None,
        kills: View | None = None,
        folder: Path | None = None,
        every_s: float = EVERY_S,
        miss_every_s: float = MISS_EVERY_S,
        clock: Clock | None = None,
    ) -> None:
        """`files`: issuers whose keys are known for good. Raises `BadGuard` for too many issuers.

        `kills`: where killed keys are looked up; `folder`: where keys are kept over a restart.
        """
        self._fetched = tuple(dict.fromkeys(canonical_issuer(iss) for iss in fetched))
        if len(self._fetched) > MAX_FETCHED:
            raise BadGuard(f"keys of at most {MAX_FETCHED} issuers are fetched")
        self._files = dict(files.items()) if files is not None else {}
        self._fetch, self._kills = fetch, kills
        self._shelf = KeyShelf(folder) if folder else None
        self._every_s, self._miss_every_s = every_s, miss_every_s
        self._clock = clock or SystemClock()
        self._known: dict[str, Known] = {}
        self._failures: dict[str, int] = {}
        self._asked: dict[str, float] = {}
        self._due: dict[str, float] = dict.fromkeys(self._fetched, 0.0)
        self.troubles: dict[str, str] = {}
        """Why an issuer's keys could not be fetched the last time, by issuer."""
        self.fetches = Counter()
        self.view = KeyView(Issuers(self._all()))
        self._reset()
        _every.add(self)

    def __repr__(self) -> str:
        return f"<KeyKeeper {self.view.published!r}, {len(self.troubles)} unreachable>"

    def _reset(self) -> None:
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    # --- life ---

    def start(self) -> Self:
        """Publish what a restart remembers, then fetch in a thread; returns at once."""
        if self._thread is None and self._fetched:
            self.load()
            self._thread = threading.Thread(target=self._run, name="rescind-keys", daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        """Stop fetching; keys stay as they are. A fetch under way ends by itself."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_WITHIN_S)
        self._reset()

    def after_fork(self) -> None:
        """In the child: a thread of its own."""
        running = self._thread is not None
        self._reset()
        if running:
            self.start()

    def load(self) -> None:
        """Publish what was kept on disk."""
        for iss in self._fetched if self._shelf else ():
            found = self._shelf.load(iss) if self._shelf else None
            if found is not None:
                self._known.setdefault(iss, found)
        self._publish()

    def _run(self) -> None:
        stopping = self._stopping
        with ThreadPoolExecutor(AT_ONCE, "rescind-keys") as pool:
            while not stopping.is_set():
                try:
                    self.step(lambda due: list(pool.map(self._ask, due)))
                except Exception:
                    log.exception("fetching keys failed; it goes on")
                stopping.wait(TICK_S)

    # --- one round ---

    def step(self, ask_all: "Callable[[list[str]], list[Answer]] | None" = None) -> None:
        """Ask every issuer that is due, and publish what changed."""
        missed, boot = self.view.take_missed(), self._clock.boot()
        for iss in missed.intersection(self._fetched):
            again = self._asked.get(iss, -self._miss_every_s) + self._miss_every_s
            self._due[iss] = min(self._due[iss], again)
        due = [iss for iss in self._fetched if self._due[iss] <= boot]
        answers = ask_all(due) if ask_all else [self._ask(iss) for iss in due]
        for iss, answer in zip(due, answers, strict=True):
            self._take(iss, answer)
        self._publish()

    def _ask(self, iss: str) -> "Answer":
        try:
            return read_jwks(iss, self._fetch(url_of(iss)))
        except KeysUnavailable as error:
            return error
        except BadGuard as error:
            return KeysUnavailable(str(error))

    def _take(self, iss: str, answer: "Answer") -> None:
        boot = self._asked[iss] = self._clock.boot()
        if isinstance(answer, KeysUnavailable):
            self._note_failure(iss, str(answer), boot)
            return
        self.fetches.add("fetched")
        if self.troubles.pop(iss, None) is not None:
            log.info("keys of %s are fetched again", iss)
        self._failures.pop(iss, None)
        self._due[iss] = boot + self._every_s
        now = int(self._clock.wall())
        found = step.merge(self._known.get(iss), iss, answer, now, self._is_killed)
        self._known[iss] = found
        if self._shelf is not None:
            self._shelf.save(found)

    def _note_failure(self, iss: str, why: str, boot: float) -> None:
        self.fetches.add("failed")
        failures = self._failures[iss] = self._failures.get(iss, 0) + 1
        wait_s = min(self._every_s, RETRY_S * 2 ** min(failures - 1, 16))
        self._due[iss] = boot + wait_s * random.uniform(0.75, 1.25)  # noqa: S311 - spreads, no secret
        if self.troubles.get(iss) != why:
            log.warning("keys of %s cannot be fetched: %s", iss, why)
        self.troubles[iss] = why

    def _is_killed(self, thumbprint: str) -> bool:
        if self._kills is None:
            return False
        found = self._kills.published.table.get(targets.key(thumbprint).digest)
        return found is not None and found.cut >= 0

    def _publish(self) -> None:
        """Swap if anything is different: each swap has every cached badge verified again."""
        now = self._all()
        at = self.view.published
        if any(at[iss] != keys for iss, keys in now.items()):
            self.view.swap(Issuers(now))

    def _all(self) -> dict[str, tuple[IssuerKey, ...]]:
        now = self._clock.wall()
        live = {
            iss: self._known[iss].issuer_keys(now) if iss in self._known else ()
            for iss in self._fetched
        }
        return {**self._files, **live}

    # --- questions, from any thread ---

    def metrics(self) -> list[Family]:
        """Return what a scrape gets, as of now."""
        now = self._clock.wall()
        ages = {iss: now - found.confirmed_at for iss, found in list(self._known.items())}
        return key_families(ages, self.fetches.read())


Answer = tuple[IssuerKey, ...] | KeysUnavailable
_every: "weakref.WeakSet[KeyKeeper]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for keeper in list(_every):
        keeper.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
