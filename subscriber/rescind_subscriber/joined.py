"""What is joined: the state that serves, the one being built beside it, and whom both go by.

The next version of the trust file is gone by as soon as it is heard. Where it, or a retirement,
makes void what is held, the state is built anew (`rebuild`); all that is stored is read again.
"""

import logging
from collections.abc import Callable, Iterable, Mapping

from rescind_guard.metrics import Counter
from rescind_protocol import trust as trusts
from rescind_protocol.errors import RescindError, TrustBroken, TrustGap
from rescind_protocol.events import Event
from rescind_protocol.heads import Head
from rescind_protocol.image import Image
from rescind_protocol.join import Outcome, Replica, ViewReplica
from rescind_protocol.trust import Trust
from rescind_subscriber.faults import Fault, Faults
from rescind_subscriber.memory import positions_of
from rescind_subscriber.rebuild import Rebuild, complete

log = logging.getLogger("rescind.subscriber")


class Joined:
    """Used by the one thread that writes the view."""

    def __init__(self, trust: Trust, counts: Counter, faults: Faults) -> None:
        self.trust = trust
        """Whom we go by now."""
        self.serving: Replica = ViewReplica(trust.cut)
        """The state that the view shows."""
        self.read_by = trust.version
        """The version of the trust by which it came about."""
        self.oldest_trust = 0
        """The version of the trust that was gone by before; an older one proves nothing."""
        self.rereads = 0
        """How often it was found that all that is stored has to be read again."""
        self.on_trust: list[Callable[[Trust], None]] = []
        """Called with each newer trust, before it is gone by."""
        self._rebuild: Rebuild | None = None
        self._counts, self._faults = counts, faults

    @property
    def target(self) -> Replica:
        """The state that is to be complete: the one being built, if there is one."""
        return self.serving if self._rebuild is None else self._rebuild.replica

    @property
    def rebuilding(self) -> bool:
        """Whether the state is being built anew."""
        return self._rebuild is not None

    @property
    def settled(self) -> bool:
        """Whether the trust is no older than before, and all that it and retirements end is here.

        Nothing makes fresh before.
        """
        return (
            self._rebuild is None
            and self.trust.version >= self.oldest_trust
            and complete(self.serving, self.trust)
        )

    @property
    def required(self) -> list[str]:
        """Publishers without whose heads nothing is fresh: those of the trust that are not gone."""
        has_retired = self.target.cuts.has_retired
        return [name for name in self.trust.required if not has_retired(self.trust.heading(name))]

    def apply(self, event: Event) -> tuple[Outcome, Outcome]:
        """Join an event; what became of it where it serves, and where it is to be complete."""
        served = self.serving.apply(event)
        return served, served if self._rebuild is None else self._rebuild.replica.apply(event)

    def usable(self, image: Image, version: int) -> bool:
        """Whether a snapshot by a version of the trust may be merged: nothing in it is void."""
        if self._rebuild is not None and self._rebuild.pure:
            return False
        return self.trust.reads_alike(image, version) and self.target.accepts(image)

    # --- time ---

    def advance_horizon(self, head: Head) -> bool:
        """Drop what has expired; whether anything was dropped that serves.

        Also of logs that no head names any more, and, by a required publisher's head, of logs that
        have ended: nobody else signs a time for these.
        """
        logs = [log for log in self.serving.vector if self._is_timed_by(head, log)]
        if self._rebuild is not None:
            self._rebuild.replica.advance_horizon(head, logs)
        return self.serving.advance_horizon(head, logs)

    def _is_timed_by(self, head: Head, name: str) -> bool:
        owner = self.trust.owner(name)
        if owner is not None and owner.publisher == head.publisher:
            return True
        return head.publisher in self.trust.required and self.target.cuts.of(name) is not None

    def is_beyond_end(self, head: Head) -> bool:
        """Whether a log goes on where it ended: a publisher that was retired and has come back."""
        ends = ((at, self.target.cuts.of(name)) for name, at in head.logs.items())
        return any(cut is not None and at.seq > cut.seq for at, cut in ends)

    # --- trust ---

    def take_version(self, raw: bytes) -> bool:
        """Go by a version of the trust file if it is the next one; False: its turn will come."""
        if raw in self.trust.raws:
            self._counts.add("trust_known")
            return True
        try:
            newer = trusts.extend(self.trust, raw)
        except TrustGap:
            self._counts.add("trust_gap")
            return False
        except TrustBroken as error:
            self._counts.add("trust_broken")
            self._faults.note(Fault.TRUST_BROKEN, f"trust version refused: {error}")
        except RescindError as error:
            self._counts.add(error.code.lower())
            self._faults.note(Fault.FORGED, f"trust version rejected: {error}", about="trust")
        else:
            self.adopt(newer)
        return True

    def adopt(self, trust: Trust) -> None:
        """Go by a newer trust from now on; everything that is stored is read again by it."""
        for keep in self.on_trust:
            keep(trust)
        log.warning("trust version %d is gone by, after %d", trust.version, self.trust.version)
        self._counts.add("trust_adopted")
        self.trust = trust
        self.serving.cuts.by_root = trust.cut
        if self._rebuild is None and trust.reads_alike(positions_of(self.serving), self.read_by):
            self.read_by = trust.version
            self.rereads += 1
        else:
            self.rebuild()

    # --- building anew ---

    def rebuild(self) -> None:
        """Build the state anew: what serves goes on, and nothing is fresh until it is done."""
        self._counts.add("rebuild")
        self._faults.note(Fault.REBUILDING, "what is held is void in part: it is built anew")
        self._rebuild = Rebuild(type(self.serving), self.trust, self.serving)
        self.rereads += 1

    def settle(self, heard: Mapping[str, Head]) -> bool:
        """Build anew where void things are held, or take over what is built; whether it was.

        `heard`: the newest head of each publisher.
        """
        if self._rebuild is None:
            if self.serving.spoiled:
                self.rebuild()
            return False
        if self._rebuild.replica.spoiled:
            self._rebuild.restart()
            self.rereads += 1
            return False
        return self._take_over(self._rebuild, heard)

    def _take_over(self, built: Rebuild, heard: Mapping[str, Head]) -> bool:
        heads: Iterable[Head | None] = map(heard.get, self.required)
        if not all(head is not None and built.replica.covers(head) for head in heads):
            return False
        if not (complete(built.replica, self.trust) and built.has_all()):
            return False
        self.serving, self._rebuild, self.read_by = built.replica, None, self.trust.version
        self._counts.add("rebuilt")
        log.warning("the state is built anew, by trust version %d", self.trust.version)
        return True
