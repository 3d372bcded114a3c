"""Models of the two brokers: what they store, whom they tell, and every way they can lie.

A "stream" stores what comes in whatever order, deduplicated by message id for two minutes, as
JetStream does. A "fenced" store keeps each log's numbers contiguous by compare-and-append, as the
Redis script does. The first passes a live event on before it stores it, the second after.
"""

from collections.abc import Callable
from hashlib import sha256
from random import Random
from typing import Any, Protocol

import msgspec

from rescind.testing.clock import Time
from rescind.testing.sim.network import Network
from rescind_publisher.sinks.base import Record

DEDUP_S = 120.0
"""How long a message id is remembered (JetStream's default)."""


class Answer(msgspec.Struct, frozen=True):
    """What a broker says to an append: stored at `position`, or why not."""

    position: int = 0
    refused: str = ""
    """"gap": the log ends at `last`; "fork": other bytes lie there."""
    last: int = 0


class Listener(Protocol):
    """A subscriber, as a broker sees it."""

    name: str

    def heard(self, broker: str, raw: bytes) -> None:
        """Take a live event."""

    def heard_head(self, broker: str, raw: bytes) -> None:
        """Take a head."""


class Read(msgspec.Struct, frozen=True):
    """What a reader gets: the events behind its cursor and the new cursor, or a rewind."""

    raws: tuple[bytes, ...] = ()
    position: int = 0
    digest: bytes = b""
    rewound: bool = False


class Lies(msgspec.Struct):
    """What a broker does wrong at present; each counts how many steps ask for it."""

    hide: int = 0
    withhold: float = 1.0
    skip: int = 0
    replay_heads: int = 0
    replay_events: int = 0
    late_s: float = 0.0
    forge: int = 0
    flip: int = 0


class StreamBroker:
    """Stores in any order; what has a known message id is a duplicate, whatever its bytes."""

    any_order = True
    tells_first = True
    """Whether live events are passed on before they are stored, or instead of it."""

    def __init__(self, name: str, time: Time, network: Network, random: Random) -> None:
        self.name = name
        self.up = True
        self.lies = Lies()
        self.listeners: list[Listener] = []
        self.store: list[bytes | None] = []
        """None: purged; the numbers before it are never used again."""
        self._ids: dict[str, tuple[int, float]] = {}
        self._heads: list[bytes] = []
        self._time, self._network, self._random = time, network, random

    # --- for publishers ---

    def append(self, record: Record, msg_id: str, src: str, reply: Callable[..., None]) -> None:
        """Take an event; an empty id is never a duplicate."""
        if not self.up:
            return
        if self.tells_first:
            self._tell(record.raw)
        if self.lies.forge and self._random.random() < 0.5:  # noqa: PLR2004 - every other one
            answer = Answer(position=self._random.randint(1, len(self.store) + 1))
        else:
            answer = self._store(record, msg_id)
            if not self.tells_first and not answer.refused:
                self._tell(record.raw)
        self._network.send(self.name, src, reply, answer)

    def _store(self, record: Record, msg_id: str) -> Answer:
        position, at = self._ids.get(msg_id, (0, 0.0))
        if msg_id and position and self._time.now - at < DEDUP_S:
            return Answer(position)
        self.store.append(record.raw)
        if msg_id:
            self._ids[msg_id] = (len(self.store), self._time.now)
        return Answer(len(self.store))

    def read_back(self, position: int, src: str, reply: Callable[..., None]) -> None:
        """Say what lies at a position."""
        if self.up:
            self._network.send(self.name, src, reply, self._at(position))

    def digests(self, src: str, reply: Callable[..., None]) -> None:
        """Say what is stored, for a scrub."""
        if self.up:
            found = {sha256(raw).digest(): n for n, raw in enumerate(self.store, 1) if raw}
            self._network.send(self.name, src, reply, found)

    def _at(self, position: int) -> bytes | None:
        return self.store[position - 1] if 0 < position <= len(self.store) else None

    def announce(self, raw: bytes) -> None:
        """Pass a head on."""
        if not self.up:
            return
        self._heads.append(raw)
        if self.lies.replay_heads:
            raw = self._random.choice(self._heads[: max(1, len(self._heads) // 2)])
        if self.lies.replay_events and (stored := [raw for raw in self.store if raw]):
            self._tell(self._random.choice(stored))
        if self.lies.late_s:
            self._time.after(self.lies.late_s, self._pass_on, raw)
        else:
            self._pass_on(raw)

    def _pass_on(self, raw: bytes) -> None:
        for each in self.listeners:
            self._network.send(self.name, each.name, each.heard_head, self.name, self._dirt(raw))

    def _tell(self, raw: bytes) -> None:
        for each in () if self.lies.hide else self.listeners:
            self._network.send(self.name, each.name, each.heard, self.name, self._dirt(raw))

    # --- for subscribers ---

    def read(self, position: int, digest: bytes, src: str, reply: Callable[..., None]) -> None:
        """Give what is stored behind a cursor; 0: everything."""
        if not self.up:
            return
        known = self._at(position)
        if position and (known is None or sha256(known).digest() != digest):
            found = Read(rewound=True)
        else:
            found = self._behind(position)
        self._network.send(self.name, src, reply, found)

    def _behind(self, position: int) -> Read:
        shown = int(len(self.store) * self.lies.withhold)
        places = [n for n in range(position, shown) if self.store[n] is not None]
        if not places:
            return Read()
        raws = [self.store[n] or b"" for n in places]
        digest = sha256(raws[-1]).digest()
        if self.lies.skip:
            raws = [raw for raw in raws if self._random.random() < 0.5]  # noqa: PLR2004
        return Read(tuple(map(self._dirt, raws)), places[-1] + 1, digest)

    def _dirt(self, raw: bytes) -> bytes:
        if not self.lies.flip or self._random.random() < 0.5:  # noqa: PLR2004
            return raw
        return flip(raw, self._random)

    # --- what befalls it ---

    def purge(self) -> None:
        """Drop everything; numbers and message ids go on."""
        self.store = [None] * len(self.store)

    def recreate(self) -> None:
        """Begin anew."""
        self.store, self._ids = [], {}

    def restore(self, share: float) -> None:
        """Come back from a copy that had only so much of it."""
        self.store = self.store[: int(len(self.store) * share)]
        self._ids = {k: v for k, v in self._ids.items() if v[0] <= len(self.store)}

    def rot(self) -> None:
        """Have other bytes in one place."""
        places = [n for n, raw in enumerate(self.store) if raw]
        if places:
            place = self._random.choice(places)
            self.store[place] = flip(self.store[place] or b"", self._random)

    def garbage(self, msg_id: str, log: str, seq: int) -> None:
        """Store garbage where event `seq` of `log` is about to come."""
        self._store(Record(log, seq, b"garbage " + self._random.randbytes(8)), msg_id)


class FencedBroker(StreamBroker):
    """Compare-and-append: each log's numbers lie contiguous, and equal bytes only are success."""

    any_order = False
    tells_first = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._keys: dict[str, list[int]] = {}
        """For each log, where its number 1, 2, ... lies."""

    def _store(self, record: Record, msg_id: str) -> Answer:
        del msg_id
        places = self._keys.setdefault(record.log, [])
        last = len(places)
        if record.seq > last + 1:
            return Answer(refused="gap", last=last)
        if record.seq == last + 1:
            self.store.append(record.raw)
            places.append(len(self.store))
        elif self._at(places[record.seq - 1]) != record.raw:
            return Answer(refused="fork", last=last)
        return Answer(places[record.seq - 1])

    def move(self, log: str) -> None:
        """Begin a log's key anew, for what lies in the old one is not the log."""
        self._keys.pop(log, None)

    def purge(self) -> None:
        """Drop everything, the keys too."""
        super().purge()
        self._keys = {}

    def recreate(self) -> None:
        """Begin anew."""
        super().recreate()
        self._keys = {}

    def restore(self, share: float) -> None:
        """Come back without the newest, as after a failover."""
        super().restore(share)
        end = len(self.store)
        self._keys = {log: [n for n in at if n <= end] for log, at in self._keys.items()}


def flip(raw: bytes, random: Random) -> bytes:
    """Return the bytes with one bit the other way."""
    if not raw:
        return raw
    place = random.randrange(len(raw))
    return raw[:place] + bytes([raw[place] ^ (1 << random.randrange(8))]) + raw[place + 1 :]
