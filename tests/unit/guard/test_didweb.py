"""did:web: the address of a document, and what is read of it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescind_guard import didkey, didweb, multikey
from rescind_protocol import es256
from rescind_protocol.errors import Malformed
from rescind_protocol.keys import jwk
from tests.fakes.ec import EcIssuer
from tests.fakes.fabric import key_of

DID = "did:web:acme.example:x7"
KEY = key_of("agent")
OTHER_KEY = key_of("agent, other")
KID = f"{DID}#key-1"


@pytest.mark.parametrize(
    ("did", "url"),
    [
        ("did:web:w3c-ccg.github.io", "https://w3c-ccg.github.io/.well-known/did.json"),
        ("did:web:w3c-ccg.github.io:user:alice", "https://w3c-ccg.github.io/user/alice/did.json"),
        ("did:web:example.com%3A3000", "https://example.com:3000/.well-known/did.json"),
        ("did:web:example.com%3A3000:user:alice", "https://example.com:3000/user/alice/did.json"),
        ("did:web:localhost%3A8443", "https://localhost:8443/.well-known/did.json"),
        ("did:web:a.example:%61b", "https://a.example/%61b/did.json"),
        ("did:web:a.example:.hidden", "https://a.example/.hidden/did.json"),
    ],
)
def test_a_did_has_one_address(did: str, url: str) -> None:
    """The method's own examples (did:web §3.2), and a path as it is written."""
    assert didweb.url_of(did) == url


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "a.0x7f",
        "%5B%3A%3A1%5D",
        "a.example%3A",
        "a.example%3A0",
        "a.example%3A65536",
        "a.example%3A443%3A1",
        "a.example%3a443",
        "a.example%2Fx",
        "user%40a.example",
        "-a.example",
        "a..example",
        "a.example.",
        "a_b.example",
        "A.example",
        f"{'a' * 64}.example",
        ".".join(["a" * 63] * 4) + ".example",
        "a.example:",
        "a.example::x",
        "a.example:.",
        "a.example:..",
        "a.example:%2e%2e",
        "a.example:%2E.",
        "a.example:x%2F..%2Fy",
        "a.example:x%5Cy",
        "a.example:x%3Fy",
        "a.example:x%23y",
        "a.example:x%00",
        "a.example:x%0D%0AHost",
        "a.example:%FF",
        "a.example:%25",
        "a.example:x y",
        "a.example:ü",
    ],
)
def test_what_would_lead_elsewhere_has_no_address(rest: str) -> None:
    """IP addresses in every spelling, users, ports that are none, dots, separators, controls."""
    with pytest.raises(Malformed):
        didweb.url_of(f"did:web:{rest}")


def method(name: str = KID, **said: Any) -> dict[str, Any]:
    """Return a verification method."""
    good = {"id": name, "type": "JsonWebKey", "controller": DID, "publicKeyJwk": jwk(KEY.public)}
    return {member: value for member, value in (good | said).items() if value is not None}


def document(**said: Any) -> bytes:
    """Return a good document, some members replaced."""
    good = {
        "@context": ["https://www.w3.org/ns/did/v1"],
        "id": DID,
        "verificationMethod": [method()],
        "authentication": [KID],
    }
    return json.dumps(good | said).encode()


def multibase(raw: bytes) -> dict[str, Any]:
    """Return what replaces a JWK."""
    return {"type": "Multikey", "publicKeyJwk": None, "publicKeyMultibase": multikey.encode(raw)}


EC = EcIssuer("https://x.example")
EC_POINT = es256.public_from_jwk(json.loads(EC.jwks())["keys"][0])
COMPRESSED = bytes((2 + EC_POINT[64] % 2,)) + EC_POINT[1:33]
ED25519 = multibase(multikey.ED25519 + KEY.public)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({}, {KID: KEY.public}),
        ({"authentication": [], "assertionMethod": [KID]}, {KID: KEY.public}),
        ({"authentication": ["#key-1"]}, {KID: KEY.public}),
        ({"verificationMethod": [method("#key-1")]}, {KID: KEY.public}),
        ({"verificationMethod": [], "authentication": [method()]}, {KID: KEY.public}),
        ({"verificationMethod": [method(**ED25519)]}, {KID: KEY.public}),
        (
            {"verificationMethod": [method(**multibase(multikey.P256 + COMPRESSED))]},
            {KID: EC_POINT},
        ),
        (
            {"verificationMethod": [method(publicKeyJwk=json.loads(EC.jwks())["keys"][0])]},
            {KID: EC_POINT},
        ),
        # In no relationship, of another kind, of another DID: passed over.
        ({"authentication": []}, {}),
        ({"authentication": [f"{DID}#key-2"]}, {}),
        ({"keyAgreement": [KID], "authentication": []}, {}),
        ({"verificationMethod": [method(publicKeyJwk={"kty": "RSA", "n": "AQ", "e": "AQ"})]}, {}),
        ({"verificationMethod": [method(**multibase(b"\xec\x01" + KEY.public))]}, {}),
        ({"verificationMethod": [method(**multibase(b"\xe7\x01" + COMPRESSED))]}, {}),
        ({"verificationMethod": [method(publicKeyJwk=None)]}, {}),
        ({"authentication": [method("did:web:other.example#key-1")]}, {}),
    ],
)
def test_keys_that_may_stand_for_the_agent_are_read(
    said: dict[str, Any], found: dict[str, bytes]
) -> None:
    """Named by `authentication` or `assertionMethod`, or in their place; JWK or multibase."""
    assert {key.kid: key.public for key in didweb.read_document(DID, document(**said))} == found


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'{"id":"x","id":"y"}',
        document(id="did:web:acme.example"),
        document(id=None),
        document(verificationMethod={}),
        document(verificationMethod=[method(f"#k{n}") for n in range(didweb.MAX_METHODS + 1)]),
        document(authentication="x"),
    ],
)
def test_a_document_that_breaks_a_rule_is_none(raw: bytes) -> None:
    """It is of another DID, not of the right form, or too long."""
    with pytest.raises(Malformed):
        didweb.read_document(DID, raw)


BAD_METHODS: list[tuple[dict[str, Any], str]] = [
    ({"id": None}, "no id"),
    ({"publicKeyJwk": jwk(OTHER_KEY.public) | {"d": "AA"}}, "private key"),
    ({"publicKeyJwk": "x"}, "not a JWK"),
    ({"publicKeyJwk": jwk(KEY.public) | {"x": "AA"}}, "32 bytes"),
    ({"publicKeyJwk": None, "publicKeyMultibase": 3}, "not text"),
    ({"publicKeyJwk": None, "publicKeyMultibase": "z0"}, "base58btc"),
    ({"publicKeyJwk": None, "publicKeyMultibase": "mAA"}, "base58btc"),
    (multibase(multikey.ED25519 + b"x"), "not as long"),
    (multibase(multikey.P256 + b"\x05" + bytes(32)), "no point of P-256"),
]


@pytest.mark.parametrize(("said", "sentence"), BAD_METHODS)
def test_a_method_that_cannot_be_used_takes_no_other_with_it(
    said: dict[str, Any], sentence: str
) -> None:
    """As of a key set (RFC 7517 §5): it is ignored and reported, the others count."""
    bad = {**method(f"{DID}#bad"), **said}
    found = didweb.read_document(DID, document(authentication=[bad, KID]))
    assert [key.kid for key in found] == [KID]
    assert sentence in " ".join(found.ignored)


def test_each_of_two_methods_with_one_id_counts() -> None:
    """As of keys with one `kid`."""
    other = method(publicKeyJwk=jwk(OTHER_KEY.public))
    found = didweb.read_document(DID, document(authentication=[KID, other, 3]))
    assert {key.public for key in found} == {KEY.public, OTHER_KEY.public}
    assert "neither a reference" in found.ignored[0]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(KID),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "type", "publicKeyJwk", "publicKeyMultibase", "kty", "crv", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
MEMBER = st.sampled_from(["verificationMethod", "authentication", "assertionMethod", "id"])


@given(st.dictionaries(MEMBER, JSON, min_size=1))
def test_the_reader_raises_nothing_else(said: dict[str, Any]) -> None:
    """Whatever stands in a member: keys of the one method that it has, or `Malformed`."""
    try:
        keys = didweb.read_document(DID, document(**said))
    except Malformed:
        return
    assert {key.public for key in keys} <= {KEY.public}


@given(st.text(max_size=60))
def test_multibase_is_read_or_malformed(text: str) -> None:
    """And has one spelling for each key."""
    try:
        raw = multikey.decode(text)
    except Malformed:
        return
    assert multikey.encode(raw) == text


def test_a_did_key_is_a_multikey() -> None:
    """One reader for both."""
    did = didkey.from_public(KEY.public)
    assert multikey.read_public(did.removeprefix(didkey.PREFIX)) == didkey.public_key(did)
