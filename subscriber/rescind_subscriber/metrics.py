"""The subscriber's metrics: names, and what they are now."""

from collections.abc import Mapping
from math import inf

from rescind_guard.exposition import Family, Metric, one
from rescind_subscriber import libraries
from rescind_subscriber.faults import Fault
from rescind_subscriber.states import State
from rescind_subscriber.status import Status

STATE = Metric("rescind_subscriber_state", "1 for the state it is in, 0 for the others.", "state")
SECONDS_UNTIL_STALE = Metric(
    "rescind_subscriber_seconds_until_stale",
    "Seconds until the view is stale if no head comes; 0: it is, or never was proven.",
)
PROOF_AGE = Metric(
    "rescind_subscriber_proof_age_seconds", "Age of the proof of freshness; +Inf: never proven."
)
SOURCE_UP = Metric("rescind_subscriber_source_up", "1 while the source is connected.", "source")
TROUBLES = Metric(
    "rescind_subscriber_troubles", "Things that are wrong now; `rescind status` has the sentences."
)
FAULTS = Metric("rescind_subscriber_faults_total", "Faults seen, by the table below.", "kind")
EVENTS = Metric("rescind_subscriber_events_total", "Events, by what became of them.", "outcome")
HEADS = Metric("rescind_subscriber_heads_total", "Heads, by what became of them.", "outcome")
HEAD_AGE = Metric(
    "rescind_subscriber_head_age_seconds",
    "Age of a publisher's newest head; +Inf: a required one that was not heard since the start.",
    "publisher",
)
READS = Metric(
    "rescind_subscriber_reads_total", "Readings of a source's store, by how they ended.", "outcome"
)
SNAPSHOTS = Metric(
    "rescind_subscriber_snapshots_total", "Snapshots on brokers, by what became of them.", "outcome"
)
TARGETS = Metric("rescind_subscriber_targets", "Targets in the view.")
SWAPS = Metric("rescind_subscriber_swaps_total", "Published changes of the view.")

KEYS_AGE = Metric(
    "rescind_subscriber_keys_age_seconds", "Since an issuer's keys were confirmed.", "issuer"
)
KEY_FETCHES = Metric(
    "rescind_subscriber_key_fetches_total",
    "Fetches of issuers' keys, by how they ended.",
    "outcome",
)
KEYS_IN_TROUBLE = Metric(
    "rescind_subscriber_keys_in_trouble",
    "Issuers whose keys, and agents whose DID documents, cannot be fetched or are not confirmed.",
    "of",
)

LIST_AGE = Metric(
    "rescind_subscriber_unsigned_list_age_seconds",
    "Since an unsigned list was confirmed; +Inf: never. It proves nothing fresh.",
    "issuer",
)
LIST_UP = Metric(
    "rescind_subscriber_unsigned_list_up",
    "1 while an unsigned list is fetched, understood and kept; 0: what was known of it denies on.",
    "issuer",
)
LIST_ENTRIES = Metric(
    "rescind_subscriber_unsigned_list_entries", "What an unsigned list names.", "issuer"
)
LIST_FETCHES = Metric(
    "rescind_subscriber_unsigned_list_fetches_total",
    "Fetches of unsigned lists, by how they ended.",
    "outcome",
)

LIBRARY_UNKNOWN = Metric(
    "rescind_library_unknown",
    "1 while a library's version is not known here, and its public interface serves instead.",
    "library",
)

METRICS = (
    LIBRARY_UNKNOWN,
    STATE,
    SECONDS_UNTIL_STALE,
    PROOF_AGE,
    SOURCE_UP,
    TROUBLES,
    FAULTS,
    EVENTS,
    HEADS,
    HEAD_AGE,
    READS,
    SNAPSHOTS,
    TARGETS,
    SWAPS,
    KEYS_AGE,
    KEY_FETCHES,
    KEYS_IN_TROUBLE,
    LIST_AGE,
    LIST_UP,
    LIST_ENTRIES,
    LIST_FETCHES,
)


def families(now: Status) -> list[Family]:
    """Return a subscriber's metrics as they are now.

    Every kind of fault is there from the start, as 0: an alarm on a series that appears with the
    first fault would miss that one.
    """
    faults: Mapping[str, int] = dict.fromkeys(map(str, Fault), 0) | now.faults
    return [
        Family(STATE, {str(state): float(state is now.state) for state in State}),
        one(SECONDS_UNTIL_STALE, now.seconds_until_stale),
        one(PROOF_AGE, inf if now.age_s is None else now.age_s),
        Family(SOURCE_UP, {name: float(not why) for name, why in now.sources.items()}),
        one(TROUBLES, len(now.trouble)),
        Family(FAULTS, faults),
        Family(EVENTS, now.events),
        Family(HEADS, now.heads),
        Family(
            HEAD_AGE,
            {name: inf if age is None else age for name, age in now.head_ages_s.items()},
        ),
        Family(READS, now.reads),
        Family(SNAPSHOTS, now.snapshots),
        one(TARGETS, now.targets),
        one(SWAPS, now.generation),
        Family(LIBRARY_UNKNOWN, libraries.unknown()),
    ]


def key_families(
    ages_s: Mapping[str, float], fetches: Mapping[str, int], in_trouble: Mapping[str, int]
) -> list[Family]:
    """Return the metrics of whoever keeps issuers' keys; ages by issuer, in seconds."""
    outcomes = dict.fromkeys(("fetched", "failed"), 0) | dict(fetches)
    return [
        Family(KEYS_AGE, ages_s),
        Family(KEY_FETCHES, outcomes),
        Family(KEYS_IN_TROUBLE, in_trouble),
    ]


def list_families(
    ages_s: Mapping[str, float],
    up: Mapping[str, bool],
    entries: Mapping[str, int],
    fetches: Mapping[str, int],
) -> list[Family]:
    """Return the metrics of whoever keeps unsigned lists, by issuer."""
    outcomes = dict.fromkeys(("changed", "unchanged", "failed"), 0) | dict(fetches)
    return [
        Family(LIST_AGE, ages_s),
        Family(LIST_UP, {issuer: float(well) for issuer, well in up.items()}),
        Family(LIST_ENTRIES, entries),
        Family(LIST_FETCHES, outcomes),
    ]
