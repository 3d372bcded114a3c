"""Hostile tokens end as typed decisions, never as exceptions, and never as an allow."""

import hashlib
import hmac
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescind_guard import Code, Mode, Outcome, Rule
from rescind_protocol.encoding import b64url_encode
from rescind_protocol.limits import MAX_BADGE_BYTES
from tests.fakes.badges import Issuer, Scene, own_badge, self_signed, split
from tests.fakes.fabric import STRANGER

SCENE = Scene()
GUARD = SCENE.guard()
GOOD = SCENE.issuer.badge()
HEADER, PAYLOAD, SIGNATURE = split(GOOD)


def segment(**members: object) -> str:
    """Return a header segment."""
    return b64url_encode(msgspec.json.encode(members))


def hs256() -> str:
    """Return a token whose HMAC key is the issuer's public key (RFC 8725 §2.1)."""
    body = f"{segment(alg='HS256', typ='JWT', kid=SCENE.issuer.key.kid)}.{PAYLOAD}"
    mac = hmac.new(SCENE.issuer.key.public, body.encode(), hashlib.sha256).digest()
    return f"{body}.{b64url_encode(mac)}"


def duplicated(name: str, said: str) -> str:
    """Return a signed badge whose payload says one claim twice."""
    text = json.dumps(SCENE.issuer.claims())
    return SCENE.issuer.sign(f'{text[:-1]}, "{name}": "{said}"}}'.encode())


HOSTILE: dict[str, tuple[Any, Code]] = {
    "none given": (None, Code.TOOL_AUTH_MISSING),
    "empty": ("", Code.BADGE_MALFORMED),
    "number": (5, Code.BADGE_MALFORMED),
    "bytes": (GOOD.encode(), Code.BADGE_MALFORMED),
    "list": ([GOOD], Code.BADGE_MALFORMED),
    "mapping": ({"token": GOOD}, Code.BADGE_MALFORMED),
    "not ascii": (f"{GOOD}é", Code.BADGE_MALFORMED),
    "lone surrogate": (f"{GOOD}\ud800", Code.BADGE_MALFORMED),
    "nul": (f"{GOOD}\0", Code.BADGE_MALFORMED),
    "alg none": (f"{segment(alg='none', typ='JWT')}.{PAYLOAD}.", Code.BADGE_MALFORMED),
    "alg none, signed": (
        f"{segment(alg='none', typ='JWT')}.{PAYLOAD}.{SIGNATURE}",
        Code.BADGE_MALFORMED,
    ),
    "alg absent": (f"{segment(typ='JWT')}.{PAYLOAD}.{SIGNATURE}", Code.BADGE_MALFORMED),
    "alg a number": (f"{segment(alg=1, typ='JWT')}.{PAYLOAD}.{SIGNATURE}", Code.BADGE_MALFORMED),
    "hs256 with the public key": (hs256(), Code.BADGE_MALFORMED),
    "critical extension": (
        SCENE.issuer.badge(header={"crit": ["b64"], "b64": False}),
        Code.BADGE_MALFORMED,
    ),
    "header a list": (f"{b64url_encode(b'[]')}.{PAYLOAD}.{SIGNATURE}", Code.BADGE_MALFORMED),
    "signature stripped": (f"{HEADER}.{PAYLOAD}.", Code.BADGE_MALFORMED),
    "signature left out": (f"{HEADER}.{PAYLOAD}", Code.BADGE_MALFORMED),
    "signature cut": (GOOD[:-4], Code.BADGE_MALFORMED),
    "signature of another badge": (
        f"{HEADER}.{PAYLOAD}.{split(SCENE.issuer.badge())[2]}",
        Code.BADGE_SIGNATURE_INVALID,
    ),
    "signature of zeros": (
        f"{HEADER}.{PAYLOAD}.{b64url_encode(bytes(64))}",
        Code.BADGE_SIGNATURE_INVALID,
    ),
    "trailing part": (f"{GOOD}.{PAYLOAD}", Code.BADGE_MALFORMED),
    "trailing dot": (f"{GOOD}.", Code.BADGE_MALFORMED),
    "trailing blank": (f"{GOOD} ", Code.BADGE_MALFORMED),
    "trailing newline": (f"{GOOD}\n", Code.BADGE_MALFORMED),
    "padding": (f"{GOOD}==", Code.BADGE_MALFORMED),
    "bearer prefix": (f"Bearer {GOOD}", Code.BADGE_MALFORMED),
    "stray bits in the signature": (GOOD[:-1] + chr(ord(GOOD[-1]) + 1), Code.BADGE_MALFORMED),
    "oversize": (SCENE.issuer.badge(sid="s" * MAX_BADGE_BYTES), Code.BADGE_MALFORMED),
    "header oversize": (SCENE.issuer.badge(header={"pad": "x" * 2000}), Code.BADGE_MALFORMED),
    "duplicate claim": (duplicated("sub", "did:web:evil.example"), Code.BADGE_MALFORMED),
    "duplicate claim, escaped": (
        duplicated("s\\u0075b", "did:web:e.example"),
        Code.BADGE_MALFORMED,
    ),
    "payload no json": (SCENE.issuer.sign(b"jti"), Code.BADGE_MALFORMED),
    "payload twice": (SCENE.issuer.sign(b"{}{}"), Code.BADGE_MALFORMED),
    "payload nested deep": (SCENE.issuer.sign(b"[" * 5000 + b"]" * 5000), Code.BADGE_MALFORMED),
    "payload a list": (SCENE.issuer.sign(b"[]"), Code.BADGE_CLAIMS_INVALID),
    "payload null": (SCENE.issuer.sign(b"null"), Code.BADGE_CLAIMS_INVALID),
    "kid of another issuer": (
        SCENE.issuer.badge(header={"kid": SCENE.other.key.kid}),
        Code.BADGE_SIGNATURE_INVALID,
    ),
    "signed by a stranger under the issuer's kid": (
        Issuer(key=STRANGER).badge(header={"kid": SCENE.issuer.key.kid}),
        Code.BADGE_SIGNATURE_INVALID,
    ),
    "signed by another trusted issuer": (
        Issuer(key=SCENE.other.key).badge(header={"kid": SCENE.issuer.key.kid}),
        Code.BADGE_SIGNATURE_INVALID,
    ),
    "its own key in the header": (
        Issuer(key=STRANGER).badge(header={"jwk": {"kty": "OKP"}, "kid": SCENE.issuer.key.kid}),
        Code.BADGE_SIGNATURE_INVALID,
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_token_is_denied_with_its_code(name: str) -> None:
    """Whatever stands in for a badge is denied by a code, and nothing is raised."""
    token, code = HOSTILE[name]
    decision = GUARD.check(token)
    assert (decision.outcome, decision.code) == (Outcome.DENY, code), decision.reason
    assert decision.claims is None
    assert decision.reason.isprintable()


def test_what_was_seen_as_bytes_admits_no_other_spelling() -> None:
    """The text of a bytes object is no badge, also when those bytes were checked before."""
    guard = SCENE.guard()
    guard.check(GOOD.encode())  # type: ignore[arg-type]
    assert guard.check(str(GOOD.encode())).code is Code.BADGE_MALFORMED


def test_a_str_subclass_is_checked_and_not_remembered() -> None:
    """What a str subclass says of itself is not remembered as a good badge."""

    class Liar(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "nonsense"

    guard = SCENE.guard()
    assert guard.check(Liar(GOOD))
    assert guard.check("nonsense").code is Code.BADGE_MALFORMED


def test_the_good_badge_is_allowed() -> None:
    """The badge that the hostile ones are made of is good: they fail for what was bent."""
    assert GUARD.check(GOOD)


@given(place=st.integers(0, len(GOOD) - 1), by=st.integers(1, 127))
def test_no_changed_badge_is_allowed(place: int, by: int) -> None:
    """A badge with any one character changed is never allowed."""
    changed = GOOD[:place] + chr((ord(GOOD[place]) + by) % 128) + GOOD[place + 1 :]
    assert GUARD.check(changed).outcome is Outcome.DENY


@given(start=st.integers(0, len(GOOD)), length=st.integers(0, 80), text=st.text(max_size=80))
def test_no_spliced_badge_is_allowed(start: int, length: int, text: str) -> None:
    """A badge with any part cut out or replaced by any text is never allowed."""
    changed = GOOD[:start] + text + GOOD[start + length :]
    assert changed == GOOD or GUARD.check(changed).outcome is Outcome.DENY


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
CLAIMS = st.sampled_from(sorted(SCENE.issuer.claims())) | st.sampled_from(["aud", "nbf", "cnf"])


@given(name=CLAIMS, said=JSON)
def test_any_claim_may_hold_anything(name: str, said: object) -> None:
    """An issuer's key may sign any value in any claim: the guard decides, and never raises."""
    bent: dict[str, Any] = {name: said}
    signed = SCENE.issuer.badge(**bent)
    for mode in Mode:
        assert SCENE.guard(rule=Rule(mode)).check(signed).code in Code


@given(said=JSON | st.binary(max_size=60))
def test_anything_may_stand_in_for_a_token(said: Any) -> None:
    """Any object at all given as a token is decided, never allowed, never an exception."""
    assert not GUARD.check(said)


@pytest.mark.parametrize("blank", ["1", "11"])
def test_a_did_key_has_one_spelling(blank: str) -> None:
    """A leading zero in base58 would be another name for the same key, and escape its kill."""
    loner = self_signed()
    alias = loner.iss.replace(":z", f":z{blank}")
    guard = SCENE.guard(accept_self_signed=True, profile="dev")
    assert guard.check(own_badge(loner))
    assert guard.check(own_badge(loner, iss=alias, sub=alias)).code is Code.BADGE_CLAIMS_INVALID
