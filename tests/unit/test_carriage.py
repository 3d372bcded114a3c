"""Which badge a message carries."""

import pytest

from rescind_guard.integrations.carriage import (
    META_KEY,
    carries_badge,
    header_badge,
    meta_badge,
    one_badge,
)
from rescind_guard.integrations.errors import BadCarriage
from rescind_protocol.limits import MAX_BADGE_BYTES

LONGEST = "x" * MAX_BADGE_BYTES


@pytest.mark.parametrize(
    ("headers", "badge"),
    [
        ([], None),
        ([("X-Capiscio-Badge", "a.b.c")], "a.b.c"),
        ([("x-capiscio-badge", "a.b.c")], "a.b.c"),
        ([("Authorization", "Bearer a.b.c")], "a.b.c"),
        ([("authorization", "bEARER  a.b.c ")], "a.b.c"),
        ([("Authorization", "Basic dTpw")], None),
        ([("Authorization", "Bearerish a.b.c")], None),
        ([("Authorization", "Basic dTpw"), ("X-Capiscio-Badge", "a.b.c")], "a.b.c"),
        ([("X-Capiscio-Badge", LONGEST)], LONGEST),
    ],
)
def test_header(headers: list[tuple[str, str]], badge: str | None) -> None:
    """One badge in one header is read, whatever the case of name and scheme."""
    assert header_badge(headers) == badge


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ([("X-Capiscio-Badge", "a"), ("Authorization", "Bearer b")], "both present"),
        ([("X-Capiscio-Badge", "a"), ("Authorization", "Bearer a")], "both present"),
        ([("X-Capiscio-Badge", "a"), ("X-CAPISCIO-BADGE", "a")], "more than once"),
        ([("Authorization", "Bearer a"), ("authorization", "bearer a")], "more than once"),
        ([("X-Capiscio-Badge", "")], "empty"),
        ([("Authorization", "Bearer")], "empty"),
        ([("Authorization", "Bearer  ")], "empty"),
        ([("X-Capiscio-Badge", LONGEST + "x")], "longer than"),
        ([("Authorization", f"Bearer {LONGEST}x")], "longer than"),
    ],
)
def test_header_refused(headers: list[tuple[str, str]], why: str) -> None:
    """Two badges, an empty one and an overlong one are refused, and the rule is named."""
    with pytest.raises(BadCarriage, match=why):
        header_badge(headers)


def test_foreign_bearer() -> None:
    """A server with OAuth tokens of its own in Authorization reads X-Capiscio-Badge alone."""
    headers = [("Authorization", "Bearer oauth"), ("X-Capiscio-Badge", "a.b.c")]
    assert header_badge(headers, bearer="foreign") == "a.b.c"
    assert header_badge(headers[:1], bearer="foreign") is None
    assert not carries_badge(b"authorization", b"Bearer oauth", bearer="foreign")
    assert carries_badge(b"authorization", b"Bearer oauth")
    assert not carries_badge(b"authorization", b"Basic dTpw")


@pytest.mark.parametrize(
    ("params", "badge"),
    [
        (None, None),
        ({}, None),
        ({"_meta": None}, None),
        ({"_meta": [META_KEY]}, None),
        ({"_meta": {}}, None),
        ({META_KEY: "elsewhere"}, None),
        ({"_meta": {META_KEY: "a.b.c"}}, "a.b.c"),
    ],
)
def test_meta(params: dict[str, object] | None, badge: str | None) -> None:
    """The badge in `_meta` is read there and nowhere else."""
    assert meta_badge(params) == badge


@pytest.mark.parametrize("value", [None, 7, ["a.b.c"], {"a": 1}, "", LONGEST + "x"])
def test_meta_refused(value: object) -> None:
    """A badge in `_meta` that is no string, empty or overlong is refused."""
    with pytest.raises(BadCarriage):
        meta_badge({"_meta": {META_KEY: value}})


def test_both_places() -> None:
    """Header and `_meta` may carry the same badge, never two."""
    assert one_badge(None, None) is None
    assert one_badge("a", None) == one_badge(None, "a") == one_badge("a", "a") == "a"
    with pytest.raises(BadCarriage, match="differ"):
        one_badge("a", "b")


def test_no_badge_in_the_words() -> None:
    """A refusal never repeats a badge."""
    with pytest.raises(BadCarriage) as refused:
        one_badge("first-secret", "second-secret")
    assert "secret" not in str(refused.value)
