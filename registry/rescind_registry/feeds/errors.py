"""Why a feed is refused or ended, by whose fault; the HTTP edge makes statuses of them."""

from rescind_protocol.errors import RescindError


class BadCursor(RescindError):
    """The caller's: no cursor at all, or not written as we write them."""

    code = "BAD_CURSOR"


class GoneCursor(RescindError):
    """Ours to say: what lies behind this cursor is not held here any more, or never was.

    The reader takes the state as a whole, and follows from where that stands.
    """

    code = "GONE_CURSOR"


class Ended(RescindError):
    """The stream ends here; the reader can resume from the last cursor it was given."""

    code = "STREAM_ENDED"


class TooSlow(Ended):
    """The reader's: it did not take what came, in time; nothing is kept for it."""

    code = "TOO_SLOW"


class TooMany(RescindError):
    """Ours: as many readers as this node serves are connected."""

    code = "TOO_MANY_READERS"


class StoreDamaged(RescindError):
    """Ours: the file of past events cannot be read; it is only a copy and is made anew."""

    code = "STORE_DAMAGED"
