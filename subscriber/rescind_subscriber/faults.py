"""What can be wrong with what a subscriber hears, by name: counted each time, said once in a while.

One table: the metric's label, what was seen, and what heals it. The documents show it.
"""

import logging
from enum import StrEnum

import msgspec

from rescind_guard.metrics import Counter
from rescind_protocol.clock import Clock

log = logging.getLogger("rescind.subscriber")

SAY_AGAIN_S = 600.0
"""A kind of fault that goes on is said so often; a flood of it fills no disk."""


class Fault(StrEnum):
    """The kinds; values of the label `kind`."""

    GAP = "gap"
    LOST_TAIL = "lost_tail"
    FORK = "fork"
    TWO_HOSTS = "two_hosts"
    WRONG_DIGEST = "wrong_digest"
    WRONG_SUM = "wrong_sum"
    STREAM_REWOUND = "stream_rewound"
    STREAM_TRIMMED = "stream_trimmed"
    STREAM_REPLACED = "stream_replaced"
    STILL_MISSING = "still_missing"
    FORGED = "forged"
    MALFORMED = "malformed"
    UNREADABLE = "unreadable"
    VOID = "void"
    OVER_QUOTA = "over_quota"
    HEAD_AHEAD = "head_ahead"
    CLOCK_WENT_BACK = "clock_went_back"
    HEAD_BEHIND = "head_behind"
    CLOCK_DOUBTED = "clock_doubted"
    HORIZON_AHEAD = "horizon_ahead"
    HEAD_KEY_EXPIRED = "head_key_expired"
    HEAD_NEWER_TRUST = "head_newer_trust"
    BEYOND_CUT = "beyond_cut"
    TRUST_BROKEN = "trust_broken"
    TRUST_UNKEPT = "trust_unkept"
    REBUILDING = "rebuilding"
    HEADS_LATE = "heads_late"
    STALE = "stale"
    SOURCE_LOST = "source_lost"
    STORE_UNREADABLE = "store_unreadable"
    SNAPSHOT_DAMAGED = "snapshot_damaged"
    LOCAL_SNAPSHOT = "local_snapshot"
    LISTENER = "listener"
    CRASHED = "crashed"


class Row(msgspec.Struct, frozen=True):
    """A fault, how it is seen, and what ends it."""

    fault: Fault
    seen: str
    heals: str


_READ = "the source is read on from the cursor"
_ALL = "the source is read from its beginning, or from a snapshot"
_NEVER_HARMS = "skipped; nothing to heal"

TABLE = (
    Row(Fault.GAP, "an event of a proven log came, the one before it did not", _READ),
    Row(
        Fault.LOST_TAIL,
        "a head names events that have not come, or whose digests are not kept, as after a "
        "restore of the publisher's spool; the view ages until they are read",
        f"{_READ}; then from its beginning",
    ),
    Row(
        Fault.FORK,
        "two different events have one number in a log: its key may be stolen, or its spool copied",
        "kills of both count, the log is never fresh again: retire its publisher",
    ),
    Row(
        Fault.TWO_HOSTS,
        "heads of one key name different logs by turns: a publisher's host was cloned, or its "
        "spool and key were copied; what either names is waited for",
        "stop one of them; give it a key and a spool of its own, and its kills again",
    ),
    Row(
        Fault.WRONG_DIGEST,
        "a head names another digest than that of the event applied under its number",
        "none by itself: the log has two histories, and its head is no proof here",
    ),
    Row(
        Fault.WRONG_SUM,
        "all events are equal and the sum of live kills is not; an alarm and no outage",
        "with the first head that agrees: a defect, of whoever signs the sums or of this host",
    ),
    Row(
        Fault.STREAM_REWOUND,
        "nothing lies at the cursor, nor behind it: purged, made anew, or an older copy",
        _ALL,
    ),
    Row(Fault.STREAM_TRIMMED, "the stream begins behind the cursor: events were skipped", _ALL),
    Row(
        Fault.STREAM_REPLACED,
        "other bytes lie at the cursor: made anew, or an older copy that has grown since",
        _ALL,
    ),
    Row(Fault.STILL_MISSING, "reading on has not brought what is missing", _ALL),
    Row(Fault.FORGED, "signed by nobody we trust, for another fabric, or bent", _NEVER_HARMS),
    Row(Fault.MALFORMED, "no event or head at all: garbage, too long, bad JSON", _NEVER_HARMS),
    Row(
        Fault.UNREADABLE,
        "a trusted key said what this version cannot read: the view is not fresh",
        "upgrade this program",
    ),
    Row(Fault.VOID, "a publisher said what its key has no right to", _NEVER_HARMS),
    Row(
        Fault.OVER_QUOTA,
        "a publisher has more live kills than its key may have",
        "when some have ended, or the trust file grants more",
    ),
    Row(Fault.HEAD_AHEAD, "a head is signed over 60 s from now", "set the clock that is wrong"),
    Row(
        Fault.CLOCK_WENT_BACK,
        "a head is older than one that counted and is over 60 s from now, and its count does not "
        "show that it is newer: this host's clock was ahead, or is behind",
        "set the clock; where it was ahead, the next head of a publisher that counts on",
    ),
    Row(
        Fault.HEAD_BEHIND,
        "heads come as quickly as ever and are signed over 60 s ago by this host's clock: it is "
        "ahead, or the publisher's is behind; the view is as old as the clocks are apart",
        "set the clock that is wrong: the next head counts",
    ),
    Row(
        Fault.CLOCK_DOUBTED,
        "this host's wall clock was set back, and heads come as much later: they count as held up",
        "when they come as quickly as before, or the clock is set right; where the publisher's "
        "host was started in between and the clock is right, a new start of this program",
    ),
    Row(
        Fault.HORIZON_AHEAD,
        "a publisher's horizon jumped ahead of the time that was measured here; kills live longer",
        "when it is taken back, or has been signed for an hour; look at that host's clock",
    ),
    Row(Fault.HEAD_KEY_EXPIRED, "a head is signed by a key after its end", "a new trust file"),
    Row(
        Fault.HEAD_NEWER_TRUST,
        "a head names a newer trust file than ours; it proves nothing",
        "with that version, which brokers carry; if none has it, give us the file",
    ),
    Row(
        Fault.BEYOND_CUT,
        "a revoked key, or one whose publisher was retired, says more than its cut lets stand",
        "if the publisher is back, it says its own again in a new log; else somebody has its key",
    ),
    Row(
        Fault.TRUST_BROKEN,
        "a trust version by the root is older than ours, or of another history",
        "none needed for an old one; two histories: ask who holds the root's key",
    ),
    Row(
        Fault.TRUST_UNKEPT,
        "the newest trust cannot be written to this disk: a restart begins with an older one",
        "make room, or mend the rights",
    ),
    Row(
        Fault.REBUILDING,
        "what is held has become void in part; the view ages until it is built anew",
        "reading all that is stored, or a snapshot that holds nothing void",
    ),
    Row(
        Fault.HEADS_LATE,
        "no good head in three intervals: publisher gone, or its heads held up",
        "the next head that is covered",
    ),
    Row(
        Fault.STALE,
        "the proof is as old as the limit, or was withdrawn: levels 2 to 4 are refused",
        "the next head that is covered",
    ),
    Row(
        Fault.SOURCE_LOST,
        "a source is not connected any more",
        "the connection is replaced, then read on from the cursor",
    ),
    Row(
        Fault.STORE_UNREADABLE,
        "a source's store gives no whole answer",
        "it is asked again",
    ),
    Row(
        Fault.SNAPSHOT_DAMAGED,
        "a part of a broker's snapshot is not what was signed",
        "the next best snapshot, else the whole stream",
    ),
    Row(
        Fault.LOCAL_SNAPSHOT,
        "the snapshot on this disk is damaged, foreign, in use, or cannot be written",
        "the start is stale and everything is read again; see the sentence",
    ),
    Row(Fault.LISTENER, "a listener to applied events raised", "none needed: it stops no kill"),
    Row(
        Fault.CRASHED,
        "the follower ended by surprise: a defect; the view is stale until proven again",
        "it starts anew from its local snapshot",
    ),
)


class Faults:
    """Counts faults and says them; used by one thread, read by any."""

    def __init__(self, clock: Clock) -> None:
        self.counts = Counter()
        self._clock = clock
        self._said: dict[tuple[Fault, str], tuple[float, int]] = {}
        """When a kind was said last, by the boot clock, and how often it came since."""

    def note(
        self, fault: Fault, sentence: str, *, about: str = "", level: int = logging.WARNING
    ) -> None:
        """Count it; log the first of its kind, and again when it has gone on for ten minutes.

        `about`: the source, where each has its own say. Never what a message names: whoever sends
        it would choose how often we write.
        """
        self.counts.add(fault)
        key, now = (fault, about), self._clock.boot()
        last, since = self._said.get(key, (None, 0))
        if last is not None and now - last < SAY_AGAIN_S:
            self._said[key] = last, since + 1
            return
        self._said[key] = now, 0
        more = f"{since} more since the last time; " if since else ""
        log.log(level, "%s: %s (%sfurther ones are counted)", fault, sentence, more)
