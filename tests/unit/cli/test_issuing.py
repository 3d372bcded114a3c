"""The local issuer: badges that a guard accepts, and floors beyond which the next one lies."""

import time
from pathlib import Path

import msgspec
import pytest

from rescind import compose, config
from rescind.cli.issuing import LEDGER, LocalIssuer
from rescind.errors import BadConfig
from rescind_guard import View
from rescind_guard.parsing import read
from rescind_protocol import targets
from rescind_protocol.errors import Malformed
from rescind_publisher.errors import BadKeyFile
from tests.unit.cli.conftest import Run, error_of

SUB = "did:web:acme.example:x7"
AGENT = targets.agent(SUB)


def issuer(folder: Path, **settings: object) -> LocalIssuer:
    """Return the issuer of a folder."""
    return LocalIssuer(config.load({"home": str(folder), **settings}, env={}))


def iat_of(found: LocalIssuer, sub: str = SUB) -> int:
    """Mint one, and return its time of issue."""
    minted = found.mint(sub, level=2, ttl_s=300, aud=(), sid=None)
    return read(minted.badge).payload.iat


def test_a_guard_of_this_host_accepts_its_badge(folder: Path) -> None:
    """It verifies under the JWKS that the settings trust, with level, audience and session."""
    loaded = config.load({"home": str(folder), "audience": "orders"}, env={})
    minted = LocalIssuer(loaded).mint(SUB, level=1, ttl_s=600, aud=("orders",), sid="s1")
    decision = compose.make_guard(loaded, View()).check(minted.badge)
    assert decision, decision.reason
    assert decision.claims is not None
    assert (decision.claims.sub, decision.claims.level, decision.claims.sid) == (SUB, 1, "s1")
    assert minted.expires_at == decision.claims.exp == decision.claims.iat + 600


def test_each_badge_has_a_jti_of_its_own(folder: Path) -> None:
    """A kill of one is no kill of the next."""
    found = issuer(folder)
    jtis = {found.mint(SUB, level=2, ttl_s=60, aud=(), sid=None).jti for _ in range(20)}
    assert len(jtis) == 20


def test_the_next_badge_lies_beyond_the_floor(folder: Path) -> None:
    """All that was issued lies at the floor or under it, the next one above, in any process."""
    before = iat_of(issuer(folder))
    floor = issuer(folder).floor_of(AGENT)
    assert floor is not None
    assert before <= floor < iat_of(issuer(folder)) <= int(time.time()) + 1


def test_without_a_floor_badges_do_not_run_ahead_of_the_clock(folder: Path) -> None:
    """Many badges in one second carry that second: an `iat` 60 s ahead would be refused."""
    found = issuer(folder)
    assert max(iat_of(found) for _ in range(100)) <= int(time.time())


def test_a_floor_for_everyone_counts_for_each_agent(folder: Path) -> None:
    """Also for one that no badge was issued to before."""
    floor = issuer(folder).floor_of(targets.everyone())
    assert floor is not None
    assert iat_of(issuer(folder), "did:web:new.example") > floor


def test_where_other_issuers_are_trusted_their_clocks_count(folder: Path) -> None:
    """An agent's badges may come from them: the floor is not ours to tell."""
    jwks = folder / "issuer.jwks.json"
    issuers = {"https://issuer.rescind.local": str(jwks), "https://other.example": str(jwks)}
    found = issuer(folder, issuers=issuers)
    assert found.floor_of(AGENT) is None
    assert found.floor_of(targets.everyone()) is None
    assert found.floor_of(targets.issuer("https://other.example")) is None
    assert found.floor_of(targets.issuer("https://issuer.rescind.local")) is not None


def test_where_self_signed_badges_are_accepted_their_clocks_count(folder: Path) -> None:
    """Everybody is an issuer then."""
    assert issuer(folder, accept_self_signed=True).floor_of(AGENT) is None


def test_without_an_issuer_key_no_badge_is_issued(run: Run, folder: Path) -> None:
    """The sentence names the setting."""
    settings = folder / "rescind.toml"
    settings.write_text(settings.read_text().replace('issuer_key = "issuer.key"', ""))
    result = run("badge", "issue", "--sub", SUB)
    assert result.exit_code == 2
    assert "issuer_key" in error_of(result)


def test_a_key_that_others_can_read_is_not_used(folder: Path) -> None:
    """World-readable is not private."""
    (folder / "issuer.key").chmod(0o644)
    with pytest.raises(BadKeyFile, match="chmod 600"):
        issuer(folder)


def test_a_key_that_no_trusted_issuer_has_is_not_used(folder: Path) -> None:
    """Its badges would be refused everywhere."""
    settings = folder / "rescind.toml"
    settings.write_text(settings.read_text().partition("[issuers]")[0])
    with pytest.raises(BadConfig, match="issuer_key"):
        iat_of(issuer(folder))


def test_a_damaged_ledger_is_no_empty_one(folder: Path) -> None:
    """Read as empty, it would put the next badge under the floor."""
    (folder / LEDGER).write_bytes(b'{"floor": ')
    with pytest.raises(BadConfig, match="damaged"):
        iat_of(issuer(folder))


def test_a_clock_that_went_back_is_noticed(folder: Path) -> None:
    """Badges beyond the floor would be refused as not yet valid."""
    ledger = {"floor": int(time.time()) + 3600}
    (folder / LEDGER).write_bytes(msgspec.json.encode(ledger))
    with pytest.raises(BadConfig, match="clock went back"):
        iat_of(issuer(folder))


@pytest.mark.parametrize("sub", ["x7", "did:web:acme.example/path", ""])
def test_only_a_did_is_an_agent(folder: Path, sub: str) -> None:
    """Anything else could not be killed by name."""
    with pytest.raises(Malformed):
        iat_of(issuer(folder), sub)


def test_the_token_alone_goes_to_stdout(run: Run) -> None:
    """So that it can be piped into the next command."""
    result = run("badge", "issue", "--sub", SUB)
    assert result.exit_code == 0
    assert read(result.stdout.strip()).payload.sub == SUB
    assert result.stdout.strip() not in result.stderr


def test_inspect_says_loudly_that_nothing_is_verified(run: Run) -> None:
    """Its claims are whatever somebody wrote; the token is not shown."""
    token = run("badge", "issue", "--sub", SUB).stdout.strip()
    result = run("badge", "inspect", given=token)
    assert result.exit_code == 0
    assert result.stdout.startswith("UNVERIFIED")
    assert SUB in result.stdout
    assert token not in result.stdout
