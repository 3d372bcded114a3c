"""The event loop of a follower's thread, which nothing that gevent has replaced may hold up."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, TypeVar, TypeVarTuple, Unpack

from rescind_guard import native

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Loop(asyncio.SelectorEventLoop):
    """Waits in the system's own selector, and asks real threads for what blocks (names)."""

    def __init__(self) -> None:
        super().__init__(native.original("selectors", "DefaultSelector")())

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run it on a thread of its own; those of `concurrent.futures` may be greenlets."""
        if executor is not None:
            return super().run_in_executor(executor, func, *args)
        future: asyncio.Future[T] = self.create_future()

        def tell(done: Callable[[Any], None], said: object) -> None:
            if not future.done():  # nobody waits any more
                done(said)

        def run() -> None:
            done: Callable[[Any], None] = future.set_result
            said: object
            try:
                said = func(*args)
            except BaseException as error:  # noqa: BLE001 - it is who waits that raises it
                done, said = future.set_exception, error
            with suppress(RuntimeError):  # the loop is closed
                self.call_soon_threadsafe(tell, done, said)

        native.start(run, "rescind-blocking")
        return future


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run to its end on a loop of this thread; as `asyncio.run`."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main)
