"""The allowlist and its keys: each fault of a JWKS is one clear sentence."""

from typing import Any

import msgspec
import pytest

from rescind_guard import Code, Guard, Issuers, View
from rescind_guard.errors import BadGuard
from rescind_guard.issuers import MAX_KEYS, MAX_TRIES, IssuerKey, read_jwks
from rescind_protocol.errors import RescindError
from rescind_protocol.keys import SigningKey, jwk
from tests.fakes.badges import ABSENT, ISSUER, Issuer, Scene, own_badge, self_signed
from tests.fakes.fabric import key_of

GOOD = jwk(key_of("registry").public)
X25519 = {"kty": "OKP", "crv": "X25519", "x": GOOD["x"], "use": "enc"}
RSA = {"kty": "RSA", "n": "AQAB", "e": "AQAB"}


def document(*keys: object) -> bytes:
    """Return a JWKS document."""
    return msgspec.json.encode({"keys": keys})


FAULTS: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"<html>", "not JSON"),
    "empty": (b"", "not JSON"),
    "a key twice": (b'{"keys": [], "keys": []}', "duplicate key"),
    "no keys": (b"{}", "a list `keys`"),
    "keys no list": (b'{"keys": {}}', "a list `keys`"),
    "a list": (b"[]", "a list `keys`"),
    "no key": (document(), "no key for"),
    "other algorithms only": (document(RSA, X25519), "no key for"),
    "too many": (document(*[GOOD] * (MAX_KEYS + 1)), "at most 256"),
    "x cut": (document(GOOD | {"x": GOOD["x"][:-3]}), "32 bytes"),
    "x not text": (document(GOOD | {"x": 5}), "no member x"),
    "x not canonical": (document(GOOD | {"x": GOOD["x"] + "="}), "not canonical"),
    "kid not text": (document(GOOD | {"kid": 5}), "kid is not text"),
    "private key": (document(GOOD | {"d": GOOD["x"]}), "holds a private key"),
    "private RSA key": (document(RSA | {"d": "AQAB"}), "holds a private key"),
    "shared secret": (document({"kty": "oct", "k": "c2VjcmV0"}), "holds a private key"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_bad_jwks_is_refused_in_one_sentence(name: str) -> None:
    """The sentence names the issuer and the fault, and shows no key."""
    raw, sentence = FAULTS[name]
    with pytest.raises(BadGuard, match=sentence) as caught:
        Issuers.from_jwks({ISSUER: raw})
    assert ISSUER in str(caught.value)
    assert "\n" not in str(caught.value)
    assert GOOD["x"] not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "used"),
    [
        ({}, True),
        ({"use": "sig"}, True),
        ({"use": "enc"}, False),
        ({"key_ops": ["verify"]}, True),
        ({"key_ops": ["sign"]}, False),
        ({"key_ops": "verify"}, False),
        ({"alg": "EdDSA"}, True),
        ({"alg": "Ed25519"}, True),
        ({"alg": "ES256"}, False),
        ({"alg": None}, False),
    ],
)
def test_a_key_that_is_not_for_this_is_passed_over(said: dict[str, Any], *, used: bool) -> None:
    """`use`, `key_ops` and `alg` say what a key is for (RFC 7517 §4.2 to §4.4)."""
    bare = {name: GOOD[name] for name in ("kty", "crv", "x")}
    other = jwk(key_of("other").public)
    issuers = Issuers.from_jwks({ISSUER: document(bare | said, other)})
    assert len(issuers.candidates(ISSUER, None)) == 1 + used


def test_keys_of_other_kinds_are_passed_over() -> None:
    """RFC 7517 §5: what is not understood in a key set is ignored, and the rest used."""
    issuers = Issuers.from_jwks({ISSUER: document(RSA, X25519, "text", GOOD)})
    assert [key.kid for key in issuers.candidates(ISSUER, None)] == [GOOD["kid"]]


SHORT = GOOD | {"kid": "short", "x": "AAAA"}
BROKEN = {
    "short": (SHORT, "32 bytes"),
    "not on the curve": (
        {"kty": "EC", "crv": "P-256", "kid": "off", "x": GOOD["x"], "y": GOOD["x"]},
        "no point of P-256",
    ),
    "kid not text": (GOOD | {"kid": 7}, "kid is not text"),
    "no x": ({"kty": "OKP", "crv": "Ed25519", "kid": "nox"}, "no member x"),
    "private": (jwk(key_of("other").public) | {"d": "AAAA"}, "private key"),
    "private RSA": (RSA | {"d": "AQAB"}, "private key"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_entry_takes_no_other_with_it(name: str) -> None:
    """RFC 7517 §5: it is ignored and reported, and a key set's other keys count."""
    entry, sentence = BROKEN[name]
    found = read_jwks(ISSUER, document(entry, GOOD))
    assert [key.kid for key in found] == [GOOD["kid"]]
    assert len(found.ignored) == 1
    assert sentence in found.ignored[0]
    assert read_jwks(ISSUER, document(RSA, X25519, GOOD)).ignored == ()


def test_a_byte_order_mark_is_passed_over() -> None:
    """RFC 8259 §8.1 leaves it to the reader; editors write one."""
    assert read_jwks(ISSUER, b"\xef\xbb\xbf" + document(GOOD))


def test_each_of_two_keys_with_one_kid_counts() -> None:
    """Some issuers rotate a key and keep its `kid`: a badge by either is good."""
    one, other = (jwk(key_of(name).public) | {"kid": "same"} for name in ("registry", "other"))
    issuers = Issuers.from_jwks({ISSUER: document(one, other)})
    for name in ("registry", "other"):
        badge = Issuer(key=key_of(name)).badge(header={"kid": "same"})
        assert code_of(issuers, badge) is Code.OK
    stranger = Issuer(key=key_of("stranger")).badge(header={"kid": "same"})
    assert code_of(issuers, stranger) is Code.BADGE_SIGNATURE_INVALID


@pytest.mark.parametrize("iss", ["", "registry.example", "ftp://registry.example", "https://"])
def test_an_issuer_that_is_no_origin_is_refused(iss: str) -> None:
    """An allowlist names origins or DIDs."""
    with pytest.raises(BadGuard, match="issuer"):
        Issuers.from_jwks({iss: document(GOOD)})


def test_one_issuer_under_two_spellings_is_refused() -> None:
    """The keys of one spelling would be lost without a word."""
    with pytest.raises(BadGuard, match="twice"):
        Issuers.from_jwks({ISSUER: document(GOOD), f"{ISSUER}/": document(GOOD)})


def test_a_guard_without_issuers_is_refused() -> None:
    """An empty allowlist is an error, never "any"; self-signed agents alone will do if asked."""
    with pytest.raises(BadGuard, match="empty allowlist"):
        Guard(View(), Issuers({}))
    scene = Scene()
    guard = Guard(
        scene.revocations.view,
        Issuers({}),
        accept_self_signed=True,
        profile="dev",
        clock=scene.clock,
    )
    assert guard.check(own_badge(self_signed()))
    assert guard.check(scene.issuer.badge()).code is Code.BADGE_ISSUER_UNTRUSTED


def test_the_repr_counts_keys_and_shows_none() -> None:
    """An operator sees which issuers with how many keys."""
    shown = repr(Scene().issuers)
    assert shown == "<Issuers https://registry.example: 1 keys, https://other.example: 1 keys>"


def many(count: int) -> tuple[list[SigningKey], Issuers]:
    """Return an issuer's keys, in the order of its JWKS."""
    keys = [key_of(f"key {number}") for number in range(count)]
    return keys, Issuers.from_jwks({ISSUER: document(*(jwk(key.public) for key in keys))})


def code_of(issuers: Issuers, badge: str) -> Code:
    """Return the code of a guard that trusts `issuers`."""
    scene = Scene()
    return Guard(scene.revocations.view, issuers, clock=scene.clock).check(badge).code


@pytest.mark.parametrize("place", range(MAX_TRIES + 1))
def test_a_badge_without_kid_is_tried_with_five_keys(place: int) -> None:
    """The fifth key is tried, the sixth is not; with a kid it is found."""
    keys, issuers = many(MAX_TRIES + 1)
    issuer = Issuer(key=keys[place])
    expected = Code.OK if place < MAX_TRIES else Code.BADGE_SIGNATURE_INVALID
    assert code_of(issuers, issuer.badge(header={"kid": ABSENT})) is expected
    assert code_of(issuers, issuer.badge()) is Code.OK


@pytest.mark.parametrize(
    ("kid", "code"),
    [
        ("unknown", Code.BADGE_SIGNATURE_INVALID),
        ("", Code.BADGE_SIGNATURE_INVALID),
        (key_of("key 1").kid, Code.BADGE_SIGNATURE_INVALID),
        (key_of("key 0").kid, Code.OK),
        (5, Code.BADGE_MALFORMED),
    ],
)
def test_a_kid_names_one_key(kid: Any, code: Code) -> None:
    """A named key alone is tried, and one that its issuer does not have is refused."""
    keys, issuers = many(2)
    assert code_of(issuers, Issuer(key=keys[0]).badge(header={"kid": kid})) is code


def test_a_jwks_without_kids_goes_by_thumbprint() -> None:
    """RFC 7517 §4.5: kid is optional; ours is then the key's thumbprint."""
    bare = {name: said for name, said in GOOD.items() if name != "kid"}
    issuers = Issuers.from_jwks({ISSUER: document(bare)})
    assert code_of(issuers, Issuer().badge()) is Code.OK


def test_a_small_order_key_verifies_nothing() -> None:
    """A key of order 1, for which one signature fits many messages, is refused by libsodium."""
    identity = b"\x01" + bytes(31)
    issuers = Issuers({ISSUER: (IssuerKey("k", identity, "t"),)})
    forged = Issuer().badge(header={"kid": "k"}).rpartition(".")[0]
    signature = "AQ" + "A" * 84  # R = identity, S = 0
    assert code_of(issuers, f"{forged}.{signature}") is Code.BADGE_SIGNATURE_INVALID


def test_errors_are_of_the_family() -> None:
    """Every error of a configuration is a `RescindError`, which the command line can show."""
    assert issubclass(BadGuard, RescindError)
