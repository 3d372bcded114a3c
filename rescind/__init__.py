"""An event-driven revocation fabric: kill an agent's badge everywhere, at once."""

from importlib import import_module as _import_module
from typing import Any

_HOMES = {
    "rescind_guard": (
        "Claims",
        "Code",
        "Decision",
        "Guard",
        "Issuers",
        "Mode",
        "Outcome",
        "RevocationCache",
        "View",
    ),
    "rescind_guard.admission": ("NotAdmitted", "WorkEnded"),
    "rescind_protocol.errors": ("RescindError",),
    "rescind_protocol.targets": ("agent", "badge", "everyone", "issuer", "key", "session"),
    "rescind_subscriber": ("State", "Subscriber"),
    "rescind.guarding": ("protect", "wrap"),
    "rescind_guard.integrations.exempt": ("exempt",),
    "rescind.keeping": ("keep_badge",),
    "rescind.sidecar": ("Sidecar",),
    "rescind.switch": ("AsyncKillSwitch", "KillSwitch"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME)  # noqa: PLE0605 - `__init__.pyi` says the same to type checkers


def __getattr__(name: str) -> Any:
    """Load a name's module at its first use: `import rescind` alone loads no transport."""
    if name not in _HOME:
        raise AttributeError(f"module 'rescind' has no attribute {name!r}")
    return getattr(_import_module(_HOME[name]), name)
