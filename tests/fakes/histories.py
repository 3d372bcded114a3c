"""Histories of several logs, as hypothesis makes them, and the model that the join must equal."""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import msgspec
from hypothesis import strategies as st

from rescind_protocol import renames
from rescind_protocol.changes import Change, Effect, Kill, Reinstate, Retract, RevocationId
from rescind_protocol.events import GENESIS, Event
from rescind_protocol.heads import Head, Position
from rescind_protocol.image import Image, id_number
from rescind_protocol.join import FLOOR_LIFE_S, Replica
from rescind_protocol.limits import DEFAULT_QUOTA
from rescind_protocol.renames import MOVED
from rescind_protocol.table import ALIVE, ALL
from rescind_protocol.targets import Target, agent, everyone, session
from tests.fakes.fabric import PUBLISHER, SECOND, log_id

LOGS = (log_id(PUBLISHER, "run 1"), log_id(PUBLISHER, "run 2"), log_id(SECOND, "run 1"))
TARGETS = (agent("did:web:acme.example:x7"), session("s"), everyone())
MAX_EVENTS = 5
TIMES = (10, 20, 30)
HORIZONS = (15, 25, FLOOR_LIFE_S + 15, FLOOR_LIFE_S + 25)


def event_of(
    log: str, seq: int, *changes: Change, branch: str = "", quota: int = DEFAULT_QUOTA
) -> Event:
    """Return a verified event without signing it; another `branch` is a fork."""
    return Event(
        log=log,
        seq=seq,
        prev=digest(log, seq - 1, branch) if seq > 1 else GENESIS,
        digest=digest(log, seq, branch),
        publisher="soc",
        quota=quota,
        at=0,
        changes=tuple(enumerate(changes)),
        void=0,
    )


def digest(log: str, seq: int, branch: str = "") -> bytes:
    """The digest of such an event."""
    return sha256(f"{log} {seq} {branch}".encode()).digest()


def horizon_of(log: str, until: int) -> Head:
    """Return a head that moves the horizon of one log."""
    return Head("soc", until, 1, 1, until, {log: Position(0, GENESIS)}, 0)


_targets = st.sampled_from(TARGETS)
_ids = st.builds(RevocationId, st.sampled_from(LOGS), st.integers(1, MAX_EVENTS), st.integers(0, 2))
_names = st.lists(_ids, min_size=1, max_size=3).map(tuple)
_kills = st.builds(
    Kill,
    target=_targets,
    effect=st.sampled_from(Effect),
    issued_before=st.none() | st.sampled_from(TIMES),
    expires_at=st.none() | st.sampled_from(TIMES),
)
_changes = (
    _kills
    | _kills
    | st.builds(Reinstate, target=_targets, names=_names, floor=st.sampled_from(TIMES))
    | st.builds(Retract, target=_targets, names=_names)
)


@st.composite
def histories(draw: st.DrawFn, *, moves: bool = True) -> list[Event]:
    """All events of up to three logs, each contiguous; most reinstatements name a kill in them."""
    said: dict[Place, Any] = {
        (log, number + 1): draw(st.lists(_changes, min_size=1, max_size=3))
        for log in LOGS
        for number in range(draw(st.integers(0, MAX_EVENTS)))
    }
    kills = [
        (RevocationId(log, seq, index), change.target)
        for (log, seq), changes in said.items()
        for index, change in enumerate(changes)
        if isinstance(change, Kill)
    ]
    aims = st.sampled_from([*kills, *kills, None] if kills else [None])
    said = {
        place: tuple(_aim(change, draw(aims)) for change in changes)
        for place, changes in said.items()
    }
    if moves:
        _move_some(draw, said, kills)
    return [event_of(log, seq, *changes) for (log, seq), changes in said.items()]


Place = tuple[str, int]


def _move_some(
    draw: st.DrawFn,
    said: dict[Place, tuple[Change, ...]],
    kills: list[tuple[RevocationId, Target]],
) -> None:
    """Put moves into events that are there: of kills of the same key, moved ones among them.

    Some of what was not there, or with another expiry, as only a broken publisher says.
    """
    mine = [place for place in said if place[0] in LOGS[:2]]
    names = [name for name, _ in kills if name.log in LOGS[:2]]
    for place in draw(st.lists(st.sampled_from(mine), max_size=5)) if mine else ():
        older = [name for name in names if (name.log, name.seq) != place]
        name = draw(st.sampled_from(older) | _ids if older else _ids)
        if name.log not in LOGS[:2] or (name.log, name.seq) == place:
            continue
        kill = _said_at(said, name) or draw(_kills)
        if draw(st.integers(0, 9)) == 0:
            kill = msgspec.structs.replace(
                kill, expires_at=draw(st.none() | st.sampled_from(TIMES))
            )
        more = draw(st.lists(st.sampled_from(older), max_size=1)) if older else []
        end = Retract(target=kill.target, names=(name, *more), reason=MOVED)
        names.append(RevocationId(*place, len(said[place])))
        said[place] = (*said[place], kill, end)


def _said_at(said: dict[Place, tuple[Change, ...]], name: RevocationId) -> Kill | None:
    changes = said.get((name.log, name.seq), ())
    found = changes[name.index] if name.index < len(changes) else None
    return found if isinstance(found, Kill) else None


def _aim(change: Change, at: tuple[RevocationId, Target] | None) -> Change:
    if at is None or isinstance(change, Kill):
        return change
    return msgspec.structs.replace(change, target=at[1], names=(at[0], *change.names[1:]))


View = dict[bytes, tuple[frozenset[RevocationId], int, int, int]]


def view(replica: Replica) -> View:
    """What a replica's table says: target → live ids, cut, floor, cut of suspensions."""
    return {
        target: (frozenset(r.id for r in e.revocations), e.cut, e.floor, e.suspended)
        for target, e in replica.table.items()
    }


def state(image: Image) -> tuple[object, ...]:
    """An image without the order in which things arrived."""
    return (
        image.vector,
        image.above,
        image.named,
        image.horizons,
        sorted(image.revocations, key=lambda r: r.id),
        sorted(image.floors, key=lambda f: (f.target, f.log)),
    )


def _class(moves: list[renames.Rename], name: RevocationId, target: Target) -> set[RevocationId]:
    """Return all ids by which the kill goes or went."""
    ids = {name}
    while (
        more := {
            each
            for move in moves
            if move.kill.target == target and not ids.isdisjoint((move.id, *move.names))
            for each in (move.id, *move.names)
        }
        - ids
    ):
        ids |= more
    return ids


@dataclass
class Model:
    """What must hold of a replica that knows a set of events and horizons; no order, no merging."""

    events: list[Event] = field(default_factory=list)
    horizons: dict[str, int] = field(default_factory=dict)

    def add(self, other: "Model") -> None:
        """Know what the other knows, too."""
        self.events += [e for e in other.events if e not in self.events]
        for log, until in other.horizons.items():
            self.horizons[log] = max(until, self.horizons.get(log, ALIVE))

    def live(self) -> list[tuple[RevocationId, Kill]]:
        """Every kill that goes by no newer id, and of whose ids none is over."""
        said = [(e, i, c) for e in self.events for i, c in e.changes]
        moves = [move for e in self.events for move in renames.of_event(e).values()]
        ends = {(m.id.log, m.id.seq, m.id.index + 1) for m in moves}
        named = {
            (n, c.target)
            for e, i, c in said
            if not isinstance(c, Kill) and (e.log, e.seq, i) not in ends
            for n in c.names
        }
        kills = {RevocationId(e.log, e.seq, i): c for e, i, c in said if isinstance(c, Kill)}
        older = {(n, move.kill.target) for move in moves for n in move.names}
        return [
            (name, kill)
            for name, kill in kills.items()
            if (name, kill.target) not in older
            and not self._class_over(_class(moves, name, kill.target), kill, kills, named)
        ]

    def _class_over(
        self,
        ids: set[RevocationId],
        kill: Kill,
        kills: dict[RevocationId, Kill],
        named: set[tuple[RevocationId, Target]],
    ) -> bool:
        """Whether any of these ids is named, expired, or not the kill that it should be."""
        seen = {(e.log, e.seq) for e in self.events}
        for name in ids:
            found = kills.get(name)
            if (name, kill.target) in named or self._over(name.log, kill.expires_at):
                return True
            if (name.log, name.seq) in seen and (
                found is None or (found.target, found.expires_at) != (kill.target, kill.expires_at)
            ):
                return True
        return False

    def _over(self, log: str, until: int | None) -> bool:
        return until is not None and until <= self.horizons.get(log, ALIVE)

    def view(self) -> View:
        """The table that follows."""
        floors: dict[bytes, int] = {}
        for event in self.events:
            for _, change in event.changes:
                if isinstance(change, Reinstate) and not self._over(
                    event.log, change.floor + FLOOR_LIFE_S
                ):
                    target = change.target.digest
                    floors[target] = max(floors.get(target, ALIVE), change.floor)
        live: dict[bytes, list[tuple[RevocationId, Kill]]] = {t: [] for t in floors}
        for name, kill in self.live():
            live.setdefault(kill.target.digest, []).append((name, kill))
        return {t: self._entry(kills, floors.get(t, ALIVE)) for t, kills in live.items()}

    @staticmethod
    def _entry(
        kills: list[tuple[RevocationId, Kill]], floor: int
    ) -> tuple[frozenset[RevocationId], int, int, int]:
        def cut(effect: Effect) -> int:
            cuts = [
                ALL if k.issued_before is None else k.issued_before
                for _, k in kills
                if k.effect is effect
            ]
            return max(cuts, default=ALIVE)

        ids = frozenset(name for name, _ in kills)
        return ids, max(cut(Effect.USE), floor), floor, cut(Effect.ISSUANCE)

    def live_sum(self, log: str) -> int:
        """The sum that heads carry."""
        return sum(id_number(name) for name, _ in self.live() if name.log == log) % 2**128
