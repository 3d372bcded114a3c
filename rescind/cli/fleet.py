"""The subscribers in `rescind status`: who they are, and how."""

import time
from typing import TYPE_CHECKING

from rescind.cli.out import Out, Part, lasting, utc

if TYPE_CHECKING:
    from rescind_publisher.fleet import Fleet, Member

COLUMNS = ("subscriber", "host", "pid", "state", "lag", "version", "last seen")


def line(fleet: "Fleet | None") -> Part | None:
    """Return how many there are, as one line."""
    if fleet is None:
        return None
    if fleet.problem:
        return f"{len(fleet.members)} known; {fleet.problem}", "yellow"
    if fleet.listening_since is None:
        return "not listened to yet", "yellow"
    away = sum(each.away for each in fleet.members)
    workers = sum(each.workers for each in fleet.members)
    out_of_reach = f", {away} out of reach" if away else ""
    since = utc(fleet.listening_since)
    colour = "yellow" if away else ""
    of_workers = f" in {workers} processes" if workers > len(fleet.members) else ""
    return f"{len(fleet.members)} known{of_workers}{out_of_reach}, since {since}", colour


def show(out: Out, fleet: "Fleet | None") -> None:
    """Write the table."""
    if fleet is None or not fleet.members:
        return
    out.say()
    now = time.time()
    out.table(COLUMNS, [_row(each, now) for each in fleet.members])


def _row(each: "Member", now: float) -> tuple[Part, ...]:
    lag: Part = "?" if each.lag is None else (str(each.lag), "yellow" if each.lag else "")
    good = each.state == "LIVE"
    state: Part = (each.state, "green" if good else "yellow")
    if each.unreachable:
        some = f"{each.away} of {each.workers} " if each.away < each.workers else ""
        state = (f"{some}out of reach, was {each.state}", "red")
    seen = f"{lasting(max(0.0, now - each.last_seen))} ago"
    pid = str(each.pid) if each.workers == 1 else f"{each.workers} workers"
    return each.name, each.host, pid, state, lag, each.version, seen
