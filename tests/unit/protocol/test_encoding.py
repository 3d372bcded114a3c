"""Strict base64url and JSON: one spelling, or `Malformed`."""

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescind_protocol.encoding import b64url_decode, b64url_encode, check_json, to_type
from rescind_protocol.errors import Malformed


@given(st.binary(max_size=100))
def test_base64url_goes_round(raw: bytes) -> None:
    """And it is what the standard library writes, without padding."""
    text = b64url_encode(raw)
    assert text.encode() == base64.urlsafe_b64encode(raw).rstrip(b"=")
    assert b64url_decode(text.encode()) == raw


@pytest.mark.parametrize(
    "text",
    [
        b"AA==",
        b"AA=",
        b"AAA=",
        b"=",
        b"====",
        b"AAAA====",
        b"A",
        b"AAAAA",
        b"AB",
        b"AAB",
        b"A A",
        b" AA",
        b"AA\n",
        b"AA\r\n",
        b"+w",
        b"/w",
        b"AA=A",
        b"\x00\x00",
        b"\xff\xfe",
        "é".encode(),
        b"A.A",
    ],
)
def test_a_second_spelling_is_malformed(text: bytes) -> None:
    """Padding, white space, the other alphabet and trailing bits (RFC 4648 §3.5)."""
    with pytest.raises(Malformed):
        b64url_decode(text)


@given(st.binary(max_size=12) | st.text("ABab01-_=+/ \n.", max_size=12).map(str.encode))
def test_what_decodes_is_the_only_spelling(text: bytes) -> None:
    """Nothing is accepted that does not encode back to itself."""
    with suppress(Malformed):
        assert b64url_encode(b64url_decode(text)).encode() == text


def encodes_back(text: bytes) -> bytes | None:
    """Return what text stands for, by the standard library and by encoding it again."""
    try:
        padded = text.translate(bytes.maketrans(b"-_", b"+/")) + b"=" * (-len(text) % 4)
        raw = base64.b64decode(padded, validate=True)
    except ValueError:
        return None
    return raw if base64.urlsafe_b64encode(raw).rstrip(b"=") == text else None


def decoded(text: bytes) -> bytes | None:
    """Return what the reader makes of it."""
    try:
        return b64url_decode(text)
    except Malformed:
        return None


LETTERS = base64.urlsafe_b64encode(bytes(range(256))).replace(b"=", b"").decode()
SPELLINGS = st.text(LETTERS, max_size=40).map(str.encode)


@given(SPELLINGS | st.text(LETTERS + '=+/ \n"\\!', max_size=12).map(str.encode))
def test_the_last_letter_tells_what_encoding_again_would(text: bytes) -> None:
    """The reader looks at the spare bits alone, and answers as one that encodes again."""
    assert decoded(text) == encodes_back(text)


def test_every_short_text_is_answered_as_by_encoding_again() -> None:
    """All texts of up to two bytes, and each last letter after each length."""
    texts = [b"", *(bytes((a,)) for a in range(256))]
    texts += [bytes((a, b)) for a in range(256) for b in range(256)]
    texts += [b"A" * length + bytes((last,)) for length in range(8) for last in range(256)]
    assert [decoded(each) for each in texts] == [encodes_back(each) for each in texts]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b'{"\\u0061":1,"a":2}',
        b'{"x":{"a":1,"a":2}}',
        b'[[{"x":[{"a":1,"b":2,"a":3}]}]]',
        b'{"a":{"b":1},"c":2,"a":{"b":1}}',
        '{"é":1,"\\u00e9":2}'.encode(),
        b'{"\\ud83d\\ude00":1,"\xf0\x9f\x98\x80":2}',
        b'{"":1,"":1}',
        b'{"a":1e0,"a":1}',
        b'{ "a" : 1 , "a" : 1 }',
    ],
)
def test_duplicate_keys_are_malformed_at_any_depth(raw: bytes) -> None:
    """Also where an escape spells the same key otherwise (RFC 7515 §4)."""
    assert json.loads(raw)  # the control: the standard library takes it, silently
    with pytest.raises(Malformed):
        check_json(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b"{}{}",
        b"{}x",
        b"{'a':1}",
        b'{"a":1,}',
        b"NaN",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b"1" * 5000,
        b'{ "a":' + b"1" * 5000 + b"}",
        b'{"a":01}',
        b"\xff",
        b'"\xff"',
        b'"\\ud800"',
        b'"\x00"',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b"[ " * 50_000 + b"]" * 50_000,
        b"/* */{}",
    ],
    ids=lambda raw: repr(raw[:16]),
)
def test_what_is_not_json_is_malformed(raw: bytes) -> None:
    """Also NaN, integers beyond any use, and nesting beyond any stack: never another error."""
    with pytest.raises(Malformed):
        check_json(raw)


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(value=_values, escaped=st.booleans(), indent=st.none() | st.integers(0, 2))
def test_every_json_document_passes_however_it_is_laid_out(
    *, value: Any, escaped: bool, indent: int | None
) -> None:
    """Strict about ambiguity, not about white space, escapes or the form of numbers."""
    raw = json.dumps(value, ensure_ascii=escaped, indent=indent).encode()
    assert check_json(raw) == value


@given(st.binary(max_size=40) | st.text('{}[]",:1ae.\\u0 ', max_size=40).map(str.encode))
def test_any_bytes_are_json_or_malformed(raw: bytes) -> None:
    """What passes has no key twice by the standard library's own count."""
    with suppress(Malformed):
        check_json(raw)
        json.loads(raw, object_pairs_hook=_count)


def _count(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len({key for key, _ in pairs}) == len(pairs)
    return dict(pairs)


def test_a_shape_that_does_not_fit_is_malformed() -> None:
    """The message names the member."""
    with pytest.raises(Malformed, match=r"\$"):
        to_type({"a": "x"}, dict[str, int])
