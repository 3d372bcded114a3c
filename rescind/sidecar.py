"""`Sidecar`: a subscriber and a guard over its view, from settings; what `protect` runs."""

from types import TracebackType
from typing import Any, Self

from rescind import compose, config
from rescind_guard.guard import Recorder
from rescind_guard.policy import Policy


class Sidecar:
    """Keeps a view up to date and checks badges against it.

    `settings` are names of `rescind.config.Settings`, over environment and file. Starts following
    when it is entered or `start` is called; raises `BadConfig` and its kin when it is made.
    """

    def __init__(
        self, *, policy: Policy | None = None, recorder: Recorder | None = None, **settings: Any
    ) -> None:
        self.loaded = config.load(settings)
        self.subscriber = compose.make_subscriber(self.loaded)
        self.guard = compose.make_guard(
            self.loaded, self.subscriber.view, policy=policy, recorder=recorder
        )

    def __repr__(self) -> str:
        return f"<Sidecar {self.subscriber!r} {self.guard!r}>"

    def start(self) -> Self:
        """Start following, in a thread; returns at once."""
        self.subscriber.start()
        return self

    def stop(self) -> None:
        """Stop following; the guard goes on with a view that ages."""
        self.subscriber.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.stop()
