"""interop.md §1, rule by rule: each breach has its one code, and the order of checks is fixed."""

from typing import Any

import pytest

from rescind_guard import Code, Outcome
from rescind_guard.profiles import Profile
from rescind_protocol import targets
from rescind_protocol.keys import jwk
from rescind_protocol.limits import MAX_BADGE_TTL_S, SKEW_S
from tests.fakes.badges import ABSENT, AGENT, ISSUER, Issuer, Scene, own_badge, self_signed
from tests.fakes.ec import EcIssuer, EcKey
from tests.fakes.fabric import NOW, STRANGER, key_of

OK = Code.OK
INVALID = Code.BADGE_CLAIMS_INVALID
MALFORMED = Code.BADGE_MALFORMED
KEY = jwk(key_of("agent").public)
OTHER_KEY = jwk(STRANGER.public)
BOUND: dict[str, Any] = {"ial": "1", "cnf": {"kid": KEY["kid"]}}
AGENTS_DID_KEY = self_signed("agent").iss


def code_of(issuer: Issuer | None = None, bent: dict[str, Any] | None = None, **guard: Any) -> Code:
    """Return the code of a badge with some claims bent."""
    scene = Scene()
    decision = scene.guard(**guard).check((issuer or scene.issuer).badge(**(bent or {})))
    assert bool(decision) == (decision.code is OK), decision
    return decision.code


@pytest.mark.parametrize(
    ("bent", "code"),
    [
        # exp, up to a skew ago
        ({"iat": NOW - 300, "exp": NOW - SKEW_S + 1}, OK),
        ({"iat": NOW - 300, "exp": NOW - SKEW_S}, Code.BADGE_EXPIRED),
        ({"iat": NOW - 300, "exp": NOW - SKEW_S - 1}, Code.BADGE_EXPIRED),
        # iat, up to a skew ahead
        ({"iat": NOW + SKEW_S}, OK),
        ({"iat": NOW + SKEW_S + 1}, Code.BADGE_NOT_YET_VALID),
        # nbf, up to a skew ahead
        ({"nbf": NOW + SKEW_S}, OK),
        ({"nbf": NOW + SKEW_S + 1}, Code.BADGE_NOT_YET_VALID),
        ({"nbf": None}, INVALID),
        # ttl
        ({"exp": NOW + MAX_BADGE_TTL_S}, OK),
        ({"exp": NOW + MAX_BADGE_TTL_S + 1}, INVALID),
        ({"iat": 0, "exp": 2**39}, INVALID),
        ({"exp": NOW + 1}, OK),
        ({"exp": NOW}, INVALID),
        ({"exp": NOW - 1}, INVALID),
        ({"iat": NOW, "exp": 2**40}, INVALID),
        ({"nbf": 2**40}, INVALID),
        ({"iat": 10**400, "exp": 10**400 + 1}, INVALID),
        ({"iat": -1, "exp": NOW}, INVALID),
    ],
)
def test_times_are_exact_to_the_second(bent: dict[str, Any], code: Code) -> None:
    """Valid while exp > now - 60, iat <= now + 60, nbf <= now + 60, and 0 < exp - iat <= 3600."""
    assert code_of(bent=bent) is code


@pytest.mark.parametrize(
    ("aud", "audience", "code"),
    [
        (ABSENT, None, OK),
        (ABSENT, "orders", OK),
        (None, "orders", INVALID),
        (["orders"], "orders", OK),
        (["billing", "orders"], "orders", OK),
        (["orders"], None, Code.BADGE_AUDIENCE_MISMATCH),
        (["billing"], "orders", Code.BADGE_AUDIENCE_MISMATCH),
        (["Orders"], "orders", Code.BADGE_AUDIENCE_MISMATCH),
        (["orders "], "orders", Code.BADGE_AUDIENCE_MISMATCH),
        (["orders/x"], "orders", Code.BADGE_AUDIENCE_MISMATCH),
        ([], "orders", Code.BADGE_AUDIENCE_MISMATCH),
        ("orders", "orders", INVALID),
        ({"orders": 1}, "orders", INVALID),
        ([1], "orders", INVALID),
        ([None], "orders", INVALID),
        ([["orders"]], "orders", INVALID),
    ],
)
def test_a_badge_that_names_audiences_is_for_those_alone(
    aud: object, audience: str | None, code: Code
) -> None:
    """`aud` is optional, an array, and compared exactly (RFC 7519 §4.1.3)."""
    assert code_of(bent={"aud": aud}, audience=audience) is code


@pytest.mark.parametrize("level", ["1", "2", "3", "4"])
@pytest.mark.parametrize("minimum", range(5))
def test_levels_are_compared_with_the_guards_own(level: str, minimum: int) -> None:
    """A level below the guard's minimum is its own code."""
    expected = OK if int(level) >= minimum else Code.TOOL_TRUST_INSUFFICIENT
    assert code_of(bent={"level": level}, minimum_level=minimum) is expected


@pytest.mark.parametrize(
    "level",
    ["2 ", " 2", "02", "+2", "2.0", "5", "-1", "", "two", "\uff12", "\u0662", 2, 2.0, True, ["2"]],
)
def test_a_level_is_one_of_five_strings(level: object) -> None:
    """Compared by table, never parsed."""
    assert code_of(bent={"level": level}) is INVALID


REQUIRED = ["jti", "iss", "sub", "iat", "exp", "ial", "key", "vc"]
OPTIONAL = ["nbf", "aud", "cnf", "sid"]


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("said", [ABSENT, None, True, 1.5, float(NOW), [], {}, "", "\x00"])
def test_a_required_claim_is_there_and_of_its_type(name: str, said: object) -> None:
    """Absent, null, boolean, float, list, object, empty, control character: invalid."""
    assert code_of(bent={name: said}) is INVALID


@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("said", [None, True, 1.5, "", {"a": 1}, [1], "\x00"])
def test_an_optional_claim_is_of_its_type_if_given(name: str, said: object) -> None:
    """A claim given wrongly is never taken for one that is absent."""
    assert code_of(bent={name: said}) is INVALID


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_optional_claim_may_be_absent(name: str) -> None:
    """A badge without it is good; so is one with claims nobody knows."""
    assert code_of(bent={name: ABSENT, "unknown": {"a": [1]}}) is OK


@pytest.mark.parametrize(
    ("bent", "code"),
    [
        ({"iss": "http://registry.example"}, Code.BADGE_ISSUER_UNTRUSTED),
        ({"iss": "https://registry.example.evil.example"}, Code.BADGE_ISSUER_UNTRUSTED),
        ({"iss": "https://registry.example:444"}, Code.BADGE_ISSUER_UNTRUSTED),
        ({"iss": "https://registry.example/tenant"}, Code.BADGE_ISSUER_UNTRUSTED),
        ({"iss": "https://Registry.Example:443/"}, OK),
        ({"iss": "https://user@registry.example"}, INVALID),
        ({"iss": "https://registry.example?x"}, INVALID),
        ({"iss": "registry.example"}, INVALID),
        ({"iss": "https://registry.example\n"}, INVALID),
        ({"iss": "did:web:registry.example"}, INVALID),
        ({"sub": "x7"}, INVALID),
        ({"sub": f"{AGENT}#key-1"}, INVALID),
        ({"sub": f"{AGENT}/path"}, INVALID),
        ({"sub": "did:web:"}, INVALID),
        ({"jti": "a b"}, INVALID),
        ({"jti": "j" * 513}, INVALID),
        ({"jti": "badge-1"}, INVALID),
        ({"jti": "6ba7b810-9dad-11d1-80b4-00c04fd430c8"}, INVALID),
        ({"jti": "6ba7b810-9dad-41d1-c0b4-00c04fd430c8"}, INVALID),
        ({"jti": "6ba7b8109dad41d180b400c04fd430c8"}, INVALID),
        ({"jti": "6ba7b810-9dad-41d1-80b4-00c04fd430c8\n"}, INVALID),
        ({"jti": "6BA7B810-9DAD-41D1-80B4-00C04FD430C8"}, OK),
        ({"sid": "s" * 513}, INVALID),
        ({"vc": {"credentialSubject": {}}}, INVALID),
        ({"vc": {"credentialSubject": {"level": "2", "domain": 5}}}, INVALID),
    ],
)
def test_names_are_exact(bent: dict[str, Any], code: Code) -> None:
    """An issuer is one origin of the allowlist; an agent is a DID; ids have no blanks."""
    assert code_of(bent=bent) is code


@pytest.mark.parametrize(
    ("bent", "code"),
    [
        ({}, OK),
        ({"ial": "1"}, INVALID),
        ({"cnf": {"kid": KEY["kid"]}}, INVALID),
        ({"ial": "2"}, INVALID),
        ({"ial": 0}, INVALID),
        (BOUND, OK),
        (BOUND | {"key": KEY | {"kid": "label"}, "cnf": {"kid": "label"}}, OK),
        (BOUND | {"cnf": {"kid": AGENTS_DID_KEY}}, OK),
        (BOUND | {"cnf": {"kid": f"{AGENTS_DID_KEY}#z6Mk"}}, OK),
        (BOUND | {"cnf": {"kid": self_signed("stranger").iss}}, INVALID),
        (BOUND | {"cnf": {"kid": "did:key:zzz"}}, INVALID),
        (BOUND | {"cnf": {"kid": OTHER_KEY["kid"]}}, INVALID),
        (BOUND | {"cnf": {"kid": ""}}, INVALID),
        (BOUND | {"cnf": {}}, INVALID),
        (BOUND | {"cnf": {"jwk": KEY}}, INVALID),
        (BOUND | {"key": ABSENT}, INVALID),
        (BOUND | {"key": OTHER_KEY}, INVALID),
        ({"key": KEY | {"crv": "X25519"}}, INVALID),
        ({"key": KEY | {"x": KEY["x"][:-1]}}, INVALID),
        ({"key": KEY | {"x": KEY["x"] + "="}}, INVALID),
        ({"key": {"kty": "RSA"}}, INVALID),
        ({"key": KEY | {"d": KEY["x"]}}, INVALID),
        ({"map_hash": None}, INVALID),
        ({"email": None}, OK),
    ],
)
def test_a_key_is_bound_if_and_only_if_ial_is_one(bent: dict[str, Any], code: Code) -> None:
    """`cnf.kid` comes with ial "1", and names the badge's `key`: thumbprint, label or did:key."""
    assert code_of(bent=bent) is code


GOOD_TYPES = ["VerifiableCredential", "AgentIdentity"]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (GOOD_TYPES, OK),
        (["Other", *reversed(GOOD_TYPES)], OK),
        (ABSENT, INVALID),
        (None, INVALID),
        ([], INVALID),
        (["VerifiableCredential"], INVALID),
        (["AgentIdentity"], INVALID),
        (["verifiablecredential", "agentidentity"], INVALID),
        ("AgentIdentity", INVALID),
        ([1], INVALID),
    ],
)
def test_a_badge_is_an_agent_identity_credential(said: object, code: Code) -> None:
    """Another credential signed by the same issuer is no badge (RFC 8725 §3.11)."""
    vc = {"type": said, "credentialSubject": {"level": "2", "domain": "acme.example"}}
    assert code_of(bent={"vc": {n: s for n, s in vc.items() if s is not ABSENT}}) is code


@pytest.mark.parametrize("level", ["1", "2", "3", "4"])
@pytest.mark.parametrize("domain", [ABSENT, None, ""])
def test_a_domain_is_named_from_level_2_on(level: str, domain: object) -> None:
    """Levels 2 to 4 say that a domain was validated, so they say which (RFC-002 §4.3.4)."""
    subject = {"level": level} | ({} if domain is ABSENT else {"domain": domain})
    vc = {"type": GOOD_TYPES, "credentialSubject": subject}
    assert code_of(bent={"vc": vc}) is (OK if level == "1" and domain is not None else INVALID)


@pytest.mark.parametrize("profile", Profile)
def test_a_key_may_be_missing_where_things_are_tried_out(profile: Profile) -> None:
    """Production badges always have a key (RFC-002 §8.1 3h); a bound one needs it anywhere."""
    expected = OK if profile is Profile.DEV else INVALID
    assert code_of(bent={"key": ABSENT}, profile=profile) is expected
    assert code_of(bent=BOUND | {"key": ABSENT}, profile=profile) is INVALID
    assert code_of(bent={"key": None}, profile=profile) is INVALID
    assert code_of(bent={"key": "AAAA"}, profile=profile) is INVALID


def test_the_lenient_take_any_printable_jti() -> None:
    """The reference verifier asks for no UUID; a kill names the id as it stands."""
    for jti, code in (("badge-1", OK), ("a b", INVALID), ("", INVALID)):
        assert code_of(bent={"jti": jti}, lenient=True) is code


LONER = self_signed()
OTHER_DID = self_signed("someone else").iss


@pytest.mark.parametrize(
    ("bent", "code"),
    [
        ({}, OK),
        ({"header": {"kid": ABSENT}}, OK),
        ({"header": {"kid": "whatever"}}, OK),
        ({"vc": {"credentialSubject": {"level": "0"}}}, OK),
        ({"vc": {"type": ["Receipt"], "credentialSubject": {"level": "0"}}}, INVALID),
        ({"level": "1"}, INVALID),
        ({"level": "4"}, INVALID),
        ({"sub": AGENT}, INVALID),
        ({"sub": OTHER_DID}, INVALID),
        ({"ial": "1", "cnf": {"kid": KEY["kid"]}}, INVALID),
        ({"cnf": {"kid": KEY["kid"]}}, INVALID),
        ({"iss": OTHER_DID, "sub": OTHER_DID}, Code.BADGE_SIGNATURE_INVALID),
        ({"iss": "did:key:z6Mk", "sub": "did:key:z6Mk"}, INVALID),
        ({"iss": LONER.iss + "#x"}, INVALID),
        ({"iss": "did:web:a.example", "sub": "did:web:a.example"}, INVALID),
        ({"exp": NOW + 365 * 86_400}, INVALID),
    ],
)
def test_level_0_signs_for_itself_alone(bent: dict[str, Any], code: Code) -> None:
    """Issuer and agent are the key that signed, with level "0" and ial "0"; only if asked for."""
    scene = Scene()
    badge = own_badge(LONER, **bent)
    assert scene.guard(accept_self_signed=True, profile="dev").check(badge).code is code
    # Structure comes before the issuer; a malformed did:key is found with the key.
    of_structure = code is INVALID and "exp" not in bent and bent.get("iss") != "did:key:z6Mk"
    expected = INVALID if of_structure else Code.BADGE_ISSUER_UNTRUSTED
    assert scene.guard().check(badge).code is expected


def test_level_0_under_an_issuer_is_no_badge() -> None:
    """A registry issues levels 1 to 4; level "0" in its name is invalid."""
    assert code_of(bent={"level": "0"}) is INVALID
    assert code_of(bent={"level": "0"}, accept_self_signed=True, profile="dev") is INVALID


@pytest.mark.parametrize(
    ("typ", "strict", "lenient"),
    [
        ("JWT", OK, OK),
        (ABSENT, MALFORMED, OK),
        (None, MALFORMED, MALFORMED),
        ("jwt", MALFORMED, MALFORMED),
        ("", MALFORMED, MALFORMED),
        ("secevent+jwt", MALFORMED, MALFORMED),
        ("at+jwt", MALFORMED, MALFORMED),
        (5, MALFORMED, MALFORMED),
    ],
)
def test_typ_is_jwt_or_absent_for_the_lenient(typ: object, strict: Code, lenient: Code) -> None:
    """The reference issuer omits `typ` and `kid`; nothing else is let pass for it."""
    bent: dict[str, Any] = {"header": {"typ": typ, "kid": ABSENT}}
    assert code_of(bent=bent) is strict
    assert code_of(bent=bent, lenient=True) is lenient


@pytest.mark.parametrize("alg", ["EdDSA", "Ed25519"])
def test_both_names_of_the_algorithm_are_known(alg: str) -> None:
    """RFC 8037's and RFC 9864's name mean the same."""
    assert code_of(bent={"header": {"alg": alg}}) is OK


def test_a_badge_may_be_signed_with_es256() -> None:
    """By an issuer whose key is of P-256; its kill by the key's thumbprint shows as revoked."""
    scene = Scene(issuer=EcIssuer())
    guard = scene.guard()
    badge = scene.issuer.badge()
    assert guard.check(badge)
    assert guard.check(scene.issuer.badge(header={"kid": ABSENT}))
    assert not guard.check(badge[:-8] + "AAAAAAAA")
    scene.revocations.kill(targets.key(scene.issuer.key.kid))
    assert guard.check(badge).code is Code.BADGE_REVOKED


@pytest.mark.parametrize("alg", ["EdDSA", "Ed25519", "ES256", "ES384", "none"])
@pytest.mark.parametrize("signer", [Issuer, EcIssuer])
def test_a_key_is_used_with_its_own_algorithm_alone(signer: type[Issuer], alg: str) -> None:
    """What a token says of itself chooses no other way to verify it (RFC 8725 §3.1)."""
    own = {"ES256"} if signer is EcIssuer else {"EdDSA", "Ed25519"}
    known = alg in ("EdDSA", "Ed25519", "ES256")
    expected = OK if alg in own else Code.BADGE_SIGNATURE_INVALID if known else MALFORMED
    scene = Scene(issuer=signer())
    assert scene.guard().check(scene.issuer.badge(header={"alg": alg})).code is expected


@pytest.mark.parametrize("bent", [{}, {"x": KEY["x"]}, {"y": "A"}, {"crv": "P-384"}])
def test_an_agents_key_may_be_of_p256(bent: dict[str, str]) -> None:
    """Well formed, and bound by its thumbprint like any other."""
    key = EcKey(7)
    claims = {"ial": "1", "cnf": {"kid": key.kid}, "key": key.jwk | bent}
    assert code_of(bent=claims) is (INVALID if bent else OK)


# Faults in the order of checks (interop.md §1): each one hides those after it.
FORGED = Issuer(ISSUER, STRANGER)
ORDER: list[tuple[Code, dict[str, Any]]] = [
    (Code.BADGE_MALFORMED, {"header": {"typ": "x"}}),
    (Code.BADGE_CLAIMS_INVALID, {"ial": "2"}),
    (Code.BADGE_ISSUER_UNTRUSTED, {"iss": "https://elsewhere.example"}),
    (Code.BADGE_SIGNATURE_INVALID, {}),  # by who signs it
    (Code.BADGE_EXPIRED, {"iat": NOW - 900, "exp": NOW - 600}),
    (Code.BADGE_AUDIENCE_MISMATCH, {"aud": ["elsewhere"]}),
    (Code.BADGE_CLAIMS_INVALID, {"cnf": {"kid": "x"}, "ial": "1"}),  # bound to another key
    (Code.TOOL_TRUST_INSUFFICIENT, {"level": "1"}),
    (Code.REVOCATION_CHECK_FAILED, {}),  # by the view
    (Code.TOOL_POLICY_DENIED, {}),  # by the policy
]


@pytest.mark.parametrize("first", range(len(ORDER)))
@pytest.mark.parametrize("second", range(len(ORDER)))
def test_the_earlier_of_two_faults_is_the_answer(first: int, second: int) -> None:
    """Parse, structure, key, signature, times, audience, binding, level, freshness, policy."""
    scene = Scene()
    faults = {first, second}
    bent: dict[str, Any] = {}
    for fault in sorted(faults, reverse=True):
        bent |= ORDER[fault][1]
    signer = FORGED if 3 in faults else scene.issuer
    header = {"kid": scene.issuer.key.kid} | bent.pop("header", {})
    badge = signer.badge(header=header, **({"level": "3"} | bent))
    guard = scene.guard(
        minimum_level=2,
        policy=(lambda *_: "no") if 9 in faults else None,
    )
    if 8 in faults:
        # A level 1 badge would pass on a stale view: strictness is asked for by the level.
        scene.clock.boot_s += 10_000
    decision = guard.check(badge)
    assert decision.code is ORDER[min(faults)][0]
    assert (decision.outcome is Outcome.CANNOT_TELL) == (min(faults) == 8)
