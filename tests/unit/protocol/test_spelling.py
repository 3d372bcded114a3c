"""Names in plain form: what another spelling would name too is refused wherever a name comes in."""

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescind_protocol import events, targets
from rescind_protocol.changes import Kill
from rescind_protocol.errors import Malformed
from rescind_protocol.targets import Kind, Target
from tests.fakes.fabric import NOW, Log, make_trust

SAME_DOCUMENT = [
    "did:web:acme.example:%7A0",
    "did:web:acme.example:x%37",
    "did:web:acme.example:x%2Dy",
    "did:web:acme.example:x%2e",
    "did:web:acme.example:%c3%a9",
    "did:web:acme.example:a%2Fb",
    "did:web:acme.example:a%5Cb",
    "did:web:acme.example.:z1",
    "did:web:acme..example:z1",
    "did:web:%61cme.example:z1",
    "did:web:b%C3%BCcher.example:z1",
    "did:web:acme.example%3A443:z2",
    "did:web:acme.example%3a443:z2",
    "did:web:acme.example%3A0443:z2",
    "did:web:acme.example%3A08443:z2",
    "did:web:acme.example%3A:z2",
    "did:web:acme.example:.:z1",
    "did:web:acme.example:x:..:z1",
    "did:web:acme.example::z1",
    "did:web:acme.example:z1:",
    "did:web:acme.example:.well-known",
    "did:web:127.1:z1",
    "did:web:0x7f000001:z1",
    "did:web:2130706433:z1",
    "did:example:%37",
    "did:key:1.1:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
    "did:key:u7QGNRVHRzMxqzpfM4mPmDzPbBv6oKmTpUEvkxXMwZ5aLSg",
]
"""Each is also the name of a document that has a plainer name."""
PLAIN = [
    "did:web:acme.example",
    "did:web:acme.example:agents:x7",
    "did:web:acme.example%3A8443:agents:x7",
    "did:web:acme.example:agents:%C3%A9",
    "did:web:acme.example:agents:a%20b",
    "did:web:localhost%3A8443",
    "did:web:127.0.0.1%3A8443",
    "did:web:xn--bcher-kva.example:x",
    "did:web:acme.example:x.y:..z",
    "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
    "did:example:123:%2B",
]


@pytest.mark.parametrize("did", SAME_DOCUMENT)
def test_a_did_with_a_plainer_name_is_refused(did: str) -> None:
    """A kill of it would be accepted and stop nobody."""
    with pytest.raises(Malformed, match=r"not in plain form|not a DID"):
        targets.agent(did)
    with pytest.raises(Malformed):
        targets.canonical_issuer(did)


@pytest.mark.parametrize("did", PLAIN)
def test_a_plain_did_is_accepted_as_it_is(did: str) -> None:
    """The control: none of the rules refuses what has one spelling."""
    assert targets.agent(did).id == did


@pytest.mark.parametrize(
    "iss",
    [
        "https://reg.example.",
        "https://reg..example",
        "https://reg.example/%7Eteam",
        "https://reg.example/a%2f",
        "https://reg.example/a%2",
        "https://reg.example/./a",
        "https://reg.example/a/../b",
        "https://reg.example/a//b",
        "https://reg.example/é",
        "https://bücher.example",
        "https://r%65g.example",
        "https://127.1",
        "https://0x7f.1",
        "https://[2001:db8:0::1]",
    ],
)
def test_an_issuer_with_a_plainer_address_is_refused(iss: str) -> None:
    """RFC 3986 §6.2.2: these are the same address as another string."""
    with pytest.raises(Malformed, match="not in plain form"):
        targets.canonical_issuer(iss)


@pytest.mark.parametrize(
    "iss",
    [
        "https://reg.example/~team/%C3%A9",
        "https://reg.example/a%2Fb",
        "https://10.0.0.1:8443",
        "https://[2001:db8::1]",
        "https://xn--bcher-kva.example",
    ],
)
def test_a_plain_issuer_is_accepted_as_it_is(iss: str) -> None:
    """The control."""
    assert targets.canonical_issuer(iss) == iss


NOT_WHAT_IT_LOOKS = {
    "NFD": "cafe\u0301",
    "zero width space": "ses\u200bsion",
    "zero width joiner": "ses\u200dsion",
    "byte order mark": "\ufeffsession",
    "right-to-left override": "\u202enoisses",
    "soft hyphen": "ses\u00adsion",
    "ideographic space": "a\u3000b",
    "line separator": "a\u2028b",
    "variation selector": "a\ufe0f",
    "grapheme joiner": "a\u034fb",
    "Hangul filler": "a\u3164",
    "tag": "a\U000e0061",
    "private use": "a\ue000",
    "unassigned": "a\u0378",
}


@pytest.mark.parametrize("text", NOT_WHAT_IT_LOOKS.values(), ids=NOT_WHAT_IT_LOOKS)
@pytest.mark.parametrize(
    "make", [targets.session, lambda text: targets.badge("https://reg.example", text)]
)
def test_an_id_that_is_not_what_it_looks_is_refused(
    make: Callable[[str], Target], text: str
) -> None:
    """Two ids that a person cannot tell apart are two targets."""
    with pytest.raises(Malformed, match="not in plain form"):
        make(text)


@pytest.mark.parametrize("text", ["café", "会话-7", "сессия", "%37", "é" * 40, "👍"])
def test_an_id_in_any_script_is_accepted(text: str) -> None:
    """The control: NFC and visible is all that is asked for."""
    assert targets.session(text).id == text


@given(st.text(min_size=1, max_size=20))
def test_two_ids_that_are_equal_in_nfc_are_one_target(text: str) -> None:
    """Whatever is accepted is its own normal form."""
    try:
        made = targets.session(text)
    except Malformed:
        return
    assert made.id == unicodedata.normalize("NFC", text) == text


@pytest.mark.parametrize(
    "stored",
    [
        Target(Kind.AGENT, "", "did:web:acme.example:%7A0"),
        Target(Kind.SESSION, "", "cafe\u0301"),
        Target(Kind.BADGE, "https://reg.example/%7Ex", "a\u200bb"),
    ],
)
def test_a_log_of_an_older_publisher_is_still_read(stored: Target) -> None:
    """What 0.1.0 accepted must not make a view stale (I10); new kills of it are refused."""
    raw = Log().write(Kill(target=stored, expires_at=NOW))
    assert events.authenticate(raw, make_trust()).changes[0][1].target == stored
    with pytest.raises(Malformed, match="not in plain form"):
        targets.check(stored)
