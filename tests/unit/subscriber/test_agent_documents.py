"""Agents' DID documents beside the calls: `cnf.kid` by did:web, from first need to oblivion."""

import json
from pathlib import Path
from typing import Any

import pytest

from rescind_guard import Code
from rescind_guard.errors import BadGuard
from rescind_protocol import targets
from rescind_protocol.keys import SigningKey, jwk
from rescind_subscriber.keys import agents, keeper, trouble
from rescind_subscriber.keys.agents import IDLE_S
from rescind_subscriber.keys.keeper import EVERY_S, MISS_EVERY_S
from rescind_subscriber.keys.known import MAX_AGE_S
from rescind_subscriber.keys.shelf import KeyShelf
from tests.fakes.badges import AGENT, ISSUER, Issuer
from tests.fakes.fabric import key_of
from tests.unit.subscriber.test_keys import FIRST, URL, World

AGENT_URL = "https://acme.example/x7/did.json"
KEY, NEXT = key_of("agent"), key_of("agent, next")


def document(*keys: SigningKey, did: str = AGENT) -> bytes:
    """Return a DID document with these keys, `#0` and on."""
    methods = [
        {"id": f"{did}#{place}", "type": "JsonWebKey", "publicKeyJwk": jwk(key.public)}
        for place, key in enumerate(keys)
    ]
    return json.dumps({"id": did, "authentication": methods}).encode()


class Agency(World):
    """A world whose keeper fetches the documents of one domain, and has the issuer's keys."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**({"domains": ["acme.example"]} | options))
        self.web.answers[AGENT_URL] = document(KEY)
        self.keeper.step()
        self.web.asked.clear()

    def bound(self, kid: str = f"{AGENT}#0", key: dict[str, str] | None = None) -> str:
        """Mint a badge whose key, a JWK, a document has to name."""
        cnf = {"kid": kid}
        return self.at(FIRST, ial="1", cnf=cnf, key=jwk(KEY.public) if key is None else key)


def test_until_the_document_is_there_the_guard_cannot_tell() -> None:
    """Nothing is asked on the call's path; the document is asked for once it was needed."""
    world = Agency()
    badge = world.bound()
    assert world.code(badge) is Code.REVOCATION_CHECK_FAILED
    assert world.web.asked == []
    world.keeper.step()
    assert world.web.asked == [AGENT_URL]
    assert world.code(badge) is Code.OK
    world.keeper.step()
    assert world.web.asked == [AGENT_URL]


CANNOT_TELL, INVALID = Code.REVOCATION_CHECK_FAILED, Code.BADGE_CLAIMS_INVALID


@pytest.mark.parametrize(
    ("kid", "key", "code"),
    [
        (f"{AGENT}#0", KEY, Code.OK),
        (AGENT, KEY, Code.OK),  # any key of the document
        ("did:web:ACME.example:x7#0", KEY, Code.OK),
        (f"{AGENT}#0", NEXT, INVALID),
        (f"{AGENT}#1", KEY, INVALID),
        (AGENT, NEXT, INVALID),
        (f"{AGENT}#", KEY, INVALID),
        (f"{AGENT}/path#0", KEY, INVALID),
        (f"{AGENT}?x#0", KEY, INVALID),
        ("did:web:127.0.0.1#0", KEY, INVALID),
        ("did:web:acme.example:..#0", KEY, INVALID),
        ("did:web:#0", KEY, INVALID),
        ("did:ion:x#0", KEY, INVALID),  # of a method that nobody here resolves
        ("did:web:elsewhere.example:x7#0", KEY, CANNOT_TELL),
        ("did:web:sub.acme.example:x7#0", KEY, CANNOT_TELL),
        ("did:web:acme.example%3A8443:x7#0", KEY, CANNOT_TELL),
        ("did:web:acme.example:x8#0", KEY, CANNOT_TELL),  # 404
    ],
)
def test_each_name_has_its_code(kid: str, key: SigningKey, code: Code) -> None:
    """A label of the badge's own JWK is no resolution of a DID."""
    world = Agency()
    badge = world.bound(kid, jwk(key.public) | {"kid": kid})
    world.code(badge)
    world.keeper.step()
    assert world.code(badge) is code
    asked = [url for url in world.web.asked if not url.startswith("https://acme.example/")]
    assert asked == [], "nobody but the domains that are allowed is asked"


def test_without_domains_nobody_is_asked() -> None:
    """And no label stands in for the document."""
    world = Agency(domains=[])
    for _ in range(2):
        assert world.code(world.bound()) is CANNOT_TELL
        world.keeper.step()
    assert world.web.asked == []


def test_badges_that_no_issuer_signed_make_nobody_fetch() -> None:
    """The negative control: by the same names, signed, one fetch."""
    world = Agency()
    claims = {"ial": "1", "cnf": {"kid": f"{AGENT}#0"}}
    world.code(world.at(Issuer(key=key_of("stranger")), **claims))
    world.keeper.step()
    assert world.web.asked == []
    world.code(world.bound())
    world.keeper.step()
    assert world.web.asked == [AGENT_URL]


def test_a_key_that_is_missing_is_asked_for_once_an_interval() -> None:
    """A rotation is seen at once; whoever keeps sending the old one makes us ask no more often."""
    world = Agency()
    world.code(world.bound())
    world.keeper.step()
    world.clock.advance(MISS_EVERY_S)
    world.web.answers[AGENT_URL] = document(NEXT)
    badge = world.bound(key=jwk(NEXT.public))
    assert world.code(badge) is INVALID
    world.keeper.step()
    assert world.code(badge) is Code.OK
    asked = len(world.web.asked)
    for _ in range(20):
        assert world.code(world.bound()) is INVALID
        world.keeper.step()
    assert len(world.web.asked) == asked


def test_an_allow_does_not_outlive_the_document() -> None:
    """A badge that was seen is judged by the document of now."""
    world = Agency()
    badge = world.bound()
    world.code(badge)
    world.keeper.step()
    assert world.code(badge) is Code.OK
    world.web.answers[AGENT_URL] = document(NEXT)
    world.clock.advance(EVERY_S)
    world.keeper.step()
    assert world.code(badge) is INVALID


def test_a_document_that_nobody_confirms_is_used_for_a_day() -> None:
    """And says so: in the health, and in the metric."""
    world = Agency()
    world.code(world.bound())
    world.keeper.step()
    assert world.keeper.trouble() == {}
    world.web.answers[AGENT_URL] = "answers HTTP 503"
    world.clock.advance(EVERY_S)
    world.keeper.step()
    assert world.code(world.bound()) is Code.OK
    said = world.keeper.trouble()[trouble.DOCUMENTS]
    assert said.startswith(f"1 of 1 are in trouble; {AGENT}: cannot be fetched: answers HTTP 503")
    for _ in range(int(MAX_AGE_S / IDLE_S) + 2):
        world.clock.advance(IDLE_S - 1)
        code = world.code(world.bound())
        world.keeper.step()
    assert code is CANNOT_TELL
    assert "no longer in use" in world.keeper.trouble()[trouble.DOCUMENTS]
    assert dict(world.keeper.metrics()[-1].values) == {"issuer": 0, "agent": 1}


def test_a_kill_shows_while_the_document_is_not_known() -> None:
    """I3: what else cannot be told hides no kill."""
    world = Agency()
    world.revocations.kill(targets.agent(AGENT))
    assert world.code(world.bound()) is Code.BADGE_REVOKED


def test_a_document_that_no_badge_names_any_more_is_forgotten(tmp_path: Path) -> None:
    """Nobody is asked about it, and its file is gone."""
    world = Agency(folder=tmp_path)
    world.code(world.bound())
    world.keeper.step()
    assert len(list((tmp_path / keeper.AGENTS).iterdir())) == 1
    world.clock.advance(IDLE_S + 1)
    world.keeper.step()
    assert list((tmp_path / keeper.AGENTS).iterdir()) == []
    assert AGENT not in world.keeper.view.documents
    world.web.asked.clear()
    world.clock.advance(EVERY_S)
    world.keeper.step()
    assert world.web.asked == [URL]


def test_a_restart_remembers_a_document(tmp_path: Path) -> None:
    """While its domain is away."""
    world = Agency(folder=tmp_path)
    world.code(world.bound())
    world.keeper.step()
    del world.web.answers[AGENT_URL]
    world.keeper = world.keep(domains=["*"], folder=tmp_path)
    world.watching._keys = world.keeper.view
    world.keeper.load()
    world.code(world.bound())
    world.keeper.step()
    assert world.code(world.bound()) is Code.OK


def test_an_issuer_is_asked_first_and_few_documents_in_one_round() -> None:
    """Many slow domains hold the keys of issuers up for one round at most."""
    world = Agency(domains=["*.example"])
    for number in range(20):
        world.code(world.bound(f"did:web:a{number}.example#0"))
    world.clock.advance(EVERY_S)
    for _ in range(3):
        world.web.asked.clear()
        world.keeper.step()
        assert len(world.web.asked) <= keeper.DOCUMENTS_A_ROUND + 1
        assert world.web.asked[0] == URL or URL not in world.web.asked


def test_so_many_documents_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many the one that was named longest ago makes room."""
    monkeypatch.setattr(agents, "MAX_AGENTS", 2)
    world = Agency(domains=["*.example"])
    for number in range(3):
        world.code(world.bound(f"did:web:a{number}.example#0"))
        world.keeper.step()
        world.clock.advance(1)
    assert sorted(world.keeper._agents) == ["did:web:a1.example", "did:web:a2.example"]


def test_the_health_of_keys_is_said(tmp_path: Path) -> None:
    """Not fetched yet, away, late; and what was noted on disk says the same to `status`."""
    world = World(folder=tmp_path)
    assert world.keeper.trouble() == {f"keys of {ISSUER}": "not fetched yet"}
    world.web.answers[URL] = "answers HTTP 503"
    world.keeper.step()
    (never,) = world.keeper.trouble().values()
    assert never == "cannot be fetched: answers HTTP 503; nobody has them yet"
    (noted,) = KeyShelf(tmp_path).load_all()
    assert (noted.iss, noted.confirmed_at, noted.trouble) == (ISSUER, 0, "answers HTTP 503")
    world.web.answers[URL] = FIRST.jwks()
    world.clock.advance(EVERY_S)
    world.keeper.step()
    assert world.keeper.trouble() == {}
    (noted,) = KeyShelf(tmp_path).load_all()
    assert noted.trouble is None
    world.clock.advance(EVERY_S * trouble.LATE_AFTER + 1)
    assert "not confirmed for" in world.keeper.trouble()[f"keys of {ISSUER}"]


def test_what_was_noted_of_a_failure_is_no_answer(tmp_path: Path) -> None:
    """After a restart a document that never came is still unknown, and not one without keys."""
    world = Agency(folder=tmp_path)
    world.web.answers[AGENT_URL] = "answers HTTP 503"
    world.code(world.bound())
    world.keeper.step()
    world.keeper = world.keep(domains=["*"], folder=tmp_path)
    world.watching._keys = world.keeper.view
    world.keeper.load()
    world.web.answers[URL] = FIRST.jwks()
    world.keeper.step()
    world.code(world.bound())
    world.keeper.step()
    assert world.code(world.bound()) is CANNOT_TELL


def test_too_many_issuers_are_an_error_still() -> None:
    """Documents are no way around it."""
    with pytest.raises(BadGuard):
        World(fetched=[f"https://i{n}.example" for n in range(65)], domains=["*"])
