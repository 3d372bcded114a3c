"""What happens in one simulated run, as data: printable, replayable, shrinkable."""

from enum import StrEnum

import msgspec


class What(StrEnum):
    """What can happen at a moment; `who`, `other`, `lasts_s` and `amount` of the step say where."""

    KILL = "kill"
    """Publisher `who` kills target `other`; `amount` chooses expiry and `issued_before`."""
    KILL_MANY = "kill many"
    """Publisher `who` kills target `other` and the next two in one event."""
    REINSTATE = "reinstate"
    RETRACT = "retract"
    """Publisher `who` ends the kills of target `other` that it knows of."""
    REPEAT = "repeat"
    """Publisher `who` kills target `other` again and again, in a request and in others."""
    FLOOD = "flood"
    """Publisher `who` kills sessions that nobody has until its quota is full, then target `other`.
    """
    MOVE = "move"
    """Publisher `who` starts anew, and moves its old kills to the new log."""

    CUT = "cut"
    """Nothing passes between hosts `who` and `other`, whichever they are."""
    STORM = "storm"
    """The network loses, doubles, delays and so reorders a share `amount` of everything."""

    BROKER_DOWN = "broker down"
    PURGE = "purge"
    """Broker `who` drops what it stored, and keeps what it knows of message ids."""
    RECREATE = "recreate"
    RESTORE = "restore"
    """Broker `who` comes back with the first share `amount` of what it stored."""
    HIDE = "hide"
    """Broker `who` passes no live event on, only heads."""
    WITHHOLD = "withhold"
    """Broker `who` shows readers the first share `amount` only."""
    SKIP = "skip"
    """Broker `who` leaves some events out of what readers get."""
    REPLAY_HEADS = "replay heads"
    """Broker `who` sends the heads it has heard again and again, and no new ones."""
    LATE_HEADS = "late heads"
    """Broker `who` passes heads on late, by the share `amount` of `lasts_s`, and no live event."""
    REPLAY_EVENTS = "replay events"
    FORGE_ACKS = "forge acks"
    """Broker `who` acknowledges what it does not store."""
    GARBAGE = "garbage"
    """Broker `who` stores garbage under the message ids that can be guessed."""
    FLIP = "flip"
    """Broker `who` flips bits in what it hands out."""
    ROT = "rot"
    """One stored event of broker `who` is other bytes from now on."""

    SUBSCRIBER_DOWN = "subscriber down"
    """SIGKILL; it starts again after `lasts_s`. `amount`: what its disk has then, see `Disk`."""
    SUSPEND = "suspend"
    """Host `who` sleeps: nothing runs there, its boot clock does."""
    BLOCK = "block"
    """The subscriber's loop is blocked; its guard is asked on."""
    SUBSCRIBER_CLOCK = "subscriber clock"
    """The wall clock is `amount` seconds off, for `lasts_s`."""

    PUBLISHER_DOWN = "publisher down"
    DIE_AFTER_SPOOL = "die after spool"
    DIE_BETWEEN_SINKS = "die between sinks"
    """SIGKILL in the next accepted change; starts again after `lasts_s`."""
    PUBLISHER_CLOCK = "publisher clock"
    BOOT_CLOCK = "boot clock"
    """Host `who` starts again with a clock `amount` s off, which is right after `lasts_s`; every
    publisher and subscriber does, where `other` is even."""
    CLOCK_STEP = "clock step"
    """The wall clock of publisher `who` is `amount` s off, for `lasts_s`."""
    OLD_SPOOL = "old spool"
    """The disk of publisher `who` is restored after `lasts_s` from a copy of now."""
    DISK_FULL = "disk full"
    """The next commit of publisher `who` fails; `amount` over 0.5: and lies there nevertheless."""


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that happens, `at` seconds after the start."""

    at: float
    what: What
    who: int = 0
    other: int = 0
    lasts_s: float = 0.0
    amount: float = 0.0


class Schedule(msgspec.Struct, frozen=True):
    """One run: who takes part, and everything that happens to them until it is healed."""

    seed: int
    """Of what the network does with each message."""
    publishers: int
    subscribers: int
    brokers: tuple[str, ...]
    """Kinds: "stream" as NATS, "fenced" as Redis."""
    limit_s: float
    """Freshness limit."""
    heartbeat_s: float
    delay_s: float
    offsets_s: tuple[float, ...]
    """How far off each host's wall clock is; any two are at most 60 s apart."""
    badge_age_s: int
    """How long before the start the badges were issued; they live an hour."""
    quota: int
    """Live revocations that each publisher's key may hold."""
    length_s: float
    """Then all faults end."""
    steps: tuple[Step, ...]
