"""The subscribers that a publisher knows of, as data."""

import msgspec


class Member(msgspec.Struct, frozen=True):
    """One subscriber, for people; the workers of one service on one host are one."""

    name: str
    host: str
    pid: int
    version: str
    state: str
    """As it said; see the subscriber's states."""
    unreachable: bool
    """Whether it, or a worker of it, was silent for too long."""
    lag: int | None
    """Events of this publisher that it has not applied; None: its report does not say."""
    age_s: float | None
    """Age of its proof of freshness when it said so; None: never proven."""
    up_s: float
    last_seen: float
    """Unix seconds, by the publisher's clock; of several workers, the one longest unheard."""
    workers: int = 1
    """Processes: what a receipt counts."""
    away: int = 0
    """Of these out of reach."""
    pids: tuple[int, ...] = ()


class Fleet(msgspec.Struct, frozen=True):
    """All subscribers that a publisher knows of."""

    listening_since: float | None
    """Unix seconds; who was silent since then is not known. None: it has never listened."""
    members: tuple[Member, ...]
    refused: int
    """Reports that could not be read, or came when the roster was full."""
    problem: str | None
    """Why reports may not come in now."""
