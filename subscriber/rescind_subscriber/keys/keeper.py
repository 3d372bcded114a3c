"""`KeyKeeper`: keeps the keys of issuers up to date, in a thread of its own.

1. what a restart remembers is published first
2. every issuer is asked at once, then every `every_s`
3. one whose key a badge missed is asked at once, but not again within `miss_every_s`
4. one that does not answer is asked again after 5 s · 2ⁿ, ±25 %, and its keys stay as they are
5. keys that nobody confirmed for a day make no badge good

Agents' DID documents go the same way, by did:web: from the first badge that names one, and as long
as there are such badges. Issuers are asked first, and of documents only a few in one round.
"""

import logging
import random
import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import msgspec

from rescind_guard import didweb
from rescind_guard.errors import BadGuard
from rescind_guard.exposition import Family
from rescind_guard.freshness import SystemClock
from rescind_guard.issuers import IssuerKey, Issuers, KeySet, read_jwks
from rescind_guard.key_view import KeyView
from rescind_guard.metrics import Counter
from rescind_guard.view import View
from rescind_protocol import targets
from rescind_protocol.clock import Clock
from rescind_protocol.errors import Malformed
from rescind_protocol.targets import canonical_issuer
from rescind_subscriber.background import Background
from rescind_subscriber.errors import KeysUnavailable
from rescind_subscriber.keys import known as step
from rescind_subscriber.keys import trouble
from rescind_subscriber.keys.addresses import url_of
from rescind_subscriber.keys.agents import Agents
from rescind_subscriber.keys.known import MAX_AGE_S, Known
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
DOCUMENTS_A_ROUND = AT_ONCE
"""So that agents whose domain does not answer hold issuers up for one fetch at most."""
MAX_REPORTED = 5
"""Entries that cannot be used, named in one line of the log."""
AGENTS = "agents"
"""Folder, in that of the keys."""

Fetch = Callable[[str], bytes]
"""URL → document; raises `KeysUnavailable`."""


class KeyKeeper(Background):
    """Publishes keys in `view`; a `Guard` takes it in place of its issuers."""

    THREAD = "rescind-keys"

    def __init__(
        self,
        fetched: Iterable[str],
        fetch: Fetch,
        *,
        domains: Collection[str] = (),
        files: Issuers | None = None,
        kills: View | None = None,
        folder: Path | None = None,
        every_s: float = EVERY_S,
        miss_every_s: float = MISS_EVERY_S,
        clock: Clock | None = None,
    ) -> None:
        """`files`: issuers whose keys are known for good. Raises `BadGuard` for too many issuers.

        `domains`: patterns of those whose agents' DID documents are fetched;
        `kills`: where killed keys are looked up; `folder`: where keys are kept over a restart.
        """
        self._fetched = tuple(dict.fromkeys(canonical_issuer(iss) for iss in fetched))
        if len(self._fetched) > MAX_FETCHED:
            raise BadGuard(f"keys of at most {MAX_FETCHED} issuers are fetched")
        self._files = dict(files.items()) if files is not None else {}
        self._fetch, self._kills = fetch, kills
        self._shelf = KeyShelf(folder) if folder else None
        self._agents, self._domains = Agents(domains), tuple(domains)
        self._agents_shelf = KeyShelf(folder / AGENTS) if folder else None
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
        self._changed = False
        """Whether documents have to be published anew."""
        super().__init__()

    def __repr__(self) -> str:
        return f"<KeyKeeper {self.view.published!r}, {len(self.troubles)} unreachable>"

    # --- life ---

    def start(self) -> Self:
        """Publish what a restart remembers, then fetch in a thread; returns at once."""
        if self._thread is None and (self._fetched or self._domains):
            self.load()
            self._launch()
        return self

    def load(self) -> None:
        """Publish what was kept on disk."""
        for iss in self._fetched if self._shelf else ():
            found = self._shelf.load(iss) if self._shelf else None
            if found is not None and found.confirmed_at:
                self._known.setdefault(iss, found)
        if self._agents_shelf is not None:
            self._agents_shelf.prune(self._clock.wall() - MAX_AGE_S)
        self._publish()

    def _run(self, stopping: threading.Event) -> None:
        with ThreadPoolExecutor(AT_ONCE, "rescind-keys") as pool:
            while not stopping.is_set():
                try:
                    self.step(lambda due: list(pool.map(self._ask, due)))
                except Exception:
                    log.exception("fetching keys failed; it goes on")
                stopping.wait(TICK_S)

    # --- one round ---

    def step(self, ask_all: "Callable[[list[str]], list[Answer]] | None" = None) -> None:
        """Ask every issuer that is due, a few agents' domains, and publish what changed."""
        missed, boot = self.view.take_missed(), self._clock.boot()
        self._follow(self.view.take_used(), boot)
        for name in missed.intersection(self._due):
            again = self._asked.get(name, -self._miss_every_s) + self._miss_every_s
            self._due[name] = min(self._due[name], again)
        due = [iss for iss in self._fetched if self._due[iss] <= boot]
        dids = [did for did in self._agents if self._due[did] <= boot]
        due += sorted(dids, key=self._due.__getitem__)[:DOCUMENTS_A_ROUND]
        answers = ask_all(due) if ask_all else [self._ask(iss) for iss in due]
        for iss, answer in zip(due, answers, strict=True):
            self._take(iss, answer)
        self._publish()

    def _follow(self, named: Iterable[str], boot: float) -> None:
        """Take up the documents that badges name, and forget those that none does any more."""
        for did in self._agents.use(named, boot):
            self._due[did] = boot
            found = self._agents_shelf.load(did) if self._agents_shelf else None
            if found is not None and found.confirmed_at:
                self._known[did] = found
            self._changed = True
        for did in self._agents.forget(boot):
            self._changed = True
            for noted in (self._due, self._asked, self._failures, self._known, self.troubles):
                noted.pop(did, None)
            if self._agents_shelf is not None:
                self._agents_shelf.forget(did)

    def _ask(self, name: str) -> "Answer":
        try:
            if name in self._agents:
                return didweb.read_document(name, self._fetch(didweb.url_of(name)))
            return read_jwks(name, self._fetch(url_of(name)))
        except Malformed as error:
            return KeysUnavailable(str(error))
        except KeysUnavailable as error:
            return error
        except BadGuard as error:
            return KeysUnavailable(str(error))

    def _take(self, iss: str, answer: "Answer") -> None:
        boot = self._asked[iss] = self._clock.boot()
        self._changed = self._changed or iss in self._agents
        if isinstance(answer, KeysUnavailable):
            self._note_failure(iss, str(answer), boot)
            return
        self.fetches.add("fetched")
        recovered = self.troubles.pop(iss, None) is not None
        if recovered:
            log.info("keys of %s are fetched again", iss)
        self._failures.pop(iss, None)
        self._due[iss] = boot + self._every_s
        now = int(self._clock.wall())
        before = self._known.get(iss)
        found = self._known[iss] = step.merge(before, iss, answer, now, self._is_killed)
        if found.ignored and (before is None or before.ignored != found.ignored):
            log.warning("keys of %s: %s", iss, "; ".join(found.ignored[:MAX_REPORTED]))
        if recovered or iss not in self._agents or step.is_worth_a_write(before, found):
            self._save(found)

    def _save(self, found: Known) -> None:
        shelf = self._agents_shelf if found.iss in self._agents else self._shelf
        if shelf is not None:
            shelf.save(found)

    def _note_failure(self, iss: str, why: str, boot: float) -> None:
        self.fetches.add("failed")
        failures = self._failures[iss] = self._failures.get(iss, 0) + 1
        wait_s = min(self._every_s, RETRY_S * 2 ** min(failures - 1, 16))
        self._due[iss] = boot + wait_s * random.uniform(0.75, 1.25)  # noqa: S311 - spreads, no secret
        if self.troubles.get(iss) != why:
            log.warning("keys of %s cannot be fetched: %s", iss, why)
            known = self._known.get(iss) or Known(iss, 0, ())
            self._save(msgspec.structs.replace(known, trouble=why))
        self.troubles[iss] = why

    def _is_killed(self, thumbprint: str) -> bool:
        if self._kills is None:
            return False
        found = self._kills.published.table.get(targets.key(thumbprint).digest)
        return found is not None and found.cut >= 0

    def _publish(self) -> None:
        """Swap if anything is different: each swap has every cached badge verified again."""
        if self._changed:
            self._changed = False
            self.view.documents = self._documents()
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

    def _documents(self) -> dict[str, tuple[IssuerKey, ...]]:
        now = self._clock.wall()
        return {
            did: self._known[did].issuer_keys(now) for did in self._agents if did in self._known
        }

    # --- questions, from any thread ---

    def metrics(self) -> list[Family]:
        """Return what a scrape gets, as of now."""
        now = self._clock.wall()
        kept = [(iss, self._known.get(iss)) for iss in self._fetched]
        ages = {iss: now - found.confirmed_at for iss, found in kept if found is not None}
        troubled = {
            "issuer": sum(said is not None for said in self._judged(self._fetched).values()),
            "agent": sum(said is not None for said in self._judged(list(self._agents)).values()),
        }
        return key_families(ages, self.fetches.read(), troubled)

    def trouble(self) -> dict[str, str]:
        """Return what is wrong with keys and documents, for health checks; a sentence each."""
        return trouble.of_issuers(self._judged(self._fetched)) | trouble.of_agents(
            self._judged(list(self._agents))
        )

    def _judged(self, names: Iterable[str]) -> dict[str, str | None]:
        now, every_s = self._clock.wall(), self._every_s
        return {
            name: trouble.trouble_of(self._known.get(name), self.troubles.get(name), now, every_s)
            for name in names
        }


Answer = KeySet | KeysUnavailable
