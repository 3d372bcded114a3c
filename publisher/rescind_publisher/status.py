"""How a publisher is, as data."""

import msgspec


class SinkStatus(msgspec.Struct, frozen=True):
    """How one sink is."""

    name: str
    ready: bool
    pending: int
    """Events that it does not hold for certain."""
    problem: str | None
    caveat: str | None = None
    """What to know about its acknowledgements while all is well."""
    snapshots: int = 0
    """Snapshots of ours that were read back from it; two are kept."""
    trimmable: str | None = None
    """Position up to which two of them carry everything, in the sink's own notation."""
    snapshot_problem: str | None = None


class Status(msgspec.Struct, frozen=True):
    """How a publisher is."""

    fabric: str
    publisher: str
    kid: str
    pid: int
    log: str
    live: int
    """Live revocations of this key."""
    logs: int
    """Logs that its heads name."""
    horizon: int
    """Unix seconds."""
    clock_jumped: bool
    sinks: tuple[SinkStatus, ...]
    counters: dict[str, int]
