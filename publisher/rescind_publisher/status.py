"""How a publisher is, as data."""

import msgspec


class ScrubStatus(msgspec.Struct, frozen=True):
    """What the newest comparison of all that a sink holds with the spool has found."""

    running: bool = False
    done: int = 0
    """How many have ended since the publisher was started."""
    checked: int = 0
    """Events compared so far, of `total`."""
    total: int = 0
    lost: int = 0
    """Events that the sink had and has no more."""
    mended: int = 0
    """Those of them that it has again."""
    forks: tuple[str, ...] = ()
    """Events of which it holds another one that our key has signed too."""
    finished_at: float | None = None
    """Unix seconds."""
    problem: str | None = None
    """Why it could not be compared as a whole."""


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
    scrub: ScrubStatus | None = None
    """None where the sink cannot show what it holds."""


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
    problem: str | None = None
    """Why its heads freshen nobody."""


class TrustPosted(msgspec.Struct, frozen=True):
    """What became of versions that were handed over."""

    version: int
    """The newest one, which is gone by here."""
    sinks: dict[str, str]
    """What is wrong with each sink; "" where it holds them all."""
