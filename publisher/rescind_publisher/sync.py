"""Whether a NATS system writes to disk before it acks: visible to its system account only.

Neither INFO nor any answer of the JetStream API shows `sync_interval`; the server's `JSZ` does, by
the monitoring port or to a user of the system account. The default is two minutes: a kill that was
acked may be gone after a power cut.
"""

from typing import Any, Literal

import msgspec

from rescind_subscriber.errors import SourceUnavailable
from rescind_subscriber.nats_link import Link, NatsOptions, Reply

SyncState = Literal["always", "interval"]
GATHER_S = 1.0
"""Every server of a cluster answers for itself; this long we listen for them."""

_SUBJECT = "$SYS.REQ.SERVER.PING.JSZ"


class _Data(msgspec.Struct):
    config: dict[str, Any] = {}
    disabled: bool = False


class _Jsz(msgspec.Struct):
    data: _Data = msgspec.field(default_factory=_Data)


async def storage_sync(system: NatsOptions) -> SyncState:
    """Return "always" if every server with JetStream fsyncs before its acks, else "interval".

    Raises `SourceRefused` (credentials) and `SourceUnavailable` (no answer).
    """
    problems: list[str] = []
    link = Link(system, on_up=_nothing, on_down=problems.append, on_problem=problems.append)
    await link.start()
    try:
        states = await _ask(link)
    finally:
        await link.stop()
    if not states:
        raise SourceUnavailable(f"no server tells how it stores: {'; '.join(problems) or _SUBJECT}")
    return "always" if all(states) else "interval"


async def _ask(link: Link) -> list[bool]:
    """Return one answer for each server: does it fsync always."""
    states: list[bool] = []

    def enough(reply: Reply) -> bool:
        try:
            data = msgspec.json.decode(reply.payload, type=_Jsz).data
        except msgspec.MsgspecError:
            return False
        if not data.disabled:
            states.append(data.config.get("sync_always") is True)
        return not link.clustered

    try:
        await link.request(_SUBJECT, b'{"config":true}', accept=enough, timeout_s=GATHER_S)
    except SourceUnavailable:
        if not link.connected:
            raise
    return states


async def _nothing() -> None:
    """Subscribe to nothing: answers come to the link's own inbox."""
