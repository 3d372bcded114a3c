"""What became of an event that was joined, or could not be."""

from enum import StrEnum


class Outcome(StrEnum):
    """What became of an event."""

    APPLIED = "applied"
    SEEN = "seen"
    FORK = "fork"
    """Two events with one number, or a broken chain: its kills count, the log is not trusted."""
    OVER_QUOTA = "over_quota"
    """The key holds more than it may: not applied, so that its log stays uncovered."""
    TOO_FAR = "too_far"
    """Too many events above a gap: not applied; the gap must be read first."""
    VOID = "beyond_cut"
    """Beyond the cut of its log: without effect."""
    WAITING = "waiting"
    """In a log of two histories: not applied until it is known to lead to the cut."""
