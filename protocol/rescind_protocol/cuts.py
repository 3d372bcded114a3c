"""Where logs end: by the root, which revokes a key, or by a retirement, for a publisher is gone.

- of a log with a cut `(seq, digest)` the events count that lead to the one with this digest, hash
  by hash; all others are void, and it is complete when it stands at the cut
- the root's cut decides alone
- of several retirements of one key the deepest cut of each log decides: what somebody has seen,
  and relied upon, is not taken back by one who had seen less. Of equal numbers the greater digest.
  So retirements are joined like everything else: any order, any number of times
- a state remembers the deepest cuts there are, up to a number (`MAX_CUTS`): a choice that no order
  changes, and who wants to push others out has to name events that nobody has, so that nothing is
  fresh until the root revokes the key that does
- a retirement counts wherever its log is cut by another retirement: else of two publishers that
  retire each other the one that is heard first would win, here this one and there that one
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from rescind_protocol.changes import Retire
from rescind_protocol.events import Event
from rescind_protocol.limits import MAX_ABOVE, MAX_CUTS, MAX_RETIRED_KEYS
from rescind_protocol.positions import Position, from_text
from rescind_protocol.rights import LOG_PREFIX_CHARS

Retired = Mapping[str, Mapping[str, Position]]
"""Key to log to its last event that counts."""
ByRoot = Callable[[str], Position | None]
"""Where the root has a log end; None: nowhere (`Trust.cut`)."""


def nowhere(_log: str) -> Position | None:
    """Cut no log."""
    return None


class Cuts:
    """All cuts that a state knows of."""

    def __init__(self, by_root: ByRoot = nowhere) -> None:
        self.by_root = by_root
        self._retired: dict[str, dict[str, Position]] = {}
        self._ends: dict[str, Position] = {}
        """Log to its deepest cut by any retirement: asked for with each event."""

    @property
    def retired(self) -> dict[str, dict[str, Position]]:
        """What retirements have said, to be kept; a copy."""
        return {key: dict(logs) for key, logs in self._retired.items()}

    def ends_of(self, key: str) -> dict[str, Position]:
        """Return where retirements have a key's logs end; a copy."""
        return dict(self._retired.get(key, {}))

    def has_retired(self, key: str | None) -> bool:
        """Whether a key's publisher is gone."""
        return key in self._retired

    def has_room(self, retired: Retired) -> bool:
        """Whether these are not too many keys; one that is known takes no room."""
        return len(self._retired.keys() | retired.keys()) <= MAX_RETIRED_KEYS

    def of(self, log: str) -> Position | None:
        """Where a log ends, None if nowhere."""
        return self.by_root(log) or self._ends.get(log)

    def retirements(self) -> Iterator[tuple[str, Position]]:
        """Every log that ends by a retirement, and where; the root's word is not among them."""
        for log, at in self._ends.items():
            if self.by_root(log) is None:
                yield log, at

    def voids(self, event: Event) -> bool:
        """Whether an event is beyond the cut of its log, as far as its number and digest show."""
        cut = self.of(event.log)
        if cut is None or event.seq < cut.seq:
            return False
        return (event.seq, event.digest) != (cut.seq, cut.digest)

    def join(self, retired: Retired) -> list[str]:
        """Join retirements in; return the logs that end elsewhere by it."""
        for key, logs in retired.items():
            mine = self._retired.setdefault(key, {})
            for log, at in logs.items():
                mine[log] = _deeper(mine.get(log), at)
        self._forget_shallow()
        before, self._ends = self._ends, {}
        for log, at in self._named():
            self._ends[log] = _deeper(self._ends.get(log), at)
        both = {**before, **self._ends}
        return [log for log in both if before.get(log) != self._ends.get(log)]

    def _named(self) -> Iterator[tuple[str, Position]]:
        # Whoever may retire may also name a key that nobody has, with another one's prefix.
        for key, logs in self._retired.items():
            for log, at in logs.items():
                if log.startswith(key[:LOG_PREFIX_CHARS]):
                    yield log, at

    def _forget_shallow(self) -> None:
        """Keep the deepest cuts only. A cut is never pushed out by one that is less deep.

        So whatever is pushed out of one state is pushed out of every state that it is joined into.
        Those that decide nothing go first: of a log that the root has ended, or that no key in the
        trust file has. They could be as deep as one likes, and no view would wait for them.
        """
        named = sum(map(len, self._retired.values()))
        if named <= MAX_CUTS:
            return
        ranked = sorted(
            (self._decides(key, log), at.seq, at.digest, log, key)
            for key, logs in self._retired.items()
            for log, at in logs.items()
        )
        for *_, log, key in ranked[: named - MAX_CUTS]:
            del self._retired[key][log]

    def _decides(self, key: str, log: str) -> bool:
        return log.startswith(key[:LOG_PREFIX_CHARS]) and self.by_root(log) is None


def _deeper(one: Position | None, other: Position) -> Position:
    """Return the cut that decides of two."""
    if one is None or (other.seq, other.digest) > (one.seq, one.digest):
        return other
    return one


def said(retires: Iterable[Retire]) -> Retired:
    """Return what retirements say as positions."""
    found: dict[str, dict[str, Position]] = {}
    for each in retires:
        logs = found.setdefault(each.key, {})
        for log, at in from_text(each.logs).items():
            logs[log] = _deeper(logs.get(log), at)
    return found


class Branch:
    """Of a log with two histories, the one that leads to its cut; read backwards from there.

    An event waits until the one behind it names its digest. Of more than may wait, those nearest to
    the cut stay: the others come again when all is read again, and it is their turn.
    """

    def __init__(self, cut: Position) -> None:
        self.cut = cut
        self._wanted = {cut.seq: cut.digest}
        self._waiting: dict[int, dict[bytes, Event]] = {}
        self._size = 0

    def take(self, event: Event) -> list[Event] | None:
        """Return the events that are now known to be of it, None if this one has to wait."""
        if event.seq not in self._wanted:
            same = self._waiting.setdefault(event.seq, {})
            self._size += event.digest not in same
            same[event.digest] = event
            if self._size > MAX_ABOVE:
                self._forget_half()
            return None
        found: list[Event] = []
        next_one: Event | None = event
        while next_one is not None and self._wanted.get(next_one.seq) == next_one.digest:
            found.append(next_one)
            before = next_one.seq - 1
            self._wanted[before] = next_one.prev
            others = self._waiting.pop(before, {})
            self._size -= len(others)
            next_one = others.get(next_one.prev)
        return found

    def _forget_half(self) -> None:
        """Forget those with the lowest numbers; half, so that few events pay for the sorting."""
        waiting = sorted((seq, digest) for seq, same in self._waiting.items() for digest in same)
        for seq, digest in waiting[: len(waiting) // 2]:
            del self._waiting[seq][digest]
            if not self._waiting[seq]:
                del self._waiting[seq]
        self._size -= len(waiting) // 2
