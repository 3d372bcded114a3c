"""The simulator's one seam answers as the real check does."""

from rescind.testing.keys import key_of
from rescind.testing.signatures import known_signatures
from rescind_protocol import jws

KEY = key_of("someone")


def read(raw: bytes) -> jws.Jws:
    """Take a JWS apart."""
    return jws.read(raw, limit=10_000)


def test_what_was_verified_is_known_and_anything_else_is_verified() -> None:
    """A flipped bit in text or signature, or another key, is refused before and after."""
    good = jws.sign(b'{"a":1}', typ="x", key=KEY)
    bent = jws.sign(b'{"a":2}', typ="x", key=KEY).rsplit(b".", 1)[0] + b"." + good.split(b".")[2]
    with known_signatures():
        for _ in range(2):
            assert jws.verify(read(good), KEY.public)
            assert not jws.verify(read(bent), KEY.public)
            assert not jws.verify(read(good), key_of("else").public)


def test_the_seam_ends_with_its_block() -> None:
    """Afterwards every signature is verified again."""
    before = jws.__dict__["verifies"]
    with known_signatures():
        assert jws.__dict__["verifies"] is not before
    assert jws.__dict__["verifies"] is before
