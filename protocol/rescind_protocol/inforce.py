"""What is in force, and what changes it: the half of the join that ends in the table.

`Replica` adds the other half: what was seen, and where logs end. One writer; readers get the
table, which is immutable. Whatever is done here costs the same however many kills a target has.
"""

from collections.abc import Iterable

import msgspec

from rescind_protocol import killset, places, renames
from rescind_protocol.changes import Kill, Reinstate, Revocation, RevocationId
from rescind_protocol.events import Event
from rescind_protocol.expiry import Expiry
from rescind_protocol.image import Floor, Image, Name
from rescind_protocol.limits import BADGE_KILL_MARGIN_S, MAX_BADGE_TTL_S, SKEW_S
from rescind_protocol.live import Live
from rescind_protocol.merging import Merge, There
from rescind_protocol.names import Names
from rescind_protocol.renames import Aliases, Rename
from rescind_protocol.rights import LOG_PREFIX_CHARS
from rescind_protocol.table import ALIVE, Entry, Table, TableEdit, alone, entry

_NOTHING = Entry(ALIVE, ())
FLOOR_LIFE_S = MAX_BADGE_TTL_S + BADGE_KILL_MARGIN_S + SKEW_S
"""A floor is dropped when no badge with `iat` up to it can still be valid."""


class InForce:
    """The kills and floors of one state."""

    def __init__(self) -> None:
        self.table = Table()
        self.named = Names()
        self.horizons: dict[str, int] = {}
        self.forked: set[str] = set()
        self.live = Live()
        self.disputed: set[str] = set()
        """Keys (as log ids begin) that may not have heard yet of the end of some of their kills."""
        self._expiry = Expiry()
        self._aliases = Aliases()

    def seen(self, name: RevocationId, /) -> bool:
        """Whether the event that holds this id has been applied."""
        raise NotImplementedError

    def _has_seen_any(self) -> bool:
        raise NotImplementedError

    # --- events ---

    def _effect(self, event: Event) -> None:
        """Kills first: a reinstatement in the same event may name them."""
        edit, moves = TableEdit(self.table), self._moves(event)
        self._meet_names(edit, event)
        for index, change in event.changes:
            if isinstance(change, Kill) and index not in moves:
                self._kill(edit, RevocationId(event.log, event.seq, index), change, event.at)
        for move in moves.values():
            self._rename(edit, move, event.at)
        for index, change in event.changes:
            if not isinstance(change, Kill) and index - 1 not in moves:
                target = change.target.digest
                self._end(edit, target, change.names, by=event.log)
                if isinstance(change, Reinstate):
                    self._raise_floor(edit, Floor(target, change.floor, event.log))
        self.named.drop(event.log, event.seq)
        self.table = edit.done()

    def _moves(self, event: Event) -> dict[int, Rename]:
        return renames.of_event(event)

    def _effect_of_fork(self, event: Event) -> None:
        """Over-block: the kills of both branches count, the second one's reinstatements do not."""
        edit = TableEdit(self.table)
        for index, change in event.changes:
            if isinstance(change, Kill):
                self._kill(edit, RevocationId(event.log, event.seq, index), change, event.at)
        self.table = edit.done()

    def _kill(self, edit: TableEdit, name: RevocationId, kill: Kill, at: int) -> None:
        if self._lives(name, kill):
            self._add(edit, kill.target.digest, Revocation(name, self._kept(kill), at))

    def _kept(self, kill: Kill) -> Kill:
        """Return what this state keeps of a kill."""
        return kill

    def _lean(self, revocation: Revocation) -> Revocation:
        kept = self._kept(revocation.kill)
        if kept is revocation.kill:
            return revocation
        return Revocation(revocation.id, kept, revocation.at, revocation.was)

    def _lives(self, name: RevocationId, kill: Kill) -> bool:
        """Whether a kill is in force when it comes: not named before, not expired."""
        if self.named and Name(name, kill.target.digest) in self.named:
            return False
        return kill.expires_at is None or kill.expires_at > self.horizons.get(name.log, ALIVE)

    def _add(self, edit: TableEdit, target: bytes, revocation: Revocation) -> None:
        old = edit.get(target)
        if old is None:
            edit.put(target, alone(revocation))
        else:
            kills = killset.add(old.revocations, revocation)
            if kills is old.revocations:
                return
            edit.put(target, entry(kills, old.floors))
        self.live.add(revocation)
        self._note(target, revocation)

    def _note(self, target: bytes, revocation: Revocation) -> None:
        """Know when it expires, and what it was called before."""
        until, name = revocation.kill.expires_at, revocation.id
        if until is not None:
            self._expiry.add(name.log, until, target, name)
        if revocation.was:
            self._aliases.add(target, revocation.was, name)
            if until is not None:
                for log in {old.log for old in revocation.was} - {name.log}:
                    self._expiry.add(log, until, target, name)

    def _add_all(self, edit: TableEdit, revocations: Iterable[Revocation]) -> None:
        """Do as `_add` for each where nothing was known: a start waits for this.

        What they add to the sums is looked at when somebody asks for these.
        """
        counts: dict[str, int] = {}
        added = 0
        for revocation in revocations:
            log = revocation.id.log
            target = revocation.kill.target.digest
            leaf = edit.leaf(target)
            if target in leaf:
                self._add(edit, target, revocation)
                continue
            leaf[target] = alone(revocation)
            counts[log] = counts.get(log, 0) + places.of(revocation.kill)
            added += 1
            self.live.note(revocation)
            self._note(target, revocation)
        edit.grow(added)
        for log, count in counts.items():
            self.live.add_counted(log, count)

    def _end(
        self, edit: TableEdit, target: bytes, names: Iterable[RevocationId], *, by: str
    ) -> None:
        for name in names:
            found = self._class(edit, target, (name,))
            self._drop(edit, target, found)
            self._dispute(found, by)
            if not self.seen(name):
                self.named.add(Name(name, target))

    def _drop(self, edit: TableEdit, target: bytes, gone: Iterable[Revocation]) -> None:
        """Take kills out that are in force; each on its own, however many there are beside it."""
        for revocation in gone:
            old = edit.get(target) or _NOTHING
            edit.put(target, entry(killset.without(old.revocations, revocation), old.floors))
            self.live.drop(revocation)
            if revocation.was:
                self._aliases.drop(target, revocation.was, revocation.id)

    def _dispute(self, gone: Iterable[Revocation], by: str = "") -> None:
        """Note whose kills were ended by somebody else, who is told of it in his own time."""
        keys = {revocation.id.log[:LOG_PREFIX_CHARS] for revocation in gone}
        self.disputed |= keys - {by[:LOG_PREFIX_CHARS]}

    def _raise_floor(self, edit: TableEdit, floor: Floor) -> None:
        if self._floor_over(floor.log, floor.iat):
            return
        old = edit.get(floor.target) or _NOTHING
        mine = dict(old.floors)
        if floor.iat > mine.get(floor.log, ALIVE):
            mine[floor.log] = floor.iat
            edit.put(floor.target, entry(old.revocations, tuple(sorted(mine.items()))))
            self._expiry.add(floor.log, floor.iat + FLOOR_LIFE_S, floor.target, None)

    # --- moves (`renames`) ---

    def _class(
        self, edit: TableEdit, target: bytes, names: Iterable[RevocationId]
    ) -> list[Revocation]:
        """Return the kills in force that go, or went, by any of these ids."""
        todo, found = list(names), dict[RevocationId, tuple[Revocation, ...]]()
        while todo:
            name = todo.pop()
            for each in (name, *self._aliases.of(target, name)):
                if each in found:
                    continue
                old = edit.get(target)
                found[each] = killset.find(old.revocations, each) if old is not None else ()
                todo += [was for revocation in found[each] for was in revocation.was]
        return [revocation for some in found.values() for revocation in some]

    def _is_over(self, edit: TableEdit, target: bytes, name: RevocationId) -> bool:
        """Whether an old id is known to be in force no more, by itself and by any other id."""
        if self._class(edit, target, (name,)):
            return False
        if self.named and Name(name, target) in self.named:
            return True
        return name.log not in self.forked and self.seen(name)

    def _meet_names(self, edit: TableEdit, event: Event) -> None:
        """End what goes by an id of this event that is not the kill which was moved."""
        said = dict(event.changes)
        for name in self.named.of(event.log, event.seq) if self.named else ():
            kill = said.get(name.id.index)
            found = self._class(edit, name.target, (name.id,))
            if not (
                isinstance(kill, Kill)
                and kill.target.digest == name.target
                and all(each.kill.expires_at == kill.expires_at for each in found)
            ):
                self._drop(edit, name.target, found)

    def _rename(self, edit: TableEdit, move: Rename, at: int) -> None:
        """Let a kill go on by a new id, unless it is over by any of its old ones."""
        kill, target = move.kill, move.kill.target.digest
        again = self.named and Name(move.id, target) in self.named  # it goes on by a newer one yet
        found = self._class(edit, target, (move.id, *move.names))
        names = {move.id, *move.names, *(n for each in found for n in (each.id, *each.was))}
        over = (
            any(self._is_over(edit, target, name) for name in move.names)
            or (again and self._is_over(edit, target, move.id))
            or any(each.kill.expires_at != kill.expires_at for each in found)
            or self._has_expired(kill, names)
        )
        self._drop(edit, target, found)
        if over:
            self.disputed.add(move.id.log[:LOG_PREFIX_CHARS])
        for each in found if not over else ():
            if each.id not in move.names:
                self._add_known_as(edit, each, names)
        if not (over or again):
            self._add_known_as(edit, Revocation(move.id, self._kept(kill), at), names)
        for name in move.names:
            if not self.seen(name):
                self.named.add(Name(name, target))

    def _add_known_as(
        self, edit: TableEdit, revocation: Revocation, names: set[RevocationId]
    ) -> None:
        was = tuple(sorted(names - {revocation.id}))
        target = revocation.kill.target.digest
        self._add(edit, target, Revocation(revocation.id, revocation.kill, revocation.at, was))

    # --- the horizon ---

    def _purge(self, log: str, horizon: int) -> None:
        due = self._expiry.due(log, horizon)
        if not due:
            return
        edit = TableEdit(self.table)
        for target, name in due:
            old = edit.get(target)
            if old is None:
                continue
            if name is None:
                floors = tuple(f for f in old.floors if not self._floor_over(*f))
                edit.put(target, entry(old.revocations, floors))
            else:
                found = killset.find(old.revocations, name)
                self._drop(edit, target, [r for r in found if self._expired(r)])
        self.table = edit.done()

    def _expired(self, revocation: Revocation) -> bool:
        return self._has_expired(revocation.kill, (revocation.id, *revocation.was))

    def _has_expired(self, kill: Kill, names: Iterable[RevocationId]) -> bool:
        """Whether the horizon of any of its logs says so; they are one key's."""
        until = kill.expires_at
        return until is not None and any(
            until <= self.horizons.get(name.log, ALIVE) for name in names
        )

    def _floor_over(self, log: str, iat: int) -> bool:
        return iat + FLOOR_LIFE_S <= self.horizons.get(log, ALIVE)

    # --- what somebody else's state says ---

    def set_aside(self, revocation: Revocation) -> None:
        """Take a kill out that was ended by events which this state does not hear of."""
        edit = TableEdit(self.table)
        self._drop(edit, revocation.kill.target.digest, (revocation,))
        self.table = edit.done()

    def restore(self, revocation: Revocation) -> None:
        """Take one back that was set aside, unless it has expired meanwhile."""
        if not self._expired(revocation):
            edit = TableEdit(self.table)
            self._add(edit, revocation.kill.target.digest, revocation)
            self.table = edit.done()

    # --- another state ---

    def _merge_kills(self, edit: TableEdit, image: Image) -> None:
        """Join in what another state has in force; at a start there is nothing to compare."""
        image = msgspec.structs.replace(
            image, revocations=tuple(map(self._lean, image.revocations))
        )
        if self.table.size == 0 and not (self.named or self.forked or self._has_seen_any()):
            self._add_all(edit, image.revocations)
            return
        mine = (r for _, found in self.table.items() for r in found.revocations)
        merge = Merge(self, mine, There(image), self.forked)
        self._dispute(merge.gone)
        for revocation in merge.gone:
            self._drop(edit, revocation.kill.target.digest, (revocation,))
        for revocation in merge.come:
            self._add(edit, revocation.kill.target.digest, revocation)

    def has_named(self, name: Name, /) -> bool:
        """Whether a kill was named before it came."""
        return bool(self.named) and name in self.named

    def find(self, target: bytes, name: RevocationId, /) -> tuple[Revocation, ...]:
        """Return the kills of this very id that are in force."""
        found = self.table.get(target)
        return () if found is None else killset.find(found.revocations, name)

    def goes_on(self, target: bytes, name: RevocationId, /) -> tuple[RevocationId, ...]:
        """Return the ids in force that an old id stands for."""
        return self._aliases.of(target, name)
