"""`BadgeKeeper`: an agent's badge, always one that lives, renewed in a thread of its own.

    with BadgeKeeper(RegistryClient("https://registry.example", did, key, clock=clock)) as keeper:
        call(headers={"X-Capiscio-Badge": keeper.badge()})

Routine revocation needs no more than this: a suspended agent is refused its next badge, the keeper
stops, and the last badge dies within its life. With a subscriber to watch, a badge that was killed
while its agent was not is replaced at once.
"""

import logging
import random
import threading
from typing import Protocol, Self

from rescind_guard.freshness import SystemClock
from rescind_guard.view import View
from rescind_protocol.clock import Clock
from rescind_subscriber.errors import BadgeRefused, BadgeUnavailable
from rescind_subscriber.listeners import Applied, OnApplied
from rescind_subscriber.renewal import Answer, Issued, Refused, Renewal, Unavailable

_log = logging.getLogger("rescind.keeper")

STOP_WITHIN_S = 15.0
"""A request under way ends within 10 s."""
FIRST_WITHIN_S = 15.0


class Fetching(Protocol):
    """Where badges come from: a `RegistryClient`."""

    def fetch(self) -> Answer:
        """Ask for a badge; never raises."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


class Watched(Protocol):
    """Who knows what was killed: a `Subscriber`."""

    @property
    def view(self) -> View:
        """What is killed."""
        ...

    @property
    def on_applied(self) -> OnApplied:
        """Called after each event, and after what a snapshot brought."""
        ...


class BadgeKeeper:
    """Keeps one agent's badge. Thread-safe; a context manager."""

    def __init__(
        self, client: Fetching, *, watch: Watched | None = None, clock: Clock | None = None
    ) -> None:
        self._client, self._watch = client, watch
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._settled = threading.Event()
        self._ending = False
        self._at = Renewal()
        self._thread = threading.Thread(target=self._run, name="rescind-keeper", daemon=True)

    def __repr__(self) -> str:
        at = self._at
        held = f"badge {at.held.badge.jti}" if at.held else "no badge"
        state = "stopped" if at.stopped else "running"
        return f"<BadgeKeeper {state}, {held}{f', {at.problem}' if at.problem else ''}>"

    # --- life ---

    def start(self) -> Self:
        """Start renewing, and wait for the first answer."""
        if self._watch is not None:
            self._watch.on_applied.append(self._applied)
        self._thread.start()
        self._settled.wait(FIRST_WITHIN_S)
        return self

    def stop(self) -> None:
        """Stop renewing; the badge in hand lives on until its end."""
        self._ending = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_WITHIN_S)
        if self._watch is not None and self._applied in self._watch.on_applied:
            self._watch.on_applied.remove(self._applied)
        self._client.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- questions ---

    def badge(self) -> str:
        """Return the badge to call with.

        Raises `BadgeRefused` once the registry has refused the agent, `BadgeUnavailable` while
        there is none that lives.
        """
        at = self._at
        token = at.token(self._clock.boot())
        if token is not None:
            return token
        if at.stopped:
            raise BadgeRefused(at.problem)
        raise BadgeUnavailable(at.problem or "no badge was fetched yet")

    @property
    def stopped(self) -> bool:
        """Whether the registry has refused the agent: no badge comes any more."""
        return self._at.stopped

    def denied(self, token: str) -> None:
        """Say that a guard called this badge revoked: if it is the one in hand, get another."""
        with self._lock:
            held = self._at.held
            if held is not None and held.badge.token == token:
                self._at = self._at.killed(self._clock.boot())
        self._wake.set()

    # --- the loop ---

    def _applied(self, _: Applied) -> None:
        """Look whether the badge in hand was killed; on the subscriber's thread, so shortly."""
        if self._watch is None:
            return
        with self._lock:
            held = self._at.held
            table = self._watch.view.published.table
            if held is not None and table.killer(held.badge.targets, held.badge.iat) is not None:
                self._at = self._at.killed(self._clock.boot())
                self._wake.set()

    def _run(self) -> None:
        while not self._ending and (due := self._at.due) is not None:
            wait_s = due - self._clock.boot()
            if wait_s > 0:
                self._wake.wait(wait_s)
                self._wake.clear()
                continue
            self._renew()

    def _renew(self) -> None:
        answer = self._client.fetch()
        with self._lock:
            self._at = self._at.answered(answer, self._clock.boot(), random.random)
        self._settled.set()
        match answer:
            case Refused(why):
                _log.warning("no badge is given any more: %s", why)
            case Unavailable(why, _):
                _log.warning("no new badge yet: %s", why)
            case Issued(jti=jti):
                _log.info("badge %s", jti)
