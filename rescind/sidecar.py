"""`Sidecar`: a subscriber and a guard over its view, from settings; what `protect` runs."""

import logging
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rescind import compose, config, hosts, leaving, listing, policies, recording
from rescind_guard.exposition import Family
from rescind_guard.policy import Policy, fault, trouble
from rescind_guard.recorders import Recorder

if TYPE_CHECKING:
    from rescind.monitor import Health, Monitor

log = logging.getLogger("rescind")


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
        self.keys = compose.make_keys(self.loaded, self.subscriber.view)
        """Fetches issuers' keys; None if all of them are files."""
        self.lists = listing.make(self.loaded, self.subscriber.view)
        """Follows unsigned lists; None if there are none."""
        kept = policies.keep(self.loaded, policy)
        self._policy, self._policy_keepers = kept.policy, kept.keepers
        self.decision_log = recording.make(self.loaded, kept.policy)
        """Writes each decision down while it runs, if `decision_log` is set."""
        self.guard = compose.make_guard(
            self.loaded,
            self.subscriber.view,
            keys=self.keys.view if self.keys else None,
            policy=kept.policy,
            recorder=recording.both(recorder, self.decision_log),
        )

        self.monitor: Monitor | None = None
        """Answers `/metrics`, `/healthz` and `/readyz` while it runs, if `metrics_port` is set."""

    def __repr__(self) -> str:
        return f"<Sidecar {self.subscriber!r} {self.guard!r}>"

    def start(self) -> Self:
        """Start following, in a thread; returns at once. In a master of uWSGI its workers do.

        `BadConfig` where no thread of ours would run.
        """
        hosts.check()
        if hosts.later(self._start):
            return self
        return self._start()

    def _start(self) -> Self:
        port = self.loaded.settings.metrics_port
        if port is not None and self.monitor is None:
            from rescind.monitor import Monitor  # noqa: PLC0415 - only when asked for

            self.monitor = Monitor(port, self.metrics, self.health).start()
            log.info("metrics at %s/metrics", self.monitor.url)
        if self.decision_log is not None:
            self.decision_log.start()
        if self.lists is not None:
            self.lists.start()
        self.subscriber.start()
        if self.keys is not None:
            self.keys.start()
        for keeper in self._policy_keepers:
            keeper.start()
        leaving.arm(self)
        return self

    def metrics(self) -> list[Family]:
        """Return what a scrape gets, as of now."""
        keys = self.keys.metrics() if self.keys is not None else []
        lists = self.lists.metrics() if self.lists is not None else []
        recorded = self.decision_log.metrics() if self.decision_log is not None else []
        return [*self.subscriber.metrics(), *keys, *lists, *self.guard.metrics(), *recorded]

    def health(self) -> "Health":
        """Return state and troubles, as `/readyz` shows them."""
        from rescind.monitor import health_of  # noqa: PLC0415 - only when asked for

        found = self.keys.trouble() if self.keys else {}
        found = found | (self.lists.troubles if self.lists is not None else {})
        why = fault(self._policy) or trouble(self._policy)
        return health_of(self.subscriber.status(), {**found, "policy": why} if why else found)

    def stop(self) -> None:
        """Stop following; the guard goes on with a view that ages."""
        leaving.disarm(self)
        self.subscriber.stop()
        if self.decision_log is not None:
            self.decision_log.stop()
        for keeper in self._policy_keepers:
            keeper.stop()
        if self.keys is not None:
            self.keys.stop()
        if self.lists is not None:
            self.lists.stop()
        if self.monitor is not None:
            self.monitor.stop()
            self.monitor = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.stop()
