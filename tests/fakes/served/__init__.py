"""The same small guarded service for every kind of server; each module is one kind's to import."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rescind import Sidecar

WHY = "for the test: what this worker's own guard says"


def told(sidecar: "Sidecar", badge: str | None) -> dict[str, Any]:
    """Return who answers here, and what its guard says of a badge."""
    return {
        "pid": os.getpid(),
        "state": str(sidecar.subscriber.status().state),
        "code": str(sidecar.guard.check(badge).code) if badge else "",
    }
