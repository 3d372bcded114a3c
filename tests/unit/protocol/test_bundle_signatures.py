"""A bundle's signature: what an OPA's own tools sign is verified, and nothing else."""

import json
import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from rescind_protocol.bundle_signatures import digest_of, read_keys, verify
from rescind_protocol.bundles import SIGNATURES
from rescind_protocol.errors import Malformed, Untrusted
from rescind_protocol.exact_json import canonical, loads

FILES = {"policy.rego": b"package x", "data.json": b'{"b": 1, "a": [1.5]}'}
EC, OTHER_EC = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
RSA = rsa.generate_private_key(65537, 2048)


def pem(key: Any) -> bytes:
    """Return the public key in PEM."""
    public: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return public


def claims(**more: Any) -> dict[str, Any]:
    """Return what an OPA's tools say of the files."""
    hashes = {
        "policy.rego": sha256(b"package x").hexdigest(),
        "data.json": sha256(b'{"a":[1.5],"b":1}').hexdigest(),
    }
    files = [{"name": n, "hash": h, "algorithm": "SHA-256"} for n, h in hashes.items()]
    return {"files": files} | more


def signed(key: Any = EC, algorithm: str = "ES256", **more: Any) -> dict[str, bytes]:
    """Return the files with a signature that another library has made."""
    token = jwt.encode(claims(**more), key, algorithm=algorithm)
    return {**FILES, SIGNATURES: json.dumps({"signatures": [token]}).encode()}


@pytest.mark.parametrize(("key", "algorithm"), [(EC, "ES256"), (RSA, "RS256")])
def test_both_algorithms_verify_by_any_of_the_keys_given(key: Any, algorithm: str) -> None:
    """So that a key can be replaced; JSON is hashed by its value."""
    keys = read_keys(pem(OTHER_EC) + pem(key))
    assert verify(signed(key, algorithm, iat=7), keys, scope="").iat == 7
    assert verify(signed(key, algorithm, scope="a"), keys, scope="a").iat is None
    with pytest.raises(Untrusted, match="does not verify"):
        verify(signed(key, algorithm), read_keys(pem(OTHER_EC)), scope="")


def without(name: str) -> dict[str, bytes]:
    """Return the signed files, one left out."""
    return {each: raw for each, raw in signed().items() if each != name}


def tokens(*said: object) -> dict[str, bytes]:
    """Return the files with these in place of signatures."""
    return {**FILES, SIGNATURES: json.dumps({"signatures": said}).encode()}


def by_none() -> dict[str, bytes]:
    """Return files that say themselves that nobody signed them."""
    return tokens(jwt.encode(claims(), "", algorithm="none"))


def by_public_key() -> dict[str, bytes]:
    """Return files "signed" by what everybody has (RFC 8725 §2.1)."""
    return tokens(jwt.PyJWS().encode(json.dumps(claims()).encode(), b"x" * 64, algorithm="HS256"))


def by_relabelled_rsa() -> dict[str, bytes]:
    """Return a token that names the other algorithm than its key's."""
    head, body, signature = jwt.encode(claims(), RSA, algorithm="RS256").split(".")
    del head
    other = jwt.encode({}, EC, algorithm="ES256").split(".")[0]
    return tokens(f"{other}.{body}.{signature}")


REFUSED: dict[str, Callable[[], dict[str, bytes]]] = {
    "is not signed: there is no": lambda: FILES,
    "exactly one signature": tokens,
    "needs exactly one": lambda: tokens("a", "b"),
    "not a compact JWS": lambda: tokens("a"),
    "alg 'none'": by_none,
    "alg 'HS256'": by_public_key,
    "does not verify": by_relabelled_rsa,
    "does not verify by a key": lambda: signed(OTHER_EC),
    "policy.rego is not what": lambda: {**signed(), "policy.rego": b"package y"},
    "data.json is not what": lambda: {**signed(), "data.json": b'{"b":2,"a":[1.5]}'},
    "has other files": lambda: {**signed(), "more.rego": b""},
    "other files than those": lambda: without("policy.rego"),
    "for the scope 'b', not for none": lambda: signed(scope="b"),
    "an end or a beginning": lambda: signed(exp=2**33),
    "another hash": lambda: signed(
        files=[each | {"algorithm": "MD5"} for each in claims()["files"]]
    ),
    "Expected `array`": lambda: signed(files="all"),
}


@pytest.mark.parametrize("says", REFUSED)
def test_what_is_not_signed_as_a_whole_is_refused(says: str) -> None:
    """By a typed error and one sentence."""
    with pytest.raises((Untrusted, Malformed), match=says):
        verify(REFUSED[says](), read_keys(pem(EC) + pem(RSA)), scope="")


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"no key",
        pem(EC) * 9,
        pem(ec.generate_private_key(ec.SECP384R1())),
        pem(rsa.generate_private_key(65537, 1024)),  # noqa: S505 - that is what is refused
        pem(ed25519.Ed25519PrivateKey.generate()),
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
    ],
)
def test_a_file_without_keys_of_these_kinds_is_refused(bad: bytes) -> None:
    """OPA verifies no others, and weak ones are none."""
    with pytest.raises(Malformed):
        read_keys(bad)


@pytest.mark.parametrize("kind", ["deep", "long"])
def test_json_that_cannot_be_written_is_refused(kind: str) -> None:
    """By a typed error: what was read may still be too much to hash."""
    value: object = 10**5000
    if kind == "deep":
        for _ in range(100_000):
            value = [value]
    with pytest.raises(Malformed, match="to be hashed"):
        canonical(value)


@pytest.mark.parametrize("literal", ["1.10", "1E5", "1e5", "-0", "-0.0", "1e-7", "1.0", "12e+3"])
def test_a_number_is_hashed_as_it_was_written(literal: str) -> None:
    """OPA keeps the literal (Go's `json.Number`), so a bundle that has `1.10` is genuine."""
    raw = f'{{"b": [{literal}], "a": "é"}}'.encode()
    exact = f'{{"a":"é","b":[{literal}]}}'.encode()
    assert digest_of("data.json", raw) == sha256(exact).hexdigest()
    assert canonical(loads(raw)) == exact


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b'{"a":1,"a":2}', "data.json: not JSON: the key 'a' stands twice"),
        (b'{"a":Infinity}', "Infinity is not a JSON value"),
        (b"{", "data.json: not JSON"),
        (b'{"a":"\xff"}', "data.json: not JSON"),
    ],
)
def test_what_is_not_json_is_refused_by_the_name_of_its_file(raw: bytes, says: str) -> None:
    """An operator reads which one."""
    with pytest.raises(Malformed, match=re.escape(says)):
        digest_of("data.json", raw)


def test_json_is_hashed_by_its_value() -> None:
    """Whoever wrote it; anything else by its bytes."""
    assert digest_of("a/data.json", b'{"b":1, "a":2}') == digest_of("data.json", b'{"a":2,"b":1}')
    assert digest_of("a.rego", b"{ }") == sha256(b"{ }").hexdigest()
