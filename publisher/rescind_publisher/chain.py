"""One run's log: numbered, hash-chained, signed events. The pure step; no I/O, no clock.

`number` signs and changes nothing; `advance` is called once the events lie in the spool. A number
that may have been used is never used again: after a commit that failed, open a new chain.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from rescind_protocol import events, heads
from rescind_protocol.changes import Change, Retire, Retract
from rescind_protocol.encoding import b64url_encode
from rescind_protocol.events import GENESIS, Event
from rescind_protocol.heads import Head, Position
from rescind_protocol.keys import SigningKey
from rescind_protocol.limits import MAX_CHANGES, MAX_EVENT_BYTES
from rescind_protocol.trust import LOG_PREFIX_CHARS, TWO_KEY_KINDS

_LOG_RANDOM_BYTES = 16
_FRAME_BYTES = 4096
"""Header, claims, signature and an approval: under 1.5 KiB, whatever the changes are."""
CHANGES_BYTES = (MAX_EVENT_BYTES - _FRAME_BYTES) * 3 // 4
"""Encoded changes that fit into one event; base64url takes 4 bytes for 3."""


class Numbered(msgspec.Struct, frozen=True, gc=False):
    """A signed event with its place, as bytes and as what a reader would make of them."""

    event: Event
    raw: bytes


class Voice(msgspec.Struct, frozen=True):
    """In whose name events are signed; `approver` is the second key that wide kills need."""

    key: SigningKey
    publisher: str
    fabric: str
    quota: int
    approver: SigningKey | None = None
    random: Callable[[int], bytes] = secrets.token_bytes
    """Where the names of logs come from; a simulator that must replay brings its own."""


class Chain:
    """The log of one run: a new id at each start, so that no restored spool re-mints numbers."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self.log = new_log_id(voice.key.kid, voice.random)
        self.at = Position(0, GENESIS)

    def number(
        self,
        batches: Iterable[tuple[Change, ...]],
        at: int,
        retires: tuple[Retire, ...] = (),
    ) -> list[Numbered]:
        """Sign one event for each batch of changes; `at` in unix seconds. Raises `TooLarge`.

        `retires` are said in each: there is one batch, an empty one, where there are any.
        """
        place, made = self.at, []
        for changes in batches:
            numbered = self._sign(changes, place, at, retires)
            made.append(numbered)
            place = Position(numbered.event.seq, numbered.event.digest)
        return made

    def advance(self, made: list[Numbered]) -> None:
        """Go on after these events, which are committed."""
        self.at = Position(made[-1].event.seq, made[-1].event.digest)

    def _sign(
        self,
        changes: tuple[Change, ...],
        after: Position,
        at: int,
        retires: tuple[Retire, ...],
    ) -> Numbered:
        voice, seq = self._voice, after.seq + 1
        raw = events.make(
            changes,
            retires=retires,
            key=voice.key,
            approver=voice.approver if any(map(is_wide, changes)) else None,
            publisher=voice.publisher,
            fabric=voice.fabric,
            log=self.log,
            seq=seq,
            prev=after.digest,
            at=at,
        )
        event = Event(
            log=self.log,
            seq=seq,
            prev=after.digest,
            digest=events.digest_of(raw),
            publisher=voice.publisher,
            quota=voice.quota,
            at=at,
            changes=tuple(enumerate(changes)),
            void=0,
            retires=retires,
        )
        return Numbered(event, raw)


def new_log_id(kid: str, random: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """A log id that names its key and was never used: 128 random bits."""
    return f"{kid[:LOG_PREFIX_CHARS]}-{b64url_encode(random(_LOG_RANDOM_BYTES))}"


def is_wide(change: Change) -> bool:
    """Whether a second key must approve: a floor denies as much as a kill (ADR 6)."""
    return not isinstance(change, Retract) and change.target.kind in TWO_KEY_KINDS


def batches(changes: tuple[Change, ...]) -> Iterator[tuple[Change, ...]]:
    """Split changes, in order, into batches that fit into one event each."""
    if len(changes) == 1:
        yield changes
        return
    yield from bundles((change,) for change in changes)


def bundles(groups: Iterable[tuple[Change, ...]]) -> Iterator[tuple[Change, ...]]:
    """Do as `batches` with small groups of changes, none of which is split over two events."""
    batch: list[Change] = []
    size = 0
    for group in groups:
        length = sum(len(msgspec.json.encode(change)) + 1 for change in group)
        if batch and (size + length > CHANGES_BYTES or len(batch) + len(group) > MAX_CHANGES):
            yield tuple(batch)
            batch, size = [], 0
        batch += group
        size += length
    if batch:
        yield tuple(batch)


class Standing(msgspec.Struct, frozen=True):
    """Where all own logs stand at one moment, and the sum of their live revocations."""

    logs: Mapping[str, Position]
    live: int


def head(
    standing: Standing,
    voice: Voice,
    *,
    at: float,
    count: int,
    horizon: int,
    trust: int,
    fleet: int = 0,
) -> bytes:
    """Return the signed head of this standing; `at` in unix seconds. Raises `TooLarge`."""
    said = Head(
        publisher=voice.publisher,
        time_s=at,
        count=count,
        trust=trust,
        horizon=horizon,
        logs=dict(standing.logs),
        live=standing.live,
        fleet=fleet,
    )
    return heads.make(said, key=voice.key, fabric=voice.fabric)
