"""Every act that a publisher is asked for goes into the audit trail, by whatever face it came.

The kill is signed, on its way, and not held up: its line is written while the brokers are waited
for. What was done and could not be written down is said in its receipt.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from rescind_protocol.clock import Clock
from rescind_protocol.errors import RescindError
from rescind_publisher.applied import Applied
from rescind_publisher.asks import default_actor
from rescind_publisher.errors import AuditFailed
from rescind_publisher.receipts import Receipt
from rescind_publisher.requests import KillRequest, Order, RetireRequest
from rescind_publisher.trail import Entry, Trail

if TYPE_CHECKING:
    from rescind_publisher.engine import Publisher
    from rescind_publisher.hand import Hand

_log = logging.getLogger(__name__)

LOCAL = "local"


class Audited:
    """A publisher whose acts are written down; everything else is the publisher's."""

    def __init__(self, publisher: Any, path: Path, clock: Clock) -> None:
        self._publisher, self._trail, self._clock = publisher, Trail(path), clock
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="rescind-audit")
        self._lines: dict[int, Future[str | None]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._publisher, name)

    def submit(self, order: Order, told: Callable[[Applied], None] | None = None) -> Receipt:
        """See `Publisher.submit`."""
        try:
            receipt = self._publisher.submit(order, told)
        except RescindError as error:
            self._write(self._entry(order, outcome=f"refused: {error.code}"))
            raise
        ids = tuple(map(str, receipt.ended or receipt.ids))
        return _warned(receipt, self._write(self._entry(order, ids=ids)))

    def accept(self, order: Order) -> "Hand":
        """See `Publisher.accept`."""
        try:
            hand: Hand = self._publisher.accept(order)
        except RescindError as error:
            self._write(self._entry(order, outcome=f"refused: {error.code}"))
            raise
        said = hand.receipt(at=0.0)
        ids = tuple(map(str, said.ended or said.ids))
        self._lines[id(hand)] = self._writer.submit(self._write, self._entry(order, ids=ids))
        return hand

    async def finish(
        self, hand: "Hand", order: Order | None, told: Callable[[Applied], None]
    ) -> Receipt:
        """See `Publisher.finish`; the line is on disk before the receipt is out."""
        receipt = await self._publisher.finish(hand, order, told)
        line = self._lines.pop(id(hand), None)
        return receipt if line is None else _warned(receipt, await asyncio.wrap_future(line))

    def _write(self, entry: Entry) -> str | None:
        try:
            self._trail.append(entry)
        except AuditFailed as error:
            # It is said, and cannot be unsaid: whoever asked has to know that, above all.
            _log.critical("%s is not in the audit trail: %s", entry.what, error)
            return str(error)
        return None

    def _entry(self, order: Order, *, outcome: str = "done", ids: tuple[str, ...] = ()) -> Entry:
        what, targets = asked(order)
        first = order.kills[0] if isinstance(order, KillRequest) else order
        return Entry(
            at=round(self._clock.wall(), 3),
            who=order.actor or "unknown",
            by=order.by or default_actor(),
            where=order.where or LOCAL,
            what=what,
            targets=targets,
            reason=first.reason if first.reason != "unspecified" else None,
            why=first.reason_admin,
            outcome=outcome,
            ids=ids,
        )


def audited(publisher: "Publisher", path: Path | None, clock: Clock) -> "Publisher | Audited":
    """Return what a face hands its requests to: each act is written down, if there is a trail."""
    return publisher if path is None else Audited(publisher, path, clock)


def _warned(receipt: Receipt, trouble: str | None) -> Receipt:
    if trouble is None:
        return receipt
    return replace(receipt, warnings=(*receipt.warnings, f"not in the audit trail: {trouble}"))


def asked(order: Order) -> tuple[str, tuple[str, ...]]:
    """Return what is to be done, and to whom."""
    if isinstance(order, KillRequest):
        what = "kill" if order.kills[0].effect == "use" else "suspend"
        return what, tuple(str(each.target) for each in order.kills)
    if isinstance(order, RetireRequest):
        return "retire", (f"publisher {order.publisher}",)
    return "retract" if order.retract else "reinstate", (str(order.target),)
