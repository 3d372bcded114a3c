"""Kills of the command line go into the audit trail too, where this host has a registry."""

import time
from typing import TYPE_CHECKING

from rescind.cli.common import Session
from rescind_protocol.errors import RescindError
from rescind_publisher.requests import KillRequest, Order, RetireRequest
from rescind_publisher.switch import Engine, Told

if TYPE_CHECKING:
    from rescind_publisher.receipts import Receipt
    from rescind_registry.audit import Entry

REGISTRY = "registry"
"""As in `rescind.home`, which loads cryptography."""


def audited(engine: Engine, session: Session) -> Engine:
    """Return an engine that writes down what it is asked, or the same one where nobody reads it."""
    there = (session.loaded.home / REGISTRY).is_dir()
    return _Audited(engine, session) if there else engine


class _Audited:
    def __init__(self, engine: Engine, session: Session) -> None:
        self._engine, self._session = engine, session

    def start(self) -> None:
        self._engine.start()

    def close(self) -> None:
        self._engine.close()

    def submit(self, order: Order, told: Told | None = None) -> "Receipt":
        """Do it, and write down that it was done, or why not."""
        try:
            receipt = self._engine.submit(order, told)
        except RescindError as error:
            self._write(_entry(order, outcome=f"refused: {error.code}"))
            raise
        self._write(_entry(order, ids=tuple(map(str, receipt.ended or receipt.ids))))
        return receipt

    def _write(self, entry: "Entry") -> None:
        """Write; a kill that was done stays done, and what is missing is said."""
        from rescind.cli.registry import trail_of  # noqa: PLC0415 - only where there is one

        try:
            trail_of(self._session.loaded).append(entry)
        except RescindError as error:
            self._session.out.warn(f"not in the audit trail: {error}")


def _entry(order: Order, *, outcome: str = "done", ids: tuple[str, ...] = ()) -> "Entry":
    from rescind_registry.audit import Entry  # noqa: PLC0415 - only where there is a registry

    what, targets = _asked(order)
    first = order.kills[0] if isinstance(order, KillRequest) else order
    return Entry(
        at=round(time.time(), 3),
        who=order.actor or "unknown",
        where="local",
        what=what,
        targets=targets,
        why=first.reason_admin or first.reason,
        outcome=outcome,
        ids=ids,
    )


def _asked(order: Order) -> tuple[str, tuple[str, ...]]:
    """Return what is to be done, and to whom."""
    if isinstance(order, KillRequest):
        what = "kill" if order.kills[0].effect == "use" else "suspend"
        return what, tuple(str(each.target) for each in order.kills)
    if isinstance(order, RetireRequest):
        return "retire", (f"publisher {order.publisher}",)
    return "retract" if order.retract else "reinstate", (str(order.target),)
