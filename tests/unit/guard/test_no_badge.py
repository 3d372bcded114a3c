"""A caller without a badge is told where it goes."""

from rescind_guard.integrations.carriage import BADGE_HEADER, META_KEY
from rescind_guard.verifier import NO_BADGE


def test_the_sentence_names_header_and_meta() -> None:
    """It said that no badge was given, and not where one is looked for."""
    assert BADGE_HEADER in NO_BADGE.lower()
    assert META_KEY in NO_BADGE
