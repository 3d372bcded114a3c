"""`KillSwitch`: the face that people and programs hold.

It turns what was asked into a request. An `Engine` does it: a `Publisher` in this process, or a
`ControlClient` that hands it to the one that runs on this host.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Protocol, Self

from rescind_protocol.changes import Effect
from rescind_protocol.errors import RescindError
from rescind_protocol.targets import Target
from rescind_publisher.applied import Applied
from rescind_publisher.asks import Ask, Expiry, Moment, default_actor, seconds, to_spec
from rescind_publisher.errors import BadRequest
from rescind_publisher.receipts import Receipt, merged
from rescind_publisher.requests import MAX_KILLS, EndRequest, KillRequest, Order, RetireRequest

_log = logging.getLogger(__name__)
Told = Callable[[Applied], None]
"""Hears how far the subscribers are; must not block."""
TIMEOUT_S = 2.0
"""How long a call waits for the sinks after the kill was accepted."""


def _careful(told: Told) -> Told:
    """Return one that raises nothing: the kill is accepted, and its receipt is to come back."""

    def tell(applied: Applied) -> None:
        try:
            told(applied)
        except Exception:  # noqa: BLE001 - whatever a caller's own code raises
            _log.exception("what was to hear how far the subscribers are failed")

    return tell


class Engine(Protocol):
    """Whatever does the work: a publisher here, or one behind a socket."""

    def start(self) -> None:
        """Make ready, or raise."""
        ...

    def submit(self, order: Order, told: Told | None = None) -> Receipt:
        """Do what is asked, or raise with nothing accepted; `told` hears of the way to it."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


class KillSwitch:
    """Kill, reinstate, retract. A context manager; thread-safe.

        with KillSwitch(engine) as switch:
            print(switch.kill(agent("did:web:acme.example:x7"), reason_admin="INC-412"))

    Every call returns once the request is committed on this host's disk and the brokers have it or
    are known to be away, `timeout_s` at most; the receipt says which.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __repr__(self) -> str:
        return f"<KillSwitch by {self._engine!r}>"

    def __enter__(self) -> Self:
        self._engine.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.close()

    def kill(
        self,
        target: Target | str,
        *,
        reason: str = "unspecified",
        reason_admin: str | None = None,
        reason_user: str | None = None,
        effect: Effect = Effect.USE,
        expires: Expiry | None = None,
        issued_before: Moment | None = None,
        badge_exp: int | None = None,
        actor: str | None = None,
        timeout_s: float = TIMEOUT_S,
        wait_s: float = 0.0,
        told: Told | None = None,
    ) -> Receipt:
        """Deny `target` everywhere: a target, or a badge's token, which names its own badge.

        Without `expires` a badge's kill outlives every badge (3900 s), or this one (`badge_exp` +
        180 s, for an `exp` whose signature was verified); any other lasts until it is reinstated.
        `issued_before` spares badges issued later. `reason_user` may be shown to the caller,
        `reason_admin` never. Raises `BadRequest`, `NotPermitted`, `QuotaExceeded`, `SpoolFailed`:
        nothing was accepted then.

        `wait_s`: also wait, so long at most, until the subscribers say that they have applied it;
        `Receipt.applied` has who did, who did not, and how many calls passed before. `told` is
        called with it every 0.1 s meanwhile, on any thread.
        """
        ask = Ask(
            target=target,
            reason=reason,
            reason_admin=reason_admin,
            reason_user=reason_user,
            effect=effect,
            expires=expires,
            issued_before=issued_before,
            badge_exp=badge_exp,
        )
        return self.kill_many([ask], actor=actor, timeout_s=timeout_s, wait_s=wait_s, told=told)

    def kill_many(
        self,
        kills: Iterable[Ask | Target | str],
        *,
        actor: str | None = None,
        timeout_s: float = TIMEOUT_S,
        wait_s: float = 0.0,
        told: Told | None = None,
    ) -> Receipt:
        """Kill many targets in as few events as they fit into: all are accepted, or none.

        More than `MAX_KILLS` are several requests: where one is refused, its error says how many
        were accepted before. Only the last one waits for the subscribers; who has it has them all.
        """
        specs = tuple(to_spec(k if isinstance(k, Ask) else Ask(target=k)) for k in kills)
        if not specs:
            raise BadRequest("there is nothing to kill")
        done: list[Receipt] = []
        for start in range(0, len(specs), MAX_KILLS):
            some = specs[start : start + MAX_KILLS]
            is_last = start + len(some) == len(specs)
            request = KillRequest(
                kills=some,
                actor=actor or default_actor(),
                timeout_s=timeout_s,
                wait_s=wait_s if is_last else 0.0,
            )
            try:
                done.append(self._engine.submit(request, None if told is None else _careful(told)))
            except RescindError as error:
                if start:
                    error.args = (f"{error}; the first {start} of {len(specs)} were killed before",)
                raise
        return done[0] if len(done) == 1 else merged(done)

    def reinstate(
        self,
        target: Target,
        *,
        floor: Moment | None = None,
        reason: str = "unspecified",
        reason_admin: str | None = None,
        actor: str | None = None,
        timeout_s: float = TIMEOUT_S,
        wait_s: float = 0.0,
        told: Told | None = None,
    ) -> Receipt:
        """End every live kill of `target`; badges issued up to `floor` (now + 60 s) stay dead.

        Raises `NothingLive` where no kill is known, `BadRequest` for a badge: its `iat` never
        changes, so that it would stay dead (see `retract`).
        """
        return self._engine.submit(
            EndRequest(
                target=target,
                floor=None if floor is None else seconds("floor", floor),
                reason=reason,
                reason_admin=reason_admin,
                actor=actor or default_actor(),
                timeout_s=timeout_s,
                wait_s=wait_s,
            ),
            told,
        )

    def retire(
        self,
        publisher: str,
        *,
        force: bool = False,
        reason: str = "unspecified",
        reason_admin: str | None = None,
        actor: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Receipt:
        """Go on without a publisher that is gone; the receipt's warnings say where its logs end.

        Raises `BadRequest` where it is alive, or where something of it may be missing here; with
        `force` that is given up.
        """
        return self._engine.submit(
            RetireRequest(
                publisher=publisher,
                force=force,
                reason=reason,
                reason_admin=reason_admin,
                actor=actor or default_actor(),
                timeout_s=timeout_s,
            )
        )

    def retract(
        self,
        target: Target,
        *,
        reason: str = "unspecified",
        reason_admin: str | None = None,
        actor: str | None = None,
        timeout_s: float = TIMEOUT_S,
        wait_s: float = 0.0,
        told: Told | None = None,
    ) -> Receipt:
        """Take every live kill of `target` back as a mistake: every badge it killed lives again."""
        return self._engine.submit(
            EndRequest(
                target=target,
                retract=True,
                reason=reason,
                reason_admin=reason_admin,
                actor=actor or default_actor(),
                timeout_s=timeout_s,
                wait_s=wait_s,
            ),
            told,
        )
