"""The pure step between bytes and view: no I/O, no task, no clock of its own.

Whatever comes from whichever source, in any order, any number of times, goes through `event`,
`batch` or `head`. What it may do to the view:

- a verified event is joined in (I2) and the table swapped;
- a head freshens only if it is signed, recent, not ahead, by an unexpired key, names no newer trust
  and is covered by what is applied here, digest for digest (I4); one event never freshens;
- an event by a trusted key that cannot be read makes the view not fresh until a restart (I10);
- the next version of the trust file is gone by from then on; where it, or a retirement, makes void
  what is held here, the state is built anew beside the one that serves (`rebuild`).

It returns whether something is missing that a source may have stored.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from math import inf

import msgspec

from rescind_guard.errors import TwoWriters
from rescind_guard.metrics import Counter
from rescind_guard.view import View
from rescind_protocol import events, heads
from rescind_protocol import trust as trusts
from rescind_protocol.clock import Clock
from rescind_protocol.errors import (
    BeyondCut,
    Malformed,
    RescindError,
    Unreadable,
    Untrusted,
)
from rescind_protocol.events import Event
from rescind_protocol.heads import Head
from rescind_protocol.image import Image
from rescind_protocol.join import Outcome, Replica
from rescind_protocol.limits import MAX_HEAD_AHEAD_S, MAX_STALENESS_S, SKEW_S
from rescind_protocol.trust import Trust
from rescind_subscriber import complaints, known
from rescind_subscriber.collector import collector_off
from rescind_subscriber.faults import Fault, Faults
from rescind_subscriber.horizons import Horizons
from rescind_subscriber.joined import Joined
from rescind_subscriber.lateness import PROMPT_S, Lateness
from rescind_subscriber.listeners import (
    NOTHING,
    Applied,
    Held,
    OnApplied,
    Relay,
    Witness,
    brought,
    held_by,
)
from rescind_subscriber.newest import Heard, Newest, Proof
from rescind_subscriber.owed import Owed
from rescind_subscriber.sums import Sums

_IN_FORCE = (Outcome.APPLIED, Outcome.FORK)
_HEAD_FAULTS = {
    "ahead": Fault.HEAD_AHEAD,
    "clock_went_back": Fault.CLOCK_WENT_BACK,
    "key_expired": Fault.HEAD_KEY_EXPIRED,
    "newer_trust": Fault.HEAD_NEWER_TRUST,
    "beyond_cut": Fault.BEYOND_CUT,
}
VERIFIED_DIGESTS = 16_384
"""Events whose bytes are remembered as verified; the same comes up to four times."""


class Reconciler:
    """Owns the replica and writes the view; used by one thread."""

    def __init__(
        self, trust: Trust, view: View, clock: Clock, faults: Faults | None = None
    ) -> None:
        self.faults = faults or Faults(clock)
        self.events = Counter()
        self.heads = Counter()
        self.unreadable: str | None = None
        """Why the view cannot be fresh (I10)."""
        self.held_back = 0
        """Trusted events that were not joined: unreadable, over quota, too far above a gap."""
        self.ever_fresh = False
        self.on_applied: OnApplied = []
        """Called after the swap, on the writer's thread; must not block."""
        self.witness: Witness | None = None
        self.relay: Relay | None = None
        self.joined = Joined(trust, self.events, self.faults)
        self._view = view
        self._clock = clock
        self._heard: dict[str, Heard] = {}
        self._proofs: dict[str, Proof] = {}
        self._newest = Newest()
        self._owed = Owed()
        self._horizons = Horizons()
        self._lateness = Lateness()
        self._sums = Sums()
        self._uncovered: set[str] = set()
        """Publishers whose newest head names events that have not come."""
        self._verified: OrderedDict[bytes, None] = OrderedDict()
        self._gaps: set[str] = set()
        """Logs whose gap is known and was said."""
        self._swapped = view.published.table

    @property
    def missing(self) -> bool:
        """Whether events are known to be missing: below one that came, or up to a head."""
        joined = self.joined
        return bool(self._uncovered or joined.target.above or not joined.settled)

    @property
    def replica(self) -> Replica:
        """The state that serves."""
        return self.joined.serving

    @replica.setter
    def replica(self, replica: Replica) -> None:
        self.joined.serving = replica

    # --- events ---

    def event(self, raw: bytes) -> bool:
        """Take one event; return whether events are missing below it."""
        before = self.held_back
        event = self._verify(raw)
        if event is None:
            return self.held_back > before
        served, outcome = self.joined.apply(event)
        if served in _IN_FORCE:  # the view first, then the books
            self._publish([event])
        self._note(event, outcome)
        self._settle()
        self._hand_on(event, raw, served)
        return self._has_gap(event.log) or self.held_back > before or self.joined.rebuilding

    def _has_gap(self, log_id: str) -> bool:
        """Whether events are missing below one that came; a new gap in a proven log is a fault."""
        if not self.joined.target.gap(log_id):
            self._gaps.discard(log_id)
            return False
        if log_id not in self._gaps:
            self._gaps.add(log_id)
            if self.ever_fresh:  # before that it only says that we have not caught up
                self._say(Fault.GAP, f"log {log_id}: an event came, the one before it did not")
        return True

    def batch(self, raws: Iterable[bytes]) -> int:
        """Take many events that were stored, with one swap; return how many were new."""
        joined: list[tuple[Event, bytes, Outcome]] = []
        new = 0
        for raw in raws:
            event = self._verify(raw)
            if event is None:
                continue
            served, outcome = self.joined.apply(event)
            self._note(event, outcome)
            new += outcome in _IN_FORCE
            if served in _IN_FORCE:
                joined.append((event, raw, served))
        self._publish([event for event, _, _ in joined])
        self._settle()
        for each in joined:
            self._hand_on(*each)
        return new

    def _verify(self, raw: bytes) -> Event | None:
        """Return the event, unless these very bytes were joined already or nobody may say them."""
        digest = events.digest_of(raw)
        if digest in self._verified:
            # Only bytes already verified may be dropped unread, never a number (attack C).
            self.events.add(Outcome.SEEN)
            return None
        try:
            return events.authenticate(raw, self.joined.trust, digest)
        except (Malformed, Untrusted) as error:
            if isinstance(error, Malformed) and trusts.is_version(raw):
                self._take_version(raw)
                return None
            self._reject(self.events, error, "event")
        except Unreadable as error:
            self.held_back += 1
            self._distrust(self.events, error)
        return None

    def _note(self, event: Event, outcome: Outcome) -> None:
        """Keep the books on an event that was joined, or could not be."""
        self.events.add(outcome)
        for fault, sentence in complaints.of(event, outcome):
            self._say(fault, sentence)
        if event.void:
            self.events.add("void")
        if outcome in (Outcome.OVER_QUOTA, Outcome.TOO_FAR, Outcome.WAITING):
            self.held_back += 1
            return
        if outcome is Outcome.VOID:  # a deeper cut may make it count after all
            return
        self._verified[event.digest] = None
        if len(self._verified) > VERIFIED_DIGESTS:
            self._verified.popitem(last=False)

    def _hand_on(self, event: Event, raw: bytes, outcome: Outcome) -> None:
        if self.relay is not None and outcome in _IN_FORCE:
            self.relay.event(event, raw, fork=outcome is Outcome.FORK)

    def _publish(self, applied: list[Event]) -> None:
        if self.replica.table is not self._swapped:
            self._swap()
        for event in applied:
            self._tell_applied(event)
        if self._uncovered:
            for publisher in self._uncovered & {event.publisher for event in applied}:
                self._prove(publisher)

    def _swap(self) -> None:
        if self._view.published.table is not self._swapped:
            # The view knows its writer by the thread; two on one loop would undo each other.
            raise TwoWriters("another subscriber writes to this view: one subscriber per view")
        self._view.swap(self.replica.table)
        self._swapped = self.replica.table

    def _tell_applied(self, applied: Applied) -> None:
        for listener in self.on_applied:
            self._tell(listener, applied)
        if self.witness is not None:
            self.witness.applied(applied)

    def _tell(self, listener: Callable[[Applied], None], applied: Applied) -> None:
        """Call a listener; what it gets wrong is its own fault, and stops no kill."""
        try:
            listener(applied)
        except Exception as error:  # noqa: BLE001 - whatever it is
            self.events.add("listener_failed")
            self._say(Fault.LISTENER, f"a listener to applied events failed: {error!r}")

    # --- heads ---

    def head(self, raw: bytes) -> bool:
        """Take one head; return whether events are missing that it names."""
        try:
            head = heads.authenticate(raw, self.joined.trust)
        except (Malformed, Untrusted) as error:
            self._reject(self.heads, error, "head")
            return False
        except Unreadable as error:
            self._distrust(self.heads, error)
            return False
        boot = self._clock.boot()
        more = self._owe(head, boot)
        if not self._admit(head):
            missing = more and not self._prove(head.publisher)
            return missing or head.trust > self.joined.trust.version
        self._newest.note(head)
        self._heard[head.publisher] = Heard(head, boot, self._age_s(head, boot))
        if self.witness is not None:
            self.witness.headed(head)
        if self.relay is not None:
            self.relay.head(head, raw)
        self._advance_horizon(self._heard[head.publisher])
        return not self._prove(head.publisher)

    def _owe(self, head: Head, boot: float) -> bool:
        """Take note of what a head names, newer than the newest or not; whether it is more."""
        ago_s = self._clock.wall() - head.time_s
        if not -MAX_HEAD_AHEAD_S <= ago_s <= MAX_STALENESS_S or self.joined.is_beyond_end(head):
            return False
        more = self._owed.note(head, boot - max(0.0, ago_s))
        two = self._owed.two(head.publisher)
        if two is not None:
            self._say(Fault.TWO_HOSTS, f"key of publisher {head.publisher}: {two.sentence}")
        return more

    def _advance_horizon(self, heard: Heard) -> None:
        head = heard.head
        believed = self._horizons.believed(head, heard.boot - heard.age_s)
        if believed < head.horizon:
            self._say(
                Fault.HORIZON_AHEAD,
                f"publisher {head.publisher}: its horizon is {head.horizon - believed} s further "
                "than time was measured here: what expires in between is kept",
            )
        if self.joined.advance_horizon(msgspec.structs.replace(head, horizon=believed)):
            self._swap()

    def _age_s(self, head: Head, boot: float) -> float:
        """How old a head is, in seconds; see `lateness`."""
        aged = self._lateness.aged(head, wall=self._clock.wall(), boot=boot)
        if aged.hidden_s:
            self._say(
                Fault.CLOCK_DOUBTED,
                f"this host's wall clock was set back, and heads of {head.publisher} come "
                f"{aged.late_s:.0f} s later than they did: they count as held up",
            )
        elif aged.age_s > SKEW_S and aged.late_s < PROMPT_S:
            self._say(
                Fault.HEAD_BEHIND,
                f"heads of {head.publisher} come as quickly as ever, signed {aged.age_s:.0f} s ago "
                "by our clock: it is ahead, or theirs is behind",
            )
        return aged.age_s

    def _admit(self, head: Head) -> bool:
        """Whether the head may speak at all; a reason is counted for each that may not."""
        wall, newest = self._clock.wall(), self._newest.times.get(head.publisher, -inf)
        old = self._newest.has(head)
        reasons = {
            "clock_went_back": old and newest > wall + MAX_HEAD_AHEAD_S,
            "replayed": old,
            "ahead": head.time_s > wall + MAX_HEAD_AHEAD_S,
            "key_expired": head.not_after is not None and max(head.time_s, wall) > head.not_after,
            "newer_trust": head.trust > self.joined.trust.version,
            "beyond_cut": self.joined.is_beyond_end(head),
        }
        for reason, applies in reasons.items():
            if applies:
                self.heads.add(reason)
                if reason in _HEAD_FAULTS:
                    self._say(
                        _HEAD_FAULTS[reason], f"heads of {head.publisher} do not count: {reason}"
                    )
                return False
        return True

    def _prove(self, publisher: str) -> bool:
        """Freshen if the publisher's newest head is covered; return whether it is."""
        heard = self._heard.get(publisher)
        if heard is None:
            return True
        owed = self._owed.logs(publisher, self._clock.boot())
        owed = {log: at for log, at in owed.items() if self.joined.target.cuts.of(log) is None}
        head = msgspec.structs.replace(heard.head, logs=owed | heard.head.logs)
        if not self.joined.target.covers(head):
            self.heads.add("not_covered")
            self._note_uncovered(publisher, head)
            return False
        self.heads.add("covered")
        self._uncovered.discard(publisher)
        self._compare_sums(publisher, heard.head)
        self._proofs[publisher] = Proof(heard.head.time_s, heard.boot - heard.age_s)
        if self.joined.rebuilding:
            self._settle()
        self._freshen()
        return True

    def _compare_sums(self, publisher: str, head: Head) -> None:
        proofs = [self._proofs.get(name) for name in self.joined.required if name != publisher]
        if self._sums.is_wrong(
            publisher,
            head.time_s,
            agrees=self.joined.target.agrees(head),
            others=[None if proof is None else proof.wall for proof in proofs],
        ):
            self.heads.add("disagreed")
            self._say(
                Fault.WRONG_SUM,
                f"publisher {publisher}: all its events are here, its sum of live kills differs",
            )

    def _note_uncovered(self, publisher: str, head: Head) -> None:
        """Keep the books on a head that is no proof: of other bytes, or of events not here yet."""
        differs = self.joined.target.contradicts(head)
        if differs is not None:
            self._say(
                Fault.WRONG_DIGEST,
                f"a head of {publisher} names another event {head.logs[differs].seq} of log "
                f"{differs} than the one applied here",
            )
        elif publisher not in self._uncovered:
            if self.joined.target.forgot(head):
                self._verified.clear()  # what was read before is to be looked at again
            if self.ever_fresh:
                self._say(Fault.LOST_TAIL, f"{publisher} names events that have not come: reading")
        self._uncovered.add(publisher)

    def _freshen(self) -> None:
        if self.unreadable is not None or not self.joined.settled:
            return
        required = self.joined.required
        known = [proof for name in required if (proof := self._proofs.get(name)) is not None]
        if len(known) < len(required) or not known:  # all gone: nobody is left to prove anything
            return
        wall = min(proof.wall for proof in known)
        boot = min(proof.boot for proof in known)
        at = self._view.published
        if wall > at.as_of_wall or boot > at.as_of_boot:
            self._view.freshen(max(wall, at.as_of_wall), max(boot, at.as_of_boot))
            self.ever_fresh = True

    # --- trust, and building anew ---

    def _take_version(self, raw: bytes) -> None:
        before, rereads = self.joined.trust, self.joined.rereads
        if not self.joined.take_version(raw):
            self.held_back += 1  # it is the root's, and misses the one before it
        if self.joined.rereads == rereads:
            return
        self._verified.clear()
        self._tell_versions()
        for publisher in {*before.required, *self._heard, *self._newest.times}:
            if before.heading(publisher) != self.joined.trust.heading(publisher):
                # A thief's times, or a clock's that was wrong, say nothing of another key's heads.
                self._newest.forget(publisher)
                self._owed.forget(publisher)
                self._lateness.forget(publisher)
                self._horizons.forget(publisher)
                self._heard.pop(publisher, None)
                self._proofs.pop(publisher, None)
                self._uncovered.discard(publisher)

    def rebuild(self) -> None:
        """Build the state anew: what serves goes on, and nothing is fresh until it is done."""
        self.joined.rebuild()
        self._verified.clear()

    def _settle(self) -> None:
        """Begin to build anew where void things are held, and show what is built."""
        if not (self.joined.rebuilding or self.replica.spoiled):
            return
        rereads = self.joined.rereads
        before = held_by(self.replica)
        taken = self.joined.settle({name: each.head for name, each in self._heard.items()})
        if self.joined.rereads != rereads:
            self._verified.clear()
        if taken:
            self._swap()
            if brought(before, held_by(self.replica)) is not None:
                self._tell_merged(before)
            for publisher in list(self._heard):
                self._prove(publisher)

    def heard(self) -> dict[str, known.Heard]:
        """Return the newest valid head of each publisher, and its age now."""
        now = self._clock.boot()
        return {
            name: known.Heard(
                each.head, each.age_s + now - each.boot, frozenset(self._owed.logs(name, now))
            )
            for name, each in self._heard.items()
        }

    def unproven(self) -> list[str]:
        """Return the required publishers of whom no head was covered; from any thread."""
        return [name for name in self.joined.required if name not in self._proofs]

    def head_ages(self) -> dict[str, float | None]:
        """Return the age in seconds of each publisher's newest valid head; from any thread.

        None for a required publisher of whom none was heard since the start.
        """
        now, heard = self._clock.boot(), dict(self._heard)
        ages: dict[str, float | None] = dict.fromkeys(self.joined.required)
        return ages | {name: each.age_s + now - each.boot for name, each in heard.items()}

    # --- restart ---

    def newest_heads(self) -> dict[str, float]:
        """Greatest head time seen from each publisher, to be kept over restarts."""
        return dict(self._newest.times)

    def newest_counts(self) -> dict[str, int]:
        """Greatest count seen of each publisher's heads, to be kept beside."""
        return dict(self._newest.counts)

    def remember_heads(
        self, newest: Mapping[str, float], counts: Mapping[str, int] | None = None
    ) -> None:
        """Refuse heads up to these times as replayed, unless they count further."""
        self._newest.remember(newest, counts or {})

    def merge(self, image: Image) -> None:
        """Join a snapshot in; it may be what a head was waiting for."""
        before = held_by(self.replica)
        with collector_off():
            self.joined.target.merge(image)
        self._publish([])
        self._tell_merged(before)
        self._settle()
        for publisher in list(self._uncovered):
            self._prove(publisher)

    def publish_replica(self) -> None:
        """Swap the view to the replica's table, after a merge; takes over what is published."""
        self._swapped = self._view.published.table
        again = self._swapped.size > 0  # after a crash: what this process had it has told
        self._publish([])
        self._tell_merged(held_by(self.replica) if again else NOTHING)

    def _tell_merged(self, before: Held) -> None:
        """Tell of what is in the view and came by no event."""
        held = held_by(self.replica)
        if (merged := brought(before, held)) is not None:
            self._tell_applied(merged)
        if self.relay is not None:
            self.relay.merged(held.upto, held.above)
            self._tell_versions()

    def _tell_versions(self) -> None:
        if self.relay is None:
            return
        trust = self.joined.trust
        first = trust.version - len(trust.raws) + 1
        for number, raw in enumerate(trust.raws, first):
            if number > 1:
                self.relay.version(number, raw)

    # --- saying what is wrong ---

    def _distrust(self, counter: Counter, error: Unreadable) -> None:
        counter.add("unreadable")
        self.unreadable = str(error)
        self._say(Fault.UNREADABLE, f"the view cannot be fresh: {error}; upgrade this program")
        self._view.distrust()

    def _reject(self, counter: Counter, error: RescindError, what: str) -> None:
        counter.add(error.code.lower())
        fault = Fault.MALFORMED if isinstance(error, Malformed) else Fault.FORGED
        fault = Fault.BEYOND_CUT if isinstance(error, BeyondCut) else fault
        self._say(fault, f"{what} rejected: {error}", about=what)

    def _say(self, fault: Fault, sentence: str, about: str = "") -> None:
        self.faults.note(fault, sentence, about=about)
