"""A fabric id is one token of a subject, so no fabric reaches into another's."""

import string

from hypothesis import given
from hypothesis import strategies as st

from rescind_protocol import subjects
from rescind_protocol.errors import Malformed

ALPHABET = string.ascii_letters + string.digits + "_-"
FABRICS = st.text(ALPHABET, min_size=1, max_size=32)


def accepted(fabric: str) -> bool:
    """Whether the check lets this id through."""
    try:
        return subjects.check_fabric(fabric) == fabric
    except Malformed:
        return False


@given(st.one_of(FABRICS, st.text(max_size=40), st.text(ALPHABET + ".*> \n", max_size=40)))
def test_fabric_id_is_its_alphabet_and_no_more(fabric: str) -> None:
    """Exactly 1 to 32 characters of the alphabet pass, whatever else is tried."""
    assert accepted(fabric) == (1 <= len(fabric) <= 32 and set(fabric) <= set(ALPHABET))


@given(FABRICS, st.text(ALPHABET, min_size=1))
def test_log_subject_is_what_the_stream_stores(fabric: str, log_id: str) -> None:
    """A log's subject differs from the stream's pattern in its last token alone."""
    prefix, _, last = subjects.log(fabric, log_id).rpartition(".")
    assert last == log_id
    assert f"{prefix}.*" == subjects.logs(fabric)


@given(FABRICS, st.text(ALPHABET, min_size=1))
def test_head_is_never_stored(fabric: str, publisher: str) -> None:
    """A head's subject lies outside the stream's pattern: heads are not stored."""
    stored = subjects.logs(fabric).removesuffix("*")
    assert not subjects.head(fabric, publisher).startswith(stored)
