"""Lines for what is applied while somebody looks: for `watch` and `up`."""

import logging
import time
from typing import Any

from rescind.cli.inforce import describe
from rescind.cli.out import Out, err, lasting, plain, utc
from rescind_protocol.changes import Change, Kill, Revocation, RevocationId
from rescind_protocol.events import Event
from rescind_protocol.table import Table
from rescind_protocol.trust import Trust
from rescind_subscriber.listeners import Applied
from rescind_subscriber.states import TABLE, State
from rescind_subscriber.status import Status

_COLOURS = {"kill": "red", "reinstate": "green", "retract": "green"}
_MEANS = {row.state: row.means for row in TABLE}


def clock() -> str:
    """The time of day, for people."""
    return time.strftime("%H:%M:%S")


class Feed:
    """Writes changes as they come."""

    def __init__(self, out: Out, trust: Trust) -> None:
        self._out, self._trust = out, trust
        self._shown: set[RevocationId] = set()

    def in_force(self, table: Table) -> None:
        """Write every kill in force."""
        for revocation in _in_order(table):
            self._shown.add(revocation.id)
            self._out.document({"event": "in_force", **describe(revocation, self._trust)})
            self._line(utc(revocation.at), "in force", revocation.kill)

    def applied(self, applied: Applied, table: Table) -> None:
        """Write what an event changes; of what a snapshot brought, the kills that are in force."""
        if isinstance(applied, Event):
            self._event(applied)
            return
        for revocation in _in_order(table):
            at = revocation.id
            if at not in self._shown and applied.has(at.log, at.seq):
                self._out.document({"event": "kill", **describe(revocation, self._trust)})
                self._line(clock(), "kill", revocation.kill)

    def _event(self, event: Event) -> None:
        for index, change in event.changes:
            place = RevocationId(event.log, event.seq, index)
            if place in self._shown:
                continue
            self._out.document(_document(event, change, place, self._trust))
            self._line(clock(), type(change).__name__.lower(), change)

    def _line(self, at: str, verb: str, change: Change) -> None:
        colour = _COLOURS.get(verb, "red")
        self._out.say((f"{at}  ", "dim"), (f"{verb:<9}", colour), f" {change.target}")
        words = [change.reason if change.reason != "unspecified" else "", change.reason_admin or ""]
        words += [f"by {change.actor}" if change.actor else ""]
        if isinstance(change, Kill) and change.expires_at is not None:
            words.append(f"until {utc(change.expires_at)}")
        said = ", ".join(filter(None, words))
        if said:
            self._out.say(" " * (len(at) + 12), (said, "dim"))


def _in_order(table: Table) -> list[Revocation]:
    found = [each for _, entry in table.items() for each in entry.revocations]
    return sorted(found, key=lambda each: (each.at, each.id))


def _document(event: Event, change: Change, place: RevocationId, trust: Trust) -> dict[str, Any]:
    verb = type(change).__name__.lower()
    if isinstance(change, Kill):
        return {"event": verb, **describe(Revocation(place, change, event.at), trust)}
    said: dict[str, Any] = plain(change)
    said.pop("op", None)
    said |= {"target": str(change.target), "names": [str(name) for name in change.names]}
    said |= {"publisher": event.publisher, "since": event.at, "id": str(place)}
    return {"event": verb, **said}


class StateLine:
    """Writes a line whenever the state of a subscription changes."""

    def __init__(self, out: Out) -> None:
        self._out = out
        self._last: tuple[State, tuple[str, ...], tuple[str, ...]] | None = None

    def show(self, now: Status) -> None:
        """Write it if it is new."""
        away = tuple(f"{name}: {why}" for name, why in now.sources.items() if why)
        if away == ("nats: starting",) or (now.state, away, tuple(now.trouble)) == self._last:
            return
        self._last = (now.state, away, tuple(now.trouble))
        self._out.document({"event": "state", **plain(now)})
        live = now.state is State.LIVE
        age = "" if now.age_s is None else f", proven {lasting(now.age_s)} ago"
        self._out.say(
            (f"{clock()}  ", "dim"),
            (f"{now.state.value:<9}", "green" if live else "yellow"),
            f" {now.targets} targets{age}" if live else f" {_MEANS[now.state]}{age}",
        )
        for why in (*away, *now.trouble.values()):
            self._out.say(" " * 20, (why, "yellow"))


MAX_SAID = 1024


class _Once(logging.Handler):
    """Writes each warning once: a connection that stays away is reported ten times a second."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Write it if it is new, and none once there were too many."""
        sentence = record.getMessage()
        if sentence not in self._said and len(self._said) < MAX_SAID:
            self._said.add(sentence)
            err(f"{clock()}  warning: {sentence}", fg="yellow")


def say_warnings() -> None:
    """Write what subscriber and publisher log, as forged events and heads that do not count."""
    handler = _Once()
    for name in ("rescind.subscriber", "rescind_publisher"):
        logging.getLogger(name).addHandler(handler)
