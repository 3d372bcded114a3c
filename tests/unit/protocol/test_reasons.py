"""The table of reasons: every word travels, and is translated to what its standard knows."""

import re

import msgspec
import pytest

from rescind_protocol.changes import Kill
from rescind_protocol.reasons import CAEP, RISC, TABLE, UNSPECIFIED, WORDS, Reason, reason_of
from rescind_protocol.targets import everyone

CAEP_TYPES = {"session-revoked", "token-claims-change", "credential-change"}
RISC_TYPES = {"account-disabled", "credential-compromise"}


def test_words_are_told_apart() -> None:
    """No word stands twice, and the first is what a kill says by itself."""
    assert len(set(WORDS)) == len(TABLE)
    assert WORDS[0] == Kill(target=everyone()).reason
    assert reason_of(WORDS[0]) is UNSPECIFIED


@pytest.mark.parametrize("reason", TABLE, ids=WORDS)
def test_a_word_is_translated(reason: Reason) -> None:
    """Each has a security event that ends access, by its specification's name (interop.md §4)."""
    assert reason_of(reason.word) is reason
    known = {CAEP + name for name in CAEP_TYPES} | {RISC + name for name in RISC_TYPES}
    assert reason.event in known
    assert reason.means


@pytest.mark.parametrize("word", WORDS)
def test_a_word_travels(word: str) -> None:
    """It fits into a kill as it is decoded from the wire, and into a metric's label."""
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", word)
    raw = msgspec.json.encode(Kill(target=everyone(), reason=word))
    assert msgspec.json.decode(raw, type=Kill).reason == word


def test_a_word_of_somebodys_own_means_unspecified() -> None:
    """Integrations may say what they like; outside it is said as what everybody understands."""
    assert reason_of("ticket-4711") is UNSPECIFIED
    assert reason_of("") is UNSPECIFIED
