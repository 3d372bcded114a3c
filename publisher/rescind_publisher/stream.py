"""The stream's required configuration as data, and the check of an existing one.

A stream is created with `wanted()`; one that exists is measured against `_RULES`, and each setting
under which an acked kill could vanish, or never be read, is named with what to do.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rescind_protocol import subjects
from rescind_protocol.limits import MAX_EVENT_BYTES, SNAPSHOT_PART_BYTES

MAX_MESSAGE_BYTES = MAX_EVENT_BYTES + 4 * 1024
"""JetStream counts the headers into `max_msg_size`; ours take some 150 bytes."""
MAX_PART_MESSAGE_BYTES = SNAPSHOT_PART_BYTES + 4 * 1024
DUPLICATE_WINDOW_NS = 120 * 10**9
"""A retry within it is answered `duplicate` instead of being stored a second time (harmless)."""


def wanted(fabric: str, replicas: int) -> dict[str, Any]:
    """Return the configuration that the fabric's stream is created with (STREAM.CREATE)."""
    return {
        "name": subjects.stream(fabric),
        "description": f"rescind: signed kills of fabric {fabric}",
        "subjects": [subjects.logs(fabric)],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msgs_per_subject": -1,
        "max_msg_size": MAX_MESSAGE_BYTES,
        "max_consumers": -1,
        "num_replicas": replicas,
        "duplicate_window": DUPLICATE_WINDOW_NS,
        "allow_direct": True,
        "deny_delete": True,
        "deny_purge": True,
        "allow_rollup_hdrs": False,
    }


def wanted_for_snapshots(fabric: str, replicas: int) -> dict[str, Any]:
    """Return the configuration of the stream that carries snapshots: one message of each subject.

    A writer has a fixed few subjects and writes them again; nothing is ever deleted or purged.
    """
    return wanted(fabric, replicas) | {
        "name": subjects.snapshot_stream(fabric),
        "description": f"rescind: signed snapshots of fabric {fabric}",
        "subjects": [subjects.snapshots(fabric)],
        "discard": "old",
        "max_msgs_per_subject": 1,
        "max_msg_size": MAX_PART_MESSAGE_BYTES,
    }


class _Rule(NamedTuple):
    setting: str
    holds: Callable[[Any], bool]
    todo: str
    default: Any = None
    """What the server means when it does not mention the setting."""


def _falsy(value: object) -> bool:
    return not value


def _unset(value: object) -> bool:
    return value in (None, 0, -1)


_RULES = (
    _Rule("storage", "file".__eq__, "'memory' loses every kill at a restart: make it 'file'"),
    _Rule("retention", "limits".__eq__, "others delete what somebody has read: make it 'limits'"),
    _Rule("discard", "new".__eq__, "'old' drops the oldest kills when full: make it 'new'", "old"),
    _Rule("discard_new_per_subject", _falsy, "it refuses the next event of a log: make it false"),
    _Rule("max_age", _unset, "kills would vanish by age: make it 0", 0),
    _Rule("max_msgs_per_subject", _unset, "a log would lose its oldest kills: make it -1", -1),
    _Rule("deny_delete", bool, "anyone with the right could delete a kill: make it true"),
    _Rule("deny_purge", bool, "anyone with the right could purge all kills: make it true"),
    _Rule("allow_rollup_hdrs", _falsy, "a header could replace the stream: make it false"),
    _Rule("allow_direct", bool, "subscribers read by direct get: make it true"),
    _Rule(
        "allow_msg_ttl", _falsy, "a header could make a kill vanish: it cannot be undone, remake"
    ),
    _Rule("subject_delete_marker_ttl", _falsy, "it puts markers among the events: remove it"),
    _Rule("allow_msg_counter", _falsy, "it takes numbers, not events: the stream must be remade"),
    _Rule("allow_msg_schedules", _falsy, "a header could delay a kill: the stream must be remade"),
    _Rule("persist_mode", {"", "default"}.__contains__, "acks would come before the disk", ""),
    _Rule("no_ack", _falsy, "no event would ever be acked: make it false"),
    _Rule("sealed", _falsy, "a sealed stream takes no events: it must be remade"),
    _Rule("mirror", _falsy, "a mirror takes no events: name the stream it mirrors"),
    _Rule("sources", _falsy, "events of other streams would be mixed in: remove them"),
    _Rule("subject_transform", _falsy, "events would lie under other subjects: remove it"),
    _Rule("republish", _falsy, "acks would wait for a second fan-out: remove it"),
    _Rule(
        "max_msg_size",
        lambda size: size == -1 or size >= MAX_MESSAGE_BYTES,
        f"large events would be refused: make it {MAX_MESSAGE_BYTES} or -1",
        -1,
    ),
    _Rule(
        "duplicate_window",
        lambda window_ns: window_ns >= DUPLICATE_WINDOW_NS,
        f"retries would be stored twice: make it {DUPLICATE_WINDOW_NS // 10**9} s or more",
        0,
    ),
)


_ONLY_EVENTS = ("discard", "max_msgs_per_subject", "duplicate_window", "max_msg_size")
_SNAPSHOT_RULES = (
    *(rule for rule in _RULES if rule.setting not in _ONLY_EVENTS),
    _Rule("discard", "old".__eq__, "'new' refuses a snapshot in another's stead: make it 'old'"),
    _Rule("max_msgs_per_subject", (1).__eq__, "old snapshots would pile up: make it 1", -1),
    _Rule("max_msgs", _unset, "parts of snapshots would vanish: make it -1", -1),
    _Rule(
        "max_msg_size",
        lambda size: size == -1 or size >= MAX_PART_MESSAGE_BYTES,
        f"parts of snapshots would be refused: make it {MAX_PART_MESSAGE_BYTES} or -1",
        -1,
    ),
    _Rule("max_bytes", _unset, "parts of snapshots would vanish: make it -1", -1),
)


def snapshot_refusals(config: Mapping[str, Any], fabric: str, replicas: int = 1) -> list[str]:
    """Do as `refusals` for the stream of snapshots."""
    return _broken(config, _SNAPSHOT_RULES, subjects.snapshots(fabric), replicas)


def refusals(config: Mapping[str, Any], fabric: str, replicas: int = 1) -> list[str]:
    """Return a sentence for each setting that would lose kills; empty if the stream will do.

    `config` is the object that STREAM.INFO and STREAM.CREATE answer with.
    """
    return _broken(config, _RULES, subjects.logs(fabric), replicas)


def _broken(
    config: Mapping[str, Any], rules: tuple[_Rule, ...], subject: str, replicas: int
) -> list[str]:
    found = [
        f"{rule.setting} is {config.get(rule.setting, rule.default)!r}: {rule.todo}"
        for rule in rules
        if not rule.holds(config.get(rule.setting, rule.default))
    ]
    only = [subject]
    if config.get("subjects") != only:
        found.append(f"subjects is {config.get('subjects')!r}: make it {only!r}")
    if config.get("num_replicas", 1) < replicas:
        found.append(f"num_replicas is {config.get('num_replicas')!r}: make it {replicas}")
    return found
