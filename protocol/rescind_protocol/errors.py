"""Error families by whose fault it is; every one explains itself in a sentence.

`RescindError` is the root. Each role adds its own leaves in its own `errors.py`; the fault families
live here so that a caller can tell "does not verify" from "the check itself broke".
"""

from rescind_protocol import redact


class RescindError(Exception):
    """Root of all errors of the project; `str()` is one sentence for an operator."""

    code = "ERROR"
    """Short stable name, used as a metric label and in JSON output."""

    def __str__(self) -> str:
        """Return the sentence; an address that it quotes without user and password."""
        return redact.sentence(super().__str__())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class Malformed(RescindError):
    """Input that breaks a format: wrong shape, size, encoding or type."""

    code = "MALFORMED"


class TooLarge(Malformed):
    """Input beyond a constant limit (see `rescind_protocol.limits`)."""

    code = "TOO_LARGE"


class Untrusted(RescindError):
    """Well formed, but not signed by a key that has the right to say it."""

    code = "UNTRUSTED"


class BeyondCut(Untrusted):
    """Signed by a revoked key, and not among what the root lets stand of it."""

    code = "BEYOND_CUT"


class TrustBroken(Untrusted):
    """A trust file that does not follow from the one that is gone by: older, or another history."""

    code = "TRUST_BROKEN"


class TrustGap(TrustBroken):
    """A trust file that is newer, and misses versions in between."""

    code = "TRUST_GAP"


class Unreadable(RescindError):
    """Signed by a trusted key, and beyond what this version can read (I10): never "nothing"."""

    code = "UNREADABLE"
