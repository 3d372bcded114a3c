"""`AsyncKillSwitch`: the kill switch for `async` programs."""

import asyncio
from collections.abc import Iterable
from typing import Self

from rescind_protocol.changes import Effect
from rescind_protocol.targets import Target
from rescind_publisher.asks import Ask, Expiry, Moment
from rescind_publisher.receipts import Receipt
from rescind_publisher.switch import TIMEOUT_S, Engine, KillSwitch, Told


class AsyncKillSwitch:
    """The same for `async` programs; the loop is never blocked, and a cancelled call still counts.

    `switch` is the synchronous face; its calls run in threads.
    """

    def __init__(self, engine: Engine) -> None:
        self.switch = KillSwitch(engine)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.switch.__enter__)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.switch.__exit__)

    async def kill(
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
        """See `KillSwitch.kill`."""
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
        return await self.kill_many(
            [ask], actor=actor, timeout_s=timeout_s, wait_s=wait_s, told=told
        )

    async def kill_many(
        self,
        kills: Iterable[Ask | Target | str],
        *,
        actor: str | None = None,
        timeout_s: float = TIMEOUT_S,
        wait_s: float = 0.0,
        told: Told | None = None,
    ) -> Receipt:
        """See `KillSwitch.kill_many`."""
        return await asyncio.to_thread(
            self.switch.kill_many,
            list(kills),
            actor=actor,
            timeout_s=timeout_s,
            wait_s=wait_s,
            told=told,
        )

    async def reinstate(
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
        """See `KillSwitch.reinstate`."""
        return await asyncio.to_thread(
            self.switch.reinstate,
            target,
            floor=floor,
            reason=reason,
            reason_admin=reason_admin,
            actor=actor,
            timeout_s=timeout_s,
            wait_s=wait_s,
            told=told,
        )

    async def retract(
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
        """See `KillSwitch.retract`."""
        return await asyncio.to_thread(
            self.switch.retract,
            target,
            reason=reason,
            reason_admin=reason_admin,
            actor=actor,
            timeout_s=timeout_s,
            wait_s=wait_s,
            told=told,
        )
