"""Evidence of a demo in which all went well, to be bent by a test."""

from typing import Any

import msgspec

from rescind.demo.evidence import (
    OK,
    REVOKED,
    AgentKill,
    Alone,
    BadgeKill,
    Calls,
    Change,
    Outage,
    Reinstatement,
    Restart,
    Work,
)
from rescind.demo.report import CANNOT_TELL
from rescind.demo.wire import Called

SERVERS = ("server-1", "server-2")
RUNNING = (*SERVERS, "sidecar-1")
KILLED_AT = 100.0
APPLIED_AT = 100.010


def bent(good: Any, **changes: Any) -> Any:
    """Return a copy of a struct with some fields changed."""
    return msgspec.structs.replace(good, **changes)


def call(server: str, started: float, code: str = OK) -> Called:
    """Return one call of 5 ms."""
    return Called(server, "badge", started, started + 0.005, code)


def calls(*made: Called) -> Calls:
    """Return calls of an agent that has these two servers."""
    return Calls(SERVERS, made)


def both(started: float, code: str) -> tuple[Called, ...]:
    """Return a call of each server."""
    return tuple(call(server, started, code) for server in SERVERS)


def change(*running: str) -> Change:
    """Return a change that each of `running` applied 10 ms after it was said."""
    applied = dict.fromkeys(running, APPLIED_AT)
    return Change(("log", 1), KILLED_AT, 1.0, {"NATS": 2.0, "Redis": 3.0}, 4.0, applied)


def work() -> Work:
    """Act 1."""
    return Work(calls(*both(99.0, OK)), "sidecar-2")


def badge_kill() -> BadgeKill:
    """Act 2: of each server one call before, one between, one after."""
    made = (*both(99.0, OK), *both(100.001, OK), *both(100.020, REVOKED))
    return BadgeKill(change(*RUNNING), RUNNING, calls(*made), {"sidecar-1": REVOKED})


def restart() -> Restart:
    """Act 3."""
    return Restart("sidecar-2", CANNOT_TELL, 101.0, 101.050, REVOKED)


def agent_kill() -> AgentKill:
    """Act 4."""
    running = (*RUNNING, "sidecar-2")
    held = calls(*both(99.0, OK), *both(100.020, REVOKED))
    return AgentKill(change(*running), running, held, calls(*both(101.0, REVOKED)))


def reinstatement() -> Reinstatement:
    """Act 5."""
    running = (*RUNNING, "sidecar-2")
    old = {"first": calls(*both(102.0, REVOKED)), "second": calls(*both(103.0, REVOKED))}
    return Reinstatement(change(*running), running, 1000, 1001, calls(*both(101.0, OK)), old)


def outage() -> Outage:
    """Act 6."""
    return Outage(badge_kill(), ("redis",), ("nats",), change(*RUNNING))


def alone() -> Alone:
    """Act 7."""
    return Alone("sidecar-2", ("NATS", "Redis"), REVOKED, CANNOT_TELL, fresh=False)
