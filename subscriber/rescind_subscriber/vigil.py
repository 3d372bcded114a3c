"""Watches the state of a subscription, and says when it changes: a quiet decline is an outage."""

import asyncio
import logging
from collections.abc import Callable

from rescind_subscriber.faults import Fault, Faults
from rescind_subscriber.states import Observed, State, derive

log = logging.getLogger("rescind.subscriber")

_FAULTS = {State.LAGGING: Fault.HEADS_LATE, State.STALE: Fault.STALE}


class Vigil:
    """Looks at the state from time to time; belongs to the loop."""

    def __init__(self, observe: Callable[[], Observed], faults: Faults, every_s: float) -> None:
        self.state = State.SYNCING
        self._observe = observe
        self._faults = faults
        self._every_s = every_s

    async def run(self) -> None:
        """Look for ever."""
        while True:
            self.look()
            await asyncio.sleep(self._every_s)

    def look(self) -> None:
        """Note what has changed since the last look."""
        seen = self._observe()
        state, before = derive(seen), self.state
        if state is before:
            return
        self.state = state
        sentence = f"the view is {state}, it was {before}; proven {seen.age_s:.1f} s ago"
        if state in _FAULTS:
            self._faults.note(_FAULTS[state], sentence)
        else:
            log.info("%s", sentence)
