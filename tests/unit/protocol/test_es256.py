"""ES256 against the RFC's vectors and PyJWT; whatever is no key or no signature is refused."""

from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from rescind_protocol import es256, jws
from rescind_protocol.encoding import b64url_decode
from rescind_protocol.errors import Malformed
from tests.fakes.ec import EcKey

KEY = EcKey()
MESSAGE = b"message"
SIGNATURE = KEY.sign(MESSAGE)
# RFC 7515 A.3: the key, the signing input and the signature of its example.
RFC_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
RFC_INPUT = (
    b"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
    b"cGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
)
RFC_SIGNATURE = (
    b"DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def test_the_rfcs_example_verifies() -> None:
    """RFC 7515 A.3; and not with a bit of it turned."""
    public = es256.public_from_jwk(RFC_KEY)
    signature = b64url_decode(RFC_SIGNATURE)
    assert es256.verifies(signature, RFC_INPUT, public)
    assert not es256.verifies(signature, RFC_INPUT + b"A", public)
    assert not es256.verifies(signature[:-1] + b"\0", RFC_INPUT, public)
    assert not es256.verifies(signature, RFC_INPUT, KEY.public)


def test_a_token_of_another_library_verifies() -> None:
    """PyJWT signs, we verify; and its thumbprint is ours."""
    pem = KEY._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    token = jwt.encode({"jti": "1"}, pem, algorithm="ES256").encode()
    parts = jws.read(token, limit=4096, algorithms=("ES256",))
    assert es256.verifies(parts.signature, parts.signing_input, KEY.public)
    with pytest.raises(Malformed, match="none of EdDSA"):
        jws.read(token, limit=4096)


def test_a_thumbprint_is_the_rfcs() -> None:
    """RFC 7638 §3.2 over crv, kty, x, y: as another implementation counts it."""
    assert es256.thumbprint(es256.public_from_jwk(RFC_KEY)) == (
        "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"
    )


@pytest.mark.parametrize(
    "bent",
    [
        {"x": RFC_KEY["y"]},
        {"x": "AA"},
        {"x": RFC_KEY["x"] + "="},
        {"x": "é"},
        {"y": 5},
        {"y": None},
        {"crv": "P-384"},
        {"crv": "secp256k1"},
        {"kty": "OKP"},
        {"x": "A" * 43, "y": "A" * 43},
    ],
)
def test_what_is_no_point_is_no_key(bent: dict[str, Any]) -> None:
    """Off the curve, of another curve, of another size, or infinity."""
    with pytest.raises(Malformed):
        es256.public_from_jwk(RFC_KEY | bent)


@pytest.mark.parametrize(
    "numbers", [(0, 0), (0, 1), (1, 0), (1, 1), (ORDER, ORDER), (1, ORDER), (2**256 - 1, 1)]
)
def test_a_signature_of_impossible_numbers_verifies_nothing(numbers: tuple[int, int]) -> None:
    """R and s lie between 1 and the order: zeros once passed elsewhere (CVE-2022-21449)."""
    signature = b"".join(number.to_bytes(32, "big") for number in numbers)
    assert not es256.verifies(signature, MESSAGE, KEY.public)


@given(place=st.integers(0, 511))
def test_no_turned_bit_verifies(place: int) -> None:
    """A signature is taken as it is, or not at all."""
    assert es256.verifies(SIGNATURE, MESSAGE, KEY.public)
    bent = bytearray(SIGNATURE)
    bent[place // 8] ^= 1 << place % 8
    assert not es256.verifies(bytes(bent), MESSAGE, KEY.public)
