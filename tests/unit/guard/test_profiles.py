"""What a guard may take on trust by where it runs (RFC-002 §17)."""

import pytest

from rescind_guard import Guard, Issuers, View
from rescind_guard.errors import BadGuard
from rescind_guard.issuers import IssuerKey
from rescind_guard.profiles import Profile
from tests.fakes.badges import ISSUER, self_signed

KEY = IssuerKey("k", bytes(32), "t")
PRODUCTION = [Profile.CONNECTED, Profile.AIR_GAPPED]


def build(iss: str, **options: str) -> Guard:
    """Build a guard that trusts one issuer."""
    return Guard(View(), Issuers({iss: (KEY,)}), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("profile", PRODUCTION)
@pytest.mark.parametrize(
    ("iss", "sentence"),
    [
        ("http://registry.example", "not an https origin"),
        ("http://127.0.0.1:8410", "not an https origin"),
        ("https://registry.example/tenant", "not an https origin"),
        ("did:web:registry.example", "not an https origin"),
        ("https://registry.invalid", "reserved for tests"),
        ("https://registry.invalid:8443", "reserved for tests"),
    ],
)
def test_production_trusts_https_origins_alone(iss: str, sentence: str, profile: Profile) -> None:
    """A guard that trusts anything else is not built; on a developer's machine it is."""
    with pytest.raises(BadGuard, match=sentence):
        build(iss, profile=profile)
    build(iss, profile=Profile.DEV)


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("iss", [ISSUER, "https://10.0.0.7:8443", self_signed().iss])
def test_an_origin_or_an_agent_trusted_by_name_is_an_issuer(iss: str, profile: Profile) -> None:
    """The control: each profile takes these, and raises nothing."""
    build(iss, profile=profile)


@pytest.mark.parametrize("profile", PRODUCTION)
def test_production_accepts_no_key_because_it_signed_for_itself(profile: Profile) -> None:
    """Any key pair would be an identity; an agent that signs for itself is trusted by name."""
    with pytest.raises(BadGuard, match='"did:key:z6Mk…" = "self"'):
        Guard(View(), Issuers({ISSUER: (KEY,)}), profile=profile, accept_self_signed=True)
    Guard(View(), Issuers({}), profile=Profile.DEV, accept_self_signed=True)


def test_an_unknown_profile_is_refused() -> None:
    """A misspelt profile is an error, never the laxest one; the default is production."""
    with pytest.raises(BadGuard, match="'Dev' is none of dev, connected, air-gapped"):
        build(ISSUER, profile="Dev")
    with pytest.raises(BadGuard, match="https origin"):
        build("http://registry.example")
