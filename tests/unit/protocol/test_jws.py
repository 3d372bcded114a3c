"""The JWS reader against hostile tokens, and against PyJWT: stricter at times, laxer never."""

import hmac
import warnings
from contextlib import suppress

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import example, given
from hypothesis import strategies as st

from rescind_protocol import jws
from rescind_protocol.encoding import b64url_encode
from rescind_protocol.errors import Malformed, RescindError, TooLarge
from tests.fakes.fabric import PUBLISHER, STRANGER

LIMIT = 4096
GOOD = jws.sign(b'{"jti":"1"}', typ="JWT", key=PUBLISHER)


def token(header: object, payload: bytes = b"{}", signature: bytes | None = None) -> bytes:
    """Return a token with any header, signed by the publisher unless a signature is given."""
    head = header if isinstance(header, bytes) else msgspec.json.encode(header)
    text = f"{b64url_encode(head)}.{b64url_encode(payload)}".encode()
    signed = PUBLISHER.sign(text) if signature is None else signature
    return text + b"." + b64url_encode(signed).encode()


def accepts(raw: bytes) -> bool:
    """Whether we take the token as the publisher's."""
    return jws.verify(jws.read(raw, limit=LIMIT), PUBLISHER.public)


def oracle_accepts(raw: bytes) -> bool:
    """Whether PyJWT does, with the one algorithm allowed."""
    public = Ed25519PublicKey.from_public_bytes(PUBLISHER.public)
    with warnings.catch_warnings(), suppress(jwt.PyJWTError):
        warnings.simplefilter("ignore")
        jwt.PyJWS().decode(raw, key=public, algorithms=["EdDSA"])
        return True
    return False


def test_both_take_a_good_token_and_each_others() -> None:
    """The control for everything below."""
    assert accepts(GOOD)
    assert oracle_accepts(GOOD)
    private = PUBLISHER.to_pem()
    theirs = jwt.encode({"jti": "1"}, private, algorithm="EdDSA", headers={"kid": PUBLISHER.kid})
    assert accepts(theirs.encode())


def test_both_names_of_the_algorithm_are_read() -> None:
    """RFC 9864 calls it Ed25519; a member that we do not act on is ignored."""
    assert accepts(token({"alg": "Ed25519"}))
    assert accepts(token({"alg": "EdDSA", "jku": "https://evil.example"}))


def _hs256() -> bytes:
    head = b64url_encode(b'{"alg":"HS256","typ":"JWT"}')
    text = f"{head}.{b64url_encode(b'{}')}".encode()
    return text + b"." + b64url_encode(hmac.digest(PUBLISHER.public, text, "sha256")).encode()


HEAD, PAYLOAD, SIGNATURE = GOOD.split(b".")
HOSTILE = {
    "alg none": token({"alg": "none"}),
    "alg none, stripped": token({"alg": "none"}, signature=b""),
    "alg None": token({"alg": "None"}),
    "alg HS256 keyed with the public key": _hs256(),
    "alg HS256 with an EdDSA signature": token({"alg": "HS256"}),
    "alg eddsa": token({"alg": "eddsa"}),
    "alg ES256": token({"alg": "ES256"}),
    "alg missing": token({"typ": "JWT"}),
    "alg null": token({"alg": None}),
    "alg list": token({"alg": ["EdDSA"]}),
    "alg twice": token(b'{"alg":"none","alg":"EdDSA"}'),
    "alg twice, escaped": token(b'{"\\u0061lg":"none","alg":"EdDSA"}'),
    "kid a number": token({"alg": "EdDSA", "kid": 5}),
    "kid null": token({"alg": "EdDSA", "kid": None}),
    "typ null": token({"alg": "EdDSA", "typ": None}),
    "typ a list": token({"alg": "EdDSA", "typ": ["JWT"]}),
    "crit unknown": token({"alg": "EdDSA", "crit": ["x"], "x": 1}),
    "crit known to nobody": token({"alg": "EdDSA", "crit": ["alg"]}),
    "crit empty": token({"alg": "EdDSA", "crit": []}),
    "crit null": token({"alg": "EdDSA", "crit": None}),
    "b64 false": token({"alg": "EdDSA", "b64": False}),
    "b64 false, critical": token({"alg": "EdDSA", "b64": False, "crit": ["b64"]}),
    "header an array": token(["alg", "EdDSA"]),
    "header a string": token("EdDSA"),
    "header null": token(None),
    "header empty": b"." + PAYLOAD + b"." + SIGNATURE,
    "header not UTF-8": token(b'{"alg":"EdDSA","kid":"\xff"}'),
    "header NaN": token(b'{"alg":"EdDSA","x":NaN}'),
    "header with a huge number": token(b'{ "alg":"EdDSA","x":' + b"9" * 700 + b"e999}"),
    "header nested deep": token(b'{"alg":"EdDSA","x":' + b"[" * 700 + b"}"),
    "header too long": token({"alg": "EdDSA", "x": "x" * 1000}),
    "header with trailing data": token(b'{"alg":"EdDSA"}{}'),
    "signature stripped": HEAD + b"." + PAYLOAD + b".",
    "signature missing": HEAD + b"." + PAYLOAD,
    "signature short": token({"alg": "EdDSA"}, signature=bytes(63)),
    "signature long": token({"alg": "EdDSA"}, signature=bytes(65)),
    "signature padded": GOOD + b"==",
    "signature with trailing bits": GOOD[:-1] + bytes([GOOD[-1] + 1]),
    "trailing line feed": GOOD + b"\n",
    "leading blank": b" " + GOOD,
    "trailing part": GOOD + b".",
    "five parts": GOOD + b".AA.AA",
    "JSON serialisation": b'{"payload":"e30","signatures":[]}',
    "empty": b"",
    "dots": b"..",
    "many dots": b"." * LIMIT,
    "not ASCII": "ü.ü.ü".encode(),
    "null bytes": b"\x00.\x00.\x00",
}


@pytest.mark.parametrize("case", list(HOSTILE))
def test_a_hostile_token_is_malformed(case: str) -> None:
    """A typed error before any key is looked up, and never another exception."""
    with pytest.raises(Malformed):
        jws.read(HOSTILE[case], limit=LIMIT)


def test_a_token_beyond_the_limit_is_too_large() -> None:
    """Refused by its length alone."""
    assert jws.read(GOOD, limit=len(GOOD)).payload
    with pytest.raises(TooLarge):
        jws.read(GOOD, limit=len(GOOD) - 1)


@pytest.mark.parametrize(
    "raw",
    [
        jws.sign(b'{"jti":"1"}', typ="JWT", key=STRANGER),
        jws.sign(b'{"jti":"1"}', typ="JWT", key=STRANGER, kid=PUBLISHER.kid),
        b".".join([HEAD, b64url_encode(b'{"jti":"2"}').encode(), SIGNATURE]),
        b".".join([b64url_encode(b'{"alg":"EdDSA"}').encode(), PAYLOAD, SIGNATURE]),
        token({"alg": "EdDSA"}, signature=bytes(64)),
    ],
    ids=["stranger", "swapped kid", "other payload", "other header", "zero signature"],
)
def test_what_is_well_formed_and_not_signed_does_not_verify(raw: bytes) -> None:
    """The kid is a claim like any other: the signature decides."""
    assert not accepts(raw)
    assert not oracle_accepts(raw)


@pytest.mark.parametrize("case", list(HOSTILE))
def test_the_oracle_agrees_or_is_laxer(case: str) -> None:
    """What PyJWT refuses we refuse; the cases above show it of each hostile token."""
    if not oracle_accepts(HOSTILE[case]):
        with pytest.raises(RescindError):
            accepts(HOSTILE[case])


_members = st.dictionaries(
    st.sampled_from(["typ", "kid", "crit", "b64", "zip", "jku", "cty", "x"]),
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["", "JWT", "b64"])
    | st.just(["b64"]),
)


@given(
    st.sampled_from(["EdDSA", "none", "HS256", "ES256", "", "EDDSA"]),
    _members,
    st.binary(max_size=20),
)
@example("EdDSA", {"b64": False}, b"{}")
@example("EdDSA", {"kid": None}, b"{}")
def test_never_laxer_than_pyjwt_on_any_header(
    alg: str, members: dict[str, object], payload: bytes
) -> None:
    """Whatever the header says, signed rightly: we accept only what PyJWT accepts."""
    raw = token({"alg": alg, **members}, payload)
    with suppress(RescindError):
        assert not accepts(raw) or oracle_accepts(raw)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 3), st.binary(max_size=4))
def test_never_laxer_than_pyjwt_on_mutated_bytes(place: int, cut: int, put: bytes) -> None:
    """Cut, replace, insert: both say no, or the bytes are those that were signed."""
    raw = GOOD[:place] + put + GOOD[place + cut :]
    with suppress(RescindError):
        assert not accepts(raw) or (raw == GOOD and oracle_accepts(raw))
