"""The audit from the signed log alone: what publishers said, whoever kept a file beside it.

It is read from what the brokers store, and only what a trusted key has signed counts. It knows who
was named as asking and why; not who handed it in, and nothing that was refused.
"""

import asyncio
from collections.abc import Iterator, Sequence

from rescind import compose
from rescind.config import Loaded
from rescind_protocol import events
from rescind_protocol.changes import Effect, Kill, RevocationId
from rescind_protocol.errors import RescindError
from rescind_protocol.events import Event
from rescind_protocol.trust import Trust
from rescind_publisher.trail import GENESIS, Entry
from rescind_subscriber.errors import SourceUnavailable
from rescind_subscriber.sources.base import Source

LINK_S = 5.0


class _Feed:
    """Takes nothing: what is stored is read."""

    def __init__(self) -> None:
        self.ready, self.why = asyncio.Event(), "not connected"

    def heard(self, source: str, raw: bytes, /) -> None:
        """Take no live event."""

    def heard_head(self, source: str, raw: bytes, /) -> None:
        """Take no head."""

    def linked(self, source: str) -> None:
        """Know that it can be read."""
        del source
        self.ready.set()

    def unlinked(self, source: str, why: str) -> None:
        """Know why not."""
        del source
        self.why = why

    def spread_s(self) -> float:
        """Return no time: one command is no fleet."""
        return 0.0


def entries(loaded: Loaded) -> list[Entry]:
    """Read every signed act, oldest first, as a chain of its own; raises `SourceUnavailable`."""
    found = asyncio.run(_read_all(compose.make_sources(loaded), compose.make_trust(loaded)))
    ordered = sorted(found.values(), key=lambda event: (event.at, event.log, event.seq))
    sealed: list[Entry] = []
    for each in (entry for event in ordered for entry in _of(event)):
        prev = sealed[-1].hash if sealed else GENESIS
        sealed.append(each.sealed(len(sealed) + 1, prev))
    return sealed


async def _read_all(sources: Sequence[Source], trust: Trust) -> dict[bytes, Event]:
    found: dict[bytes, Event] = {}
    troubles = []
    for source in sources:
        try:
            await _read(source, trust, found)
        except (RescindError, TimeoutError) as error:
            troubles.append(str(error) or f"{source.name} did not answer")
    if len(troubles) == len(sources):
        raise SourceUnavailable(f"the log cannot be read: {'; '.join(troubles)}")
    return found


async def _read(source: Source, trust: Trust, found: dict[bytes, Event]) -> None:
    feed = _Feed()
    try:
        async with asyncio.timeout(LINK_S):
            await source.start(feed)
            await feed.ready.wait()
        async for batch in source.read(None):
            for raw in batch.events:
                try:
                    event = events.authenticate(raw, trust)
                except RescindError:
                    continue  # not signed by anybody we trust: no act
                found[event.digest] = event
    except TimeoutError as error:
        raise SourceUnavailable(f"{source.name}: {feed.why}") from error
    finally:
        await source.stop()


def _of(event: Event) -> Iterator[Entry]:
    """Yield an event's acts; kills that were asked for together are one."""
    acts: dict[tuple[str, str | None, str, str | None], list[tuple[str, str]]] = {}
    for index, change in event.changes:
        what = type(change).__name__.lower()
        if isinstance(change, Kill) and change.effect is not Effect.USE:
            what = "suspend"
        key = (what, change.actor, change.reason, change.reason_admin)
        place = str(RevocationId(event.log, event.seq, index))
        acts.setdefault(key, []).append((str(change.target), place))
    for (what, actor, reason, why), said in acts.items():
        yield _entry(event, what, actor, reason, why, said)
    for retired in event.retires:
        said = [(f"publisher {retired.publisher}", str(RevocationId(event.log, event.seq, 0)))]
        yield _entry(event, "retire", retired.actor, retired.reason, retired.reason_admin, said)


def _entry(  # noqa: PLR0917 - the columns of a line
    event: Event,
    what: str,
    actor: str | None,
    reason: str,
    why: str | None,
    said: list[tuple[str, str]],
) -> Entry:
    return Entry(
        at=event.at,
        who=actor or "unknown",
        where=f"log of {event.publisher}",
        what=what,
        targets=tuple(target for target, _ in said),
        reason=reason if reason != "unspecified" else None,
        why=why,
        ids=tuple(place for _, place in said),
    )
