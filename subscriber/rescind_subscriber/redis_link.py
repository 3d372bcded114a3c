"""One link to Redis for sources and sinks: a connection that is lost is replaced, for ever.

The same contract as the link to NATS: what cannot heal by itself is `SourceRefused` at the first
connection; later it is reported as the reason and tried again, for operators rotate passwords.
Each new connection asks anew where the server is: a Sentinel or a cluster may have moved it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import Any

from rescind_subscriber.errors import SourceRefused, SourceUnavailable
from rescind_subscriber.pace import Redial
from rescind_subscriber.redis_address import RedisOptions, parse
from rescind_subscriber.redis_connect import open_wire
from rescind_subscriber.redis_wire import OnPush, Wire
from rescind_subscriber.tasks import jitter

REFUSED_WAIT_S = 2.0
"""Between attempts while the server refuses us: no storm of failed log-ins."""
STOP_AGAIN_S = 0.1


class RedisLink:
    """Keeps one wire; `on_up` runs on each new one, `on_down` when it is lost.

    `on_up(wire)` subscribes or checks, and may raise either error to have the wire replaced.
    `on_down(why)` is a plain function. `slot_key` is any key of the fabric. `spread_s()`: over how
    long the fleet spreads its connections to a server that it has lost.
    """

    def __init__(
        self,
        options: RedisOptions,
        *,
        slot_key: str,
        on_up: Callable[[Wire], Awaitable[None]],
        on_down: Callable[[str], None],
        on_push: OnPush,
        spread_s: Callable[[], float] = float,
    ) -> None:
        self.place = parse(options.url)
        self._options, self._slot_key = options, slot_key
        self._on_up, self._on_down, self._on_push = on_up, on_down, on_push
        self._redial = Redial(spread_s)
        self._up_at = inf
        """When the present wire began to serve, on the loop's clock."""
        self._wire: Wire | None = None
        self._why = "not connected yet"
        self._runner: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<RedisLink {self.place.shown} {'up' if self.connected else 'down'}>"

    @property
    def connected(self) -> bool:
        """Whether requests can be made now."""
        return self._wire is not None

    @property
    def where(self) -> str:
        """Which server it is, for sentences."""
        return f"Redis at {self.place.shown}" if self._wire is None else self._wire.where

    async def start(self) -> None:
        """Make the first attempt, then go on for ever; raises `SourceRefused`, never weather."""
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._runner = asyncio.create_task(self._run(first), name=f"redis {self.place.shown}")
        try:
            await first
        except SourceRefused:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close, and stay closed."""
        runner, self._runner = self._runner, None
        while runner is not None and not runner.done():
            # Again and again: before Python 3.12 a cancellation can meet a result and be swallowed.
            runner.cancel()
            await asyncio.wait((runner,), timeout=STOP_AGAIN_S)

    async def request(self, *words: bytes | str | int) -> Any:
        """Ask on the present connection; see `Wire.request`."""
        return await self._up().request(*words)

    async def outcomes(self, *commands: Sequence[bytes | str | int]) -> list[Any]:
        """Ask several at once on the present connection; see `Wire.outcomes`."""
        return await self._up().outcomes(*commands)

    async def fresh_wire(self) -> Wire:
        """Return a connection of its own, for answers too large to share one with live events."""
        self._up()
        return await open_wire(self.place, slot_key=self._slot_key, name=self._options.name)

    def _up(self) -> Wire:
        if self._wire is None:
            raise SourceUnavailable(self._why)
        return self._wire

    async def _run(self, first: asyncio.Future[None]) -> None:
        while True:
            refused_s = 0.0
            try:
                await self._keep_one(first)
            except SourceRefused as error:
                self._note_down(str(error))
                refused_s = REFUSED_WAIT_S * jitter(0.5, 1.5)
                if not first.done():
                    first.set_exception(error)
                    return
            except SourceUnavailable as error:
                self._note_down(str(error))
            except Exception as error:  # noqa: BLE001 - a bug above must not end the link quietly
                self._note_down(f"internal error: {error!r}")
            if not first.done():
                first.set_result(None)
            up_s = max(0.0, asyncio.get_running_loop().time() - self._up_at)
            self._up_at = inf
            await asyncio.sleep(max(refused_s, self._redial.wait_s(up_s)))

    async def _keep_one(self, first: asyncio.Future[None]) -> None:
        """Connect, and return when the connection is lost."""
        wire = await open_wire(
            self.place, slot_key=self._slot_key, name=self._options.name, on_push=self._on_push
        )
        try:
            self._wire = wire
            await self._on_up(wire)
            self._up_at = asyncio.get_running_loop().time()
            if not first.done():
                first.set_result(None)
            # Shielded: a stop that cancels us must not cancel the wire's own future.
            self._note_down(await asyncio.shield(wire.lost))
        finally:
            self._wire = None
            await wire.close()

    def _note_down(self, why: str) -> None:
        self._wire, self._why = None, why
        self._on_down(why)
