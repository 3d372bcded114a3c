"""Why something is killed: one table of words, with what other systems call the same.

A kill's `reason` is a short stable word that callers may see. Any word travels; these are the ones
that we translate: to a security event (CAEP 1.0 §3, RISC 1.0 §2) for receivers outside, and to the
reason of a certificate revocation list (RFC 5280 §5.3.1).
"""

from enum import IntEnum

import msgspec

CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
RISC = "https://schemas.openid.net/secevent/risc/event-type/"


class CrlReason(IntEnum):
    """RFC 5280 §5.3.1, those that name an end."""

    UNSPECIFIED = 0
    KEY_COMPROMISE = 1
    CA_COMPROMISE = 2
    AFFILIATION_CHANGED = 3
    SUPERSEDED = 4
    CESSATION_OF_OPERATION = 5
    CERTIFICATE_HOLD = 6
    PRIVILEGE_WITHDRAWN = 9


class Reason(msgspec.Struct, frozen=True):
    """One word and its equivalents."""

    word: str
    means: str
    """A half sentence for people."""
    event: str
    """URI of the security event type that says the same."""
    crl: CrlReason


TABLE = (
    Reason("unspecified", "not said", CAEP + "session-revoked", CrlReason.UNSPECIFIED),
    Reason(
        "compromise",
        "the agent, or what it signs with, is in the wrong hands",
        RISC + "credential-compromise",
        CrlReason.KEY_COMPROMISE,
    ),
    Reason(
        "issuer-compromise",
        "the issuer, or its key, is in the wrong hands",
        RISC + "credential-compromise",
        CrlReason.CA_COMPROMISE,
    ),
    Reason(
        "policy-violation",
        "it did what it may not do",
        CAEP + "session-revoked",
        CrlReason.PRIVILEGE_WITHDRAWN,
    ),
    Reason(
        "investigation",
        "stopped while somebody looks into it",
        RISC + "account-disabled",
        CrlReason.CERTIFICATE_HOLD,
    ),
    Reason(
        "offboarding",
        "the agent, or whoever it worked for, has left",
        RISC + "account-disabled",
        CrlReason.CESSATION_OF_OPERATION,
    ),
    Reason(
        "access-change",
        "its rights or its duties are others now",
        CAEP + "token-claims-change",
        CrlReason.AFFILIATION_CHANGED,
    ),
    Reason(
        "superseded",
        "a newer badge or key has taken its place",
        CAEP + "credential-change",
        CrlReason.SUPERSEDED,
    ),
    Reason(
        "session-ended",
        "the session or the delegation is over",
        CAEP + "session-revoked",
        CrlReason.CESSATION_OF_OPERATION,
    ),
    Reason("test", "a drill", CAEP + "session-revoked", CrlReason.UNSPECIFIED),
)

_BY_WORD = {reason.word: reason for reason in TABLE}
WORDS = tuple(_BY_WORD)
UNSPECIFIED = TABLE[0]


def reason_of(word: str) -> Reason:
    """Return a word's row; a word of somebody's own has the equivalents of `unspecified`."""
    return _BY_WORD.get(word, UNSPECIFIED)
