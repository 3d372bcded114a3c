"""Names of subjects and streams on a broker, one place for all roles."""

import re

from rescind_protocol.errors import Malformed
from rescind_protocol.limits import MAX_NAME_CHARS

FABRIC = re.compile(r"[A-Za-z0-9_-]{1,32}")
"""A fabric id is one safe token: it becomes a stream's name and a part of subjects."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


def check_fabric(fabric: str) -> str:
    """Return `fabric` if it is a valid fabric id, else raise `Malformed`."""
    if not FABRIC.fullmatch(fabric):
        raise Malformed(f"fabric id {fabric!r}: use 1 to 32 letters, digits, '_' or '-'")
    return fabric


def stream(fabric: str) -> str:
    """Name of the JetStream stream that stores the fabric's events."""
    return f"RESCIND_{fabric}"


def log(fabric: str, log_id: str) -> str:
    """Subject of one log's events; stored, and heard live by a plain subscription."""
    return f"rescind.{fabric}.log.{log_id}"


TRUST_LOG = "trust"
"""The versions of the trust file, stored and heard as one more log; no key's log is called so."""


def logs(fabric: str) -> str:
    """Subject pattern of all logs of the fabric: the stream's only subject."""
    return f"rescind.{fabric}.log.*"


def head(fabric: str, publisher: str) -> str:
    """Core subject of one publisher's heads; never stored."""
    return f"rescind.{fabric}.head.{publisher}"


def heads(fabric: str) -> str:
    """Subject pattern of all heads of the fabric."""
    return f"rescind.{fabric}.head.*"


def snapshot_stream(fabric: str) -> str:
    """Name of the JetStream stream that stores the fabric's snapshots."""
    return f"RESCIND_SNAP_{fabric}"


def snapshots(fabric: str) -> str:
    """Subject pattern of all snapshots: their stream's only subject."""
    return f"rescind.{fabric}.snap.>"


def manifest(fabric: str, writer: str, slot: str) -> str:
    """Subject of a snapshot's signed statement; `writer` as log ids begin, `slot` one token."""
    return f"rescind.{fabric}.snap.{writer}.{slot}.manifest"


def part(fabric: str, writer: str, slot: str, number: int | str) -> str:
    """Subject of one part of a snapshot."""
    return f"rescind.{fabric}.snap.{writer}.{slot}.part.{number}"


def report(fabric: str, subscriber: str) -> str:
    """Core subject of one subscriber's reports; never stored."""
    return f"rescind.{fabric}.report.{token(subscriber)}"


def reports(fabric: str) -> str:
    """Subject pattern of all reports of the fabric."""
    return f"rescind.{fabric}.report.*"


def token(name: str) -> str:
    """Return a name as one safe token of a subject; two names may share one."""
    return _UNSAFE.sub("_", name)[:MAX_NAME_CHARS] or "_"


# --- the same on Redis: one hash tag, so that a fabric's keys lie in one slot of a cluster ---

MAX_MOVES = 16
"""How often a log may get a new key; a store that damages it more often is no store."""


def redis_log(fabric: str, log_id: str, moves: int = 0) -> str:
    """Key of one log's stream; a log whose stream was damaged has moved to another."""
    return f"rescind:{{{fabric}}}:log:{log_id}" + (f":{moves}" if moves else "")


def redis_logs(fabric: str) -> str:
    """Key of the index: a hash of log id to how often it has moved."""
    return f"rescind:{{{fabric}}}:logs"


def redis_live(fabric: str) -> str:
    """Channel of all events, as they are stored."""
    return f"rescind:{{{fabric}}}:live"


def redis_heads(fabric: str) -> str:
    """Channel of all heads; never stored."""
    return f"rescind:{{{fabric}}}:heads"


def redis_snapshots(fabric: str) -> str:
    """Key of the snapshots' signed statements: a hash of place to statement."""
    return f"rescind:{{{fabric}}}:snaps"


def redis_part(fabric: str, place: str, number: int) -> str:
    """Key of one part of a snapshot."""
    return f"rescind:{{{fabric}}}:snap:{place}:{number}"


def redis_reports(fabric: str) -> str:
    """Channel of all reports; never stored."""
    return f"rescind:{{{fabric}}}:reports"
