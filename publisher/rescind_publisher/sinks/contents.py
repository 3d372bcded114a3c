"""What a broker holds of one log, in batches so small that no acknowledgement waits for one."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from rescind_protocol import subjects
from rescind_publisher.forks import claimed_seq
from rescind_publisher.sinks.base import Record

if TYPE_CHECKING:  # each sink loads its own library only
    from rescind_subscriber.nats_reader import StreamReader
    from rescind_subscriber.redis_link import RedisLink

NATS_EVENTS = 64
NATS_BYTES = 512 * 1024
"""Two events at their limit; ordinary ones have 600 bytes."""
REDIS_ENTRIES = 16


async def of_stream(reader: "StreamReader", fabric: str, log: str) -> AsyncIterator[list[Record]]:
    """Yield the messages of a log's subject; raises what the reader raises.

    A stream numbers its messages, not our events: the number is what the message claims.
    """
    subject = subjects.log(fabric, log)
    replies = await reader.fetch(1, subject)
    left = replies.pending
    while replies.payloads:
        yield [Record(log, claimed_seq(log, raw), raw) for raw in replies.payloads]
        if left <= 0 or replies.pending == 0:
            return
        replies = await reader.fetch(replies.last + 1, subject)
        left -= len(replies.payloads)


async def of_key(link: "RedisLink", key: str, log: str) -> AsyncIterator[list[Record]]:
    """Yield the entries of a log's stream at `key`; raises what the link raises."""
    newest = await link.request("XREVRANGE", key, "+", "-", "COUNT", 1)
    mark, after = newest[0][0] if newest else None, "-"
    while mark is not None:
        entries = await link.request("XRANGE", key, after, mark, "COUNT", REDIS_ENTRIES)
        if not entries:
            return
        yield [Record(log, _number(entry[0]), _event(entry[1])) for entry in entries]
        after = f"({entries[-1][0].decode()}"


def _number(entry_id: bytes) -> int:
    """Return the event's number of an id `<number>-0`, 0 of any other id."""
    number, _, rest = entry_id.partition(b"-")
    return int(number) if rest == b"0" else 0


def _event(fields: Any) -> bytes:
    return bytes(fields[1]) if fields and len(fields) == 2 else b""  # noqa: PLR2004 - name, value
