"""What follows on an older copy of a log, of all that lies in a store. The pure step: no I/O."""

from collections.abc import Iterable, Mapping

from rescind_protocol import events
from rescind_protocol.errors import RescindError
from rescind_protocol.heads import Position
from rescind_protocol.trust import Trust
from rescind_publisher.chain import Numbered


def following(
    log: str, at: Position, found: Mapping[int, Iterable[bytes]], trust: Trust
) -> list[Numbered]:
    """Return the events behind `at` that are of this log, signed, and chained to it without a gap.

    `found` by number; nothing of it is verified.
    """
    made: list[Numbered] = []
    while (event := _next(log, at, found.get(at.seq + 1, ()), trust)) is not None:
        made.append(event)
        at = Position(event.event.seq, event.event.digest)
    return made


def _next(log: str, at: Position, raws: Iterable[bytes], trust: Trust) -> Numbered | None:
    for raw in raws:
        try:
            event = events.authenticate(raw, trust)
        except RescindError:
            continue
        if (event.log, event.seq, event.prev) == (log, at.seq + 1, at.digest):
            return Numbered(event, raw)
    return None
