"""Keys against the vectors of RFC 8037 and the rules of RFC 7638."""

from hashlib import sha256

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rescind_protocol import jws, keys
from rescind_protocol.encoding import b64url_decode, b64url_encode
from rescind_protocol.errors import Malformed
from rescind_protocol.keys import SigningKey
from tests.fakes.fabric import PUBLISHER

# RFC 8037, appendix A.
A1_D = b"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
A2_X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
A3_THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
A4_INPUT = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
A4_SIGNATURE = (
    b"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)
KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(b64url_decode(A1_D)))


def test_rfc_8037_a1_a2_the_public_key_of_the_private_one() -> None:
    """The private key of A.1 has the public key of A.2."""
    assert b64url_encode(KEY.public) == A2_X
    assert keys.public_from_jwk({"kty": "OKP", "crv": "Ed25519", "x": A2_X}) == KEY.public


def test_rfc_8037_a3_the_thumbprint() -> None:
    """RFC 7638 §3: required members only, in lexicographic order, no white space."""
    assert keys.thumbprint(KEY.public) == KEY.kid == A3_THUMBPRINT
    members = {"x": A2_X, "kty": "OKP", "crv": "Ed25519"}
    canonical = msgspec.json.encode(members, order="deterministic")
    assert b64url_encode(sha256(canonical).digest()) == A3_THUMBPRINT


def test_rfc_8037_a4_the_signature() -> None:
    """Signing gives the very bytes of A.4: Ed25519 is deterministic."""
    assert b64url_encode(KEY.sign(A4_INPUT)).encode() == A4_SIGNATURE
    token = jws.read(A4_INPUT + b"." + A4_SIGNATURE, limit=1000)
    assert token.payload == b"Example of Ed25519 signing"
    assert jws.verify(token, KEY.public)


def test_rfc_8037_a5_a_changed_bit_does_not_verify() -> None:
    """The control for A.4: another key, message or signature is refused."""
    signature = b64url_decode(A4_SIGNATURE)
    assert keys.verifies(signature, A4_INPUT, KEY.public)
    assert not keys.verifies(signature, A4_INPUT, PUBLISHER.public)
    assert not keys.verifies(signature, A4_INPUT + b"A", KEY.public)
    for place in range(0, 512, 5):
        flipped = bytearray(signature)
        flipped[place // 8] ^= 1 << (place % 8)
        assert not keys.verifies(bytes(flipped), A4_INPUT, KEY.public)


ORDER = 2**252 + 27742317777372353535851937790883648493


def test_a_second_signature_cannot_be_made_from_the_first() -> None:
    """RFC 8032 §5.1.7: S + L is refused, else one token would have two sets of bytes."""
    signature = b64url_decode(A4_SIGNATURE)
    scalar = int.from_bytes(signature[32:], "little") + ORDER
    twin = signature[:32] + scalar.to_bytes(32, "little")
    assert not keys.verifies(twin, A4_INPUT, KEY.public)


@pytest.mark.parametrize("public", [bytes(32), b"\x01" + bytes(31), b"\xff" * 32, b"", bytes(31)])
def test_weak_and_impossible_keys_verify_nothing(public: bytes) -> None:
    """A small-order key would verify a signature of its own order over anything."""
    assert not keys.verifies(b"\x01" + bytes(63), b"anything", public)
    assert not keys.verifies(bytes(64), b"anything", public)


@pytest.mark.parametrize(
    "jwk",
    [
        None,
        "x",
        {},
        {"kty": "OKP", "crv": "Ed25519"},
        {"kty": "OKP", "crv": "X25519", "x": A2_X},
        {"kty": "EC", "crv": "Ed25519", "x": A2_X},
        {"kty": "OKP", "crv": "Ed25519", "x": 5},
        {"kty": "OKP", "crv": "Ed25519", "x": A2_X + "="},
        {"kty": "OKP", "crv": "Ed25519", "x": A2_X[:-1]},
        {"kty": "OKP", "crv": "Ed25519", "x": A2_X[:-1] + "p"},
        {"kty": "OKP", "crv": "Ed25519", "x": "\u00e9" * 43},
        {"kty": "oct", "k": A2_X},
    ],
)
def test_what_is_no_ed25519_jwk_is_malformed(jwk: object) -> None:
    """Another type, curve, length or spelling of x."""
    with pytest.raises(Malformed):
        keys.public_from_jwk(jwk)


def test_a_jwk_says_its_thumbprint_and_never_the_private_key() -> None:
    """Members of a public key only; the repr shows the thumbprint only."""
    found = keys.jwk(KEY.public)
    assert found["kid"] == A3_THUMBPRINT
    assert "d" not in found
    assert keys.public_from_jwk(found) == KEY.public
    assert A3_THUMBPRINT in repr(KEY)
    assert A1_D.decode() not in repr(KEY)


def test_pem_goes_round() -> None:
    """PKCS #8, unencrypted, the same key back."""
    assert SigningKey.from_pem(KEY.to_pem()).kid == KEY.kid
    assert SigningKey.generate().kid != SigningKey.generate().kid


def _pem(private: object, encryption: serialization.KeySerializationEncryption) -> bytes:
    return private.private_bytes(  # type: ignore[attr-defined,no-any-return]
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


PLAIN = serialization.NoEncryption()
PEMS = {
    "empty": b"",
    "text": b"not a key",
    "binary": b"\x00\xff" * 40,
    "cut": KEY.to_pem()[:60],
    "public": Ed25519PrivateKey.generate()
    .public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
    "P-256": _pem(ec.generate_private_key(ec.SECP256R1()), PLAIN),
    "X25519": _pem(x25519.X25519PrivateKey.generate(), PLAIN),
    "encrypted": _pem(
        Ed25519PrivateKey.generate(), serialization.BestAvailableEncryption(b"secret")
    ),
}


@pytest.mark.parametrize("case", list(PEMS))
def test_any_other_pem_is_malformed(case: str) -> None:
    """One sentence, never another library's exception."""
    with pytest.raises(Malformed):
        SigningKey.from_pem(PEMS[case])
