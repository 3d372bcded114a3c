"""A short run of the token fuzzer, and proof that it finds what it is there to find.

The long one is `make fuzz`: ten million tokens.
"""

from collections.abc import Callable
from random import Random

import pytest

from rescind_guard import didweb, hops, jwk
from rescind_guard.codes import Code
from rescind_protocol import encoding, jws
from rescind_protocol.errors import Malformed
from tests.fuzz.__main__ import play
from tests.fuzz.target import Found, Target

TOKENS = 10_000
"""A third of a second."""
SEED = 8037
REACHED = (
    Code.BADGE_MALFORMED,
    Code.BADGE_CLAIMS_INVALID,
    Code.BADGE_ISSUER_UNTRUSTED,
    Code.BADGE_SIGNATURE_INVALID,
    "read OK",
    "map OK",
    "document OK",
    "document MALFORMED",
    f"map {Code.BADGE_MALFORMED}",
    f"map {Code.BADGE_SIGNATURE_INVALID}",
)


def _try(target: Target, rng: Random) -> Target:
    for _ in range(TOKENS):
        target.try_one(rng)
    return target


def test_no_bent_token_is_allowed_and_nothing_but_types_is_raised() -> None:
    """And the tokens get as far as a signature, and beyond it where it is taken for granted."""
    codes = _try(Target(), Random(SEED)).codes  # noqa: S311 - to be repeated, no secret
    assert all(codes[code] > 10 for code in REACHED), codes
    assert codes[Code.OK] == 0


def test_a_batch_is_played_again_by_its_numbers() -> None:
    """The same seed and batch try the same tokens; another batch tries others."""
    first, again, other = play(1, 7), play(1, 7), play(1, 8)
    assert first == again
    assert first[1] != other[1]
    assert first[2] is None


def _verify_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(jwk, "verifies", lambda *_: True)


def _read_any_base64(patch: pytest.MonkeyPatch) -> None:
    """Stray bits and padding pass, as in most decoders."""

    def lax(text: bytes) -> bytes:
        import base64  # noqa: PLC0415

        try:
            return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
        except ValueError as error:
            raise Malformed("not base64url") from error

    patch.setattr(jws, "b64url_decode", lax)


def _let_errors_out(patch: pytest.MonkeyPatch) -> None:
    """A reader that trusts its input to be an object."""
    patch.setattr(jws, "_read_header", lambda segment: jws.Header(**_plain(segment)))


def _trust_documents(patch: pytest.MonkeyPatch) -> None:
    """A reader of DID documents that trusts a method to have an id."""
    patch.setattr(didweb, "_name", lambda did, method, _: did + method["id"])


def _plain(segment: bytes) -> dict[str, str]:
    found: dict[str, str] = encoding.check_json(encoding.b64url_decode(segment))
    return {name: found[name] for name in ("alg", "typ", "kid") if name in found}


def _bind_no_map(patch: pytest.MonkeyPatch) -> None:
    """Any map will do, as if nothing bound it."""
    patch.setattr(hops, "_unbound", lambda *_: None)


@pytest.mark.parametrize(
    ("weaken", "what"),
    [
        (_bind_no_map, "allowed a token"),
        (_verify_nothing, "allowed a token"),
        (_read_any_base64, "allowed a token"),
        (_let_errors_out, "raised"),
        (_trust_documents, "raised"),
    ],
)
def test_a_weakness_is_found(
    monkeypatch: pytest.MonkeyPatch,
    weaken: Callable[[pytest.MonkeyPatch], None],
    what: str,
) -> None:
    """The control: without its signature, its one spelling or its types, tokens get through."""
    target, rng = Target(), Random(SEED)  # noqa: S311 - to be repeated, not to be secret
    weaken(monkeypatch)
    with pytest.raises(Found, match=what):
        _try(target, rng)
