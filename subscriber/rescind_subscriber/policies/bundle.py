"""A policy from a signed bundle that a server has: fetched beside the calls, kept on disk.

What is kept is the bundle itself: a restart verifies it as if it had just come, by the keys that
count then, and knows by it when the newest was signed.
"""

import logging
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from rescind_guard.policy import PolicyFailed
from rescind_guard.policy_files import Modules
from rescind_subscriber import durable
from rescind_subscriber.policies.fetch import Answer
from rescind_subscriber.policies.opened import MAX_BYTES, Opened, Trusted, check_newer, open_bundle

log = logging.getLogger("rescind.policy")

EVERY_S = 10.0
"""interop.md §3: clients of the reference poll as often."""
Fetch = Callable[[str], Answer | None]
"""Known entity tag → what the server has, None for the same; raises `PolicyUnavailable`."""


class BundleSource:
    """One bundle; see `PolicySource`."""

    def __init__(
        self, fetch: Fetch, trusted: Trusted, kept: Path | None = None, *, every_s: float = EVERY_S
    ) -> None:
        """`kept`: the file in which the bundle in force is kept over a restart."""
        self.every_s = every_s
        self._fetch, self._trusted, self._kept = fetch, trusted, kept
        self._etag = ""
        self._seen = b""
        """SHA-256 of the newest that came, good or bad."""
        self._offered: tuple[Opened, bytes] | None = None
        self._in_force: Opened | None = None

    def __repr__(self) -> str:
        return f"<BundleSource {self._fetch!r}>"

    def load(self) -> Modules | None:
        """Return what a restart remembers, verified again; raises `PolicyFailed`."""
        raw = self._read()
        if raw is None:
            return None
        self._seen = sha256(raw).digest()
        return self._open(raw)

    def look(self) -> Modules | None:
        """Fetch what is new and open it; see `PolicySource`."""
        answer = self._fetch(self._etag)
        if answer is None:
            return None
        digest = sha256(answer.raw).digest()
        self._etag = answer.etag
        if digest == self._seen:
            return None  # from a server that sends no entity tags
        self._seen = digest
        return self._open(answer.raw)

    def _open(self, raw: bytes) -> Modules:
        self._offered = None
        found = open_bundle(raw, self._trusted)
        check_newer(found, self._in_force)
        self._offered = found, raw
        return found.modules

    def taken(self) -> None:
        """Keep what was opened last: it is in force."""
        if self._offered is None:
            return
        (self._in_force, raw), self._offered = self._offered, None
        if self._kept is None:
            return
        try:
            self._kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            durable.replace_durably(self._kept, [raw])
        except OSError as error:
            log.warning("the policy bundle cannot be kept in %s: %s", self._kept, error)

    def _read(self) -> bytes | None:
        if self._kept is None:
            return None
        try:
            with self._kept.open("rb") as file:
                return file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PolicyFailed(f"{self._kept} cannot be read: {error.strerror}") from error
