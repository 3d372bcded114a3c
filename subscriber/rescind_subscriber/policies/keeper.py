"""`PolicyKeeper`: puts newer policies in force, in a thread of its own (ADR 30).

1. what is there without a network is in force before the first call
2. from then on the place is looked at every so many seconds; nothing of it is on a call's path
3. what is new is compiled and asked once beside, and in force only if it answers
4. else what was in force stays, and the reason shows: in the log, `/readyz`, the metric
   `rescind_guard_policy_current`. Where nothing was in force, every call is denied
"""

import logging
import random
import threading

from rescind_guard.policy import PolicyFailed
from rescind_subscriber.background import Background
from rescind_subscriber.errors import PolicyUnavailable
from rescind_subscriber.policies.base import PolicySource, Taker

log = logging.getLogger("rescind.policy")


class PolicyKeeper(Background):
    """Keeps one policy as its place says it; the thread that runs `step` is the only one."""

    THREAD = "rescind-policy"

    def __init__(self, policy: Taker, source: PolicySource) -> None:
        self._policy, self._source = policy, source
        self._refused: str | None = None
        """Why the newest that was seen is not in force; None: it is."""
        self._told: str | None = None
        super().__init__()

    def __repr__(self) -> str:
        return f"<PolicyKeeper {self._policy.version} from {self._source!r}>"

    def _run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            self.step()
            stopping.wait(self._source.every_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads

    # --- one look ---

    def load(self) -> None:
        """Put in force what is there without a network."""
        try:
            self._take(first=True)
        except PolicyFailed as error:
            self._refuse(str(error))

    def step(self) -> None:
        """Look once, and put in force what is new and works; whatever is wrong shows."""
        try:
            self._take(first=False)
        except PolicyUnavailable as error:
            self._fail(str(error))  # weather: what was refused before is refused still
        except PolicyFailed as error:
            self._refuse(str(error))
        except Exception as error:
            # Refused and not only shown: the next look finds nothing new, and would call it good.
            log.exception("keeping the policy up to date failed; it goes on")
            self._refuse(f"a defect: {type(error).__name__}")

    def _take(self, *, first: bool) -> None:
        found = self._source.load() if first else self._source.look()
        if found is not None:
            self._refused = None
            before = self._policy.version
            self._policy.take(found)
            self._source.taken()
            if self._policy.version != before:
                log.info("policy %s is in force, after %s", self._policy.version, before)
        if self._refused is not None:
            self._fail(self._refused)
        elif found is not None or not first:
            self._policy.confirm()
            self._told = None

    def _refuse(self, why: str) -> None:
        self._refused = why
        self._fail(why)

    def _fail(self, why: str) -> None:
        self._policy.fail(why)
        if why != self._told:
            self._told = why
            stays = (
                "every call is denied" if self._policy.fault else f"{self._policy.version} stays"
            )
            log.error("a policy is not in force, %s: %s", stays, why)
