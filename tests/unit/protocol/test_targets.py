"""Targets: one spelling for each, and digests that cannot run together."""

from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescind_protocol import targets
from rescind_protocol.errors import Malformed
from rescind_protocol.limits import MAX_ID_CHARS
from rescind_protocol.targets import Kind, Target

UUID = "8b3a1f0c-5d1e-4f7a-9c2b-0123456789ab"


@pytest.mark.parametrize(
    "typed",
    [
        "https://reg.example",
        "https://reg.example/",
        "https://REG.Example",
        "HTTPS://reg.example",
        "https://reg.example:443",
        "https://Reg.Example:443/",
        "https://reg.example:",
        "https://reg.example:0443//",
    ],
)
def test_one_issuer_has_one_spelling(typed: str) -> None:
    """Case, default port and trailing slash do not make another issuer."""
    assert targets.canonical_issuer(typed) == "https://reg.example"
    assert targets.issuer(typed).digest == targets.issuer("https://reg.example").digest


@pytest.mark.parametrize(
    "other",
    [
        "https://reg.example:8443",
        "http://reg.example",
        "https://reg.example/tenant",
        "https://reg.example/Tenant",
        "https://www.reg.example",
        "did:web:reg.example",
    ],
)
def test_another_issuer_stays_another(other: str) -> None:
    """Another port, scheme, path or host is another issuer."""
    assert targets.canonical_issuer(other) == other


def test_the_port_of_plain_http_is_80() -> None:
    """Each scheme has a default port of its own."""
    assert targets.canonical_issuer("http://reg.example:80/") == "http://reg.example"
    assert targets.canonical_issuer("http://reg.example:443") == "http://reg.example:443"
    assert targets.canonical_issuer("https://[2001:DB8::1]:443/") == "https://[2001:db8::1]"


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "reg.example",
        "ftp://reg.example",
        "https://",
        "https://:443",
        "https://user@reg.example",
        "https://reg.example?tenant=1",
        "https://reg.example#top",
        "https://reg.example:port",
        "https://reg.example:99999",
        "https://[::1",
        "https://reg.example /",
        "https://reg\n.example",
        "https://reg.example/" + "a" * MAX_ID_CHARS,
        "did:",
        "did:web:",
    ],
)
def test_what_is_no_issuer_is_refused(bad: str) -> None:
    """Anything but an origin or a DID raises `Malformed`."""
    with pytest.raises(Malformed):
        targets.canonical_issuer(bad)


def test_a_uuid_is_lower_case_and_another_jti_is_exact() -> None:
    """RFC 9562 §4: UUIDs are read in any case; other ids have no case to fold."""
    iss = "https://reg.example"
    assert targets.badge(iss, UUID.upper()).digest == targets.badge(iss, UUID).digest
    assert targets.badge(iss, "Ab").digest != targets.badge(iss, "ab").digest


def test_did_web_folds_its_domain_and_nothing_else() -> None:
    """A host has no case; the path of a did:web and any other DID do."""
    assert str(targets.agent("DID:WEB:ACME.Example%3a8443:Bots:x7").id) == (
        "did:web:acme.example%3A8443:Bots:x7"
    )
    key = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"
    assert targets.agent(key).id == key


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "acme",
        "did:web",
        "did::x",
        "did:web:acme.example#key-1",
        "did:web:acme.example?versionId=1",
        "did:web:acme.example/path",
        "did:web:acme.example%3",
        "did:web:acme .example",
        "did:web:a\x00",
        "did:w_b:acme.example",
        "did:web:b\u00fccher.example",
        "did:web:" + "\u0130" * 400,
        "did:web:\udcff",
        "did:web:" + "a" * MAX_ID_CHARS,
    ],
)
def test_what_is_no_did_is_refused(bad: str) -> None:
    """A DID URL names a part of a document: a kill on it would be reported and stop nothing."""
    with pytest.raises(Malformed):
        targets.agent(bad)


@pytest.mark.parametrize(
    "text", ["\udcff", "a\ud800", "", " ", "a b", "a\n", "\x7f", "\x85", "a" * 513]
)
def test_ids_are_text_that_can_be_written_down(text: str) -> None:
    """A lone surrogate (a byte of a terminal that is not UTF-8) is refused, as blanks are."""
    with pytest.raises(Malformed):
        targets.session(text)
    with pytest.raises(Malformed):
        targets.badge("https://reg.example", text)


@pytest.mark.parametrize("text", [None, 1, b"did:web:a", ("a",)])
def test_ids_are_text(text: object) -> None:
    """Another type raises `Malformed`, not `TypeError`."""
    with pytest.raises(Malformed):
        targets.session(text)  # type: ignore[arg-type]
    with pytest.raises(Malformed):
        targets.agent(text)  # type: ignore[arg-type]
    with pytest.raises(Malformed):
        targets.key(text)  # type: ignore[arg-type]


def test_an_issuer_grown_by_folding_is_still_bounded() -> None:
    """Lower-casing may lengthen text; what no reader takes must not be made."""
    with pytest.raises(Malformed):
        targets.issuer("https://" + "\u0130" * 400)


@pytest.mark.parametrize("bad", ["", "a" * 42, "a" * 44, "a" * 42 + "=", "a" * 42 + "\n"])
def test_a_key_is_a_thumbprint(bad: str) -> None:
    """Labels are not keys: 43 base64url characters or nothing."""
    with pytest.raises(Malformed):
        targets.key(bad)


def test_the_digest_is_the_documented_one() -> None:
    """First 16 bytes of SHA-256 over msgpack `[kind, iss, id]`."""
    made = targets.badge("https://reg.example", UUID)
    packed = msgspec.msgpack.encode(["badge", "https://reg.example", UUID])
    assert made.digest == sha256(packed).digest()[:16]


_texts = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=8)


@given(st.tuples(_texts, _texts, _texts), st.tuples(_texts, _texts, _texts))
def test_parts_never_run_together(a: tuple[str, str, str], b: tuple[str, str, str]) -> None:
    """Two targets have one digest only if they are equal part by part."""
    assert (targets.digest(*a) == targets.digest(*b)) == (a == b)


def test_concatenation_would_have_collided() -> None:
    """The negative control: joined text is equal, the digests are not."""
    one, other = ("https://reg.example", "ab"), ("https://reg.examplea", "b")
    assert "".join(one) == "".join(other)
    assert targets.digest("badge", *one) != targets.digest("badge", *other)


def test_kinds_do_not_share_digests() -> None:
    """The same text as session and as agent is two targets."""
    did = "did:web:acme.example"
    assert len({targets.digest(kind, "", did) for kind in Kind}) == len(Kind)


@pytest.mark.parametrize(
    "target",
    [
        Target(Kind.AGENT, "", "DID:web:acme.example"),
        Target(Kind.AGENT, "https://reg.example", "did:web:acme.example"),
        Target(Kind.ISSUER, "https://reg.example/"),
        Target(Kind.ISSUER, "https://reg.example", "x"),
        Target(Kind.BADGE, "https://reg.example", UUID.upper()),
        Target(Kind.EVERYONE, "", "x"),
        Target(Kind.KEY, "", "kid-1"),
        Target(Kind.SESSION),
    ],
)
def test_a_second_spelling_is_refused_on_reading(target: Target) -> None:
    """Readers take the canonical form only."""
    with pytest.raises(Malformed):
        targets.check(target)


@given(st.text(max_size=40))
def test_canonical_forms_are_stable(text: str) -> None:
    """Whatever is accepted is its own canonical form, of bounded length and with a digest."""
    for make in (targets.session, targets.agent, targets.issuer):
        for prefix in ("", "did:web:", "https://"):
            try:
                made = make(prefix + text)
            except Malformed:
                continue
            assert targets.check(made) is made
            assert len(made.id) <= MAX_ID_CHARS
            assert len(made.digest) == targets.DIGEST_BYTES
