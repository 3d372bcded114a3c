"""Issuers' keys beside the calls: when they are fetched, what is kept of them, and for how long."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rescind_guard import Code, Guard, Issuers
from rescind_guard.errors import BadGuard
from rescind_guard.issuers import MAX_KEYS, Standing, read_jwks
from rescind_protocol import targets
from rescind_subscriber.errors import KeysUnavailable
from rescind_subscriber.keys.addresses import is_public
from rescind_subscriber.keys.keeper import (
    EVERY_S,
    MAX_FETCHED,
    MISS_EVERY_S,
    RETRY_S,
    KeyKeeper,
)
from rescind_subscriber.keys.known import MAX_AGE_S, WITHDRAWN_KEPT_S, Known, merge
from tests.fakes.badges import AGENT, ISSUER, OTHER, Issuer, Scene
from tests.fakes.ec import EcIssuer
from tests.fakes.fabric import NOW, key_of

URL = f"{ISSUER}/.well-known/jwks.json"
FIRST, NEXT = Issuer(), Issuer(key=key_of("registry, next"))


class Web:
    """Answers by URL, and counts who was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes | str] = {URL: FIRST.jwks()}
        self.asked: list[str] = []

    def __call__(self, url: str) -> bytes:
        """Answer at once."""
        self.asked.append(url)
        answer = self.answers.get(url, "answers HTTP 404")
        if isinstance(answer, str):
            raise KeysUnavailable(answer)
        return answer


class World(Scene):
    """A scene whose guard reads a keeper's keys."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.web = Web()
        self.keeper = self.keep(**options)
        self.watching = Guard(self.revocations.view, self.keeper.view, clock=self.clock)

    def keep(self, **options: Any) -> KeyKeeper:
        """Make a keeper of the first issuer's keys."""
        given: dict[str, Any] = {"fetched": [ISSUER], "kills": self.revocations.view} | options
        return KeyKeeper(fetch=self.web, clock=self.clock, **given)

    def code(self, badge: str) -> Code:
        """Return how the guard answers a badge, on a view that is fresh."""
        self.revocations.freshen()
        return self.watching.check(badge).code

    def at(self, issuer: Issuer, **bent: Any) -> str:
        """Mint a badge now."""
        now = int(self.clock.wall())
        return issuer.badge(**({"iat": now, "exp": now + 300} | bent))


# --- when ---


def test_keys_are_fetched_at_once_and_then_every_so_often() -> None:
    """Until the first answer the guard cannot tell; nothing is asked on the call's path."""
    world = World()
    assert world.code(FIRST.badge()) is Code.REVOCATION_CHECK_FAILED
    assert world.web.asked == []
    world.keeper.step()
    assert world.code(FIRST.badge()) is Code.OK
    world.keeper.step()
    assert world.web.asked == [URL]
    world.clock.advance(EVERY_S)
    world.keeper.step()
    assert world.web.asked == [URL] * 2


def test_an_unknown_kid_has_its_issuer_asked_once_an_interval() -> None:
    """A rotation is seen at once; whoever sends nonsense makes us ask no more often."""
    world = World()
    world.keeper.step()
    world.clock.advance(MISS_EVERY_S)
    world.web.answers[URL] = NEXT.jwks()
    badge = world.at(NEXT)
    assert world.code(badge) is Code.BADGE_SIGNATURE_INVALID
    world.keeper.step()
    assert world.code(badge) is Code.OK
    asked = len(world.web.asked)
    for number in range(20):
        world.code(world.at(Issuer(key=key_of(f"nobody {number}"))))
        world.keeper.step()
    assert len(world.web.asked) == asked
    world.clock.advance(MISS_EVERY_S)
    world.keeper.step()
    assert len(world.web.asked) == asked + 1


def test_an_issuer_that_does_not_answer_is_asked_less_and_less_often() -> None:
    """5 s, 10 s, 20 s, each ±25 %; its keys stay in use; the first good answer ends it."""
    world = World()
    world.keeper.step()
    world.web.answers[URL] = "answers HTTP 503"
    world.clock.advance(EVERY_S)
    for failures in range(4):
        asked = len(world.web.asked)
        world.keeper.step()
        assert len(world.web.asked) == asked + 1
        world.clock.advance(RETRY_S * 2**failures * 0.7)
        world.keeper.step()
        assert len(world.web.asked) == asked + 1
        world.clock.advance(RETRY_S * 2**failures * 0.6)
    assert world.keeper.troubles == {ISSUER: "answers HTTP 503"}
    assert world.code(world.at(FIRST)) is Code.OK
    world.web.answers[URL] = FIRST.jwks()
    world.keeper.step()
    assert world.keeper.troubles == {}


def test_one_issuer_that_is_away_holds_no_other_up() -> None:
    """Each has its own time; who has no keys yet means cannot tell, the other is judged."""
    world = World(fetched=[OTHER, ISSUER])
    world.keeper.step()
    assert world.code(FIRST.badge()) is Code.OK
    assert world.code(world.other.badge()) is Code.REVOCATION_CHECK_FAILED


@pytest.mark.parametrize(
    "answer",
    [b"", b"<html>", b'{"keys":[]}', b"[" * 10_000, Issuer().jwks() + b"x", b'{"keys":{}}'],
)
def test_an_answer_that_is_no_jwks_changes_nothing(answer: bytes) -> None:
    """It is a failed fetch, said by its fault; the keys known before stay."""
    world = World()
    world.keeper.step()
    world.web.answers[URL] = answer
    world.clock.advance(EVERY_S)
    world.keeper.step()
    assert "JWKS of issuer" in world.keeper.troubles[ISSUER]
    assert world.code(world.at(FIRST)) is Code.OK


def test_a_fault_is_said_once_while_it_lasts(caplog: pytest.LogCaptureFixture) -> None:
    """A log that says the same every few seconds is read by nobody."""
    caplog.set_level(logging.INFO)
    world = World()
    world.web.answers[URL] = "answers HTTP 503"
    for _ in range(5):
        world.keeper.step()
        world.clock.advance(EVERY_S * 2)
    world.web.answers[URL] = FIRST.jwks()
    world.keeper.step()
    assert [record.getMessage() for record in caplog.records] == [
        f"keys of {ISSUER} cannot be fetched: answers HTTP 503",
        f"keys of {ISSUER} are fetched again",
    ]


# --- what is kept ---


def test_a_killed_key_stays_resolvable_for_as_long_as_it_is_killed() -> None:
    """Its issuer withdrew it, and its badges still show as revoked, never as merely invalid."""
    world = World()
    world.keeper.step()
    world.revocations.kill(targets.key(FIRST.key.kid))
    world.web.answers[URL] = NEXT.jwks()
    for _ in range(3):
        world.clock.advance(WITHDRAWN_KEPT_S)
        world.keeper.step()
        assert world.code(world.at(FIRST)) is Code.BADGE_REVOKED
        assert world.code(world.at(NEXT)) is Code.OK


def test_a_withdrawn_key_is_kept_until_its_last_badge_is_dead() -> None:
    """A kill of its agent shows until then; the key itself makes no badge good from the start."""
    world = World()
    world.keeper.step()
    world.web.answers[URL] = NEXT.jwks()
    world.clock.advance(EVERY_S)
    world.keeper.step()
    assert world.code(world.at(FIRST)) is Code.BADGE_SIGNATURE_INVALID
    world.revocations.kill(targets.agent(AGENT))
    assert world.code(world.at(FIRST)) is Code.BADGE_REVOKED
    world.clock.advance(WITHDRAWN_KEPT_S)
    world.keeper.step()
    assert world.code(world.at(FIRST)) is Code.BADGE_SIGNATURE_INVALID


def test_a_key_that_comes_back_is_good_again() -> None:
    """An issuer that published half of its keys by mistake, and then all of them."""
    world = World()
    world.keeper.step()
    for answer, code in ((NEXT, Code.BADGE_SIGNATURE_INVALID), (FIRST, Code.OK)):
        world.web.answers[URL] = answer.jwks()
        world.clock.advance(EVERY_S)
        world.keeper.step()
        assert world.code(world.at(FIRST)) is code


def test_keys_that_nobody_confirmed_for_a_day_make_no_badge_good() -> None:
    """A JWKS cached for ever is a field fault: here it ends, and kills still show."""
    world = World()
    world.keeper.step()
    world.web.answers[URL] = "answers HTTP 503"
    world.clock.advance(MAX_AGE_S)
    world.keeper.step()
    assert world.code(world.at(FIRST)) is Code.OK
    world.clock.advance(1)
    world.keeper.step()
    assert world.code(world.at(FIRST)) is Code.REVOCATION_CHECK_FAILED
    world.revocations.kill(targets.agent(AGENT))
    assert world.code(world.at(FIRST)) is Code.BADGE_REVOKED


def test_what_is_kept_is_bounded() -> None:
    """An issuer that shows new keys each time fills neither memory nor disk; killed ones stay."""
    known: Known | None = None
    killed: Callable[[str], bool] = lambda thumbprint: thumbprint == FIRST.key.kid  # noqa: E731
    for number in range(3 * MAX_KEYS):
        issuer = Issuer(key=key_of(f"key {number}")) if number else FIRST
        known = merge(known, ISSUER, read_jwks(ISSUER, issuer.jwks()), NOW + number, killed)
    assert known is not None
    assert len(known.keys) == 1 + MAX_KEYS
    standings = [key.standing for key in known.issuer_keys(NOW + 1000)]
    assert standings == [Standing.LIVE] + [Standing.WITHDRAWN] * MAX_KEYS
    assert FIRST.key.public in [key.public for key in known.keys]


def test_a_swap_comes_only_with_a_change() -> None:
    """Each swap has every cached badge verified again, so an equal answer makes none."""
    world = World()
    world.keeper.step()
    published = world.keeper.view.published
    for _ in range(3):
        world.clock.advance(EVERY_S)
        world.keeper.step()
    assert world.keeper.view.published is published


# --- on disk ---


def test_a_restart_knows_the_keys_without_a_network(tmp_path: Path) -> None:
    """Withdrawn ones too; the file is nobody else's to read."""
    world = World(folder=tmp_path / "keys")
    world.keeper.step()
    world.web.answers[URL] = EcIssuer().jwks()
    world.clock.advance(EVERY_S)
    world.keeper.step()
    world.web.answers.clear()
    again = world.keep(folder=tmp_path / "keys")
    again.load()
    assert again.view.published[ISSUER] == world.keeper.view.published[ISSUER]
    assert len(again.view.published[ISSUER]) == 2
    (file,) = (tmp_path / "keys").iterdir()
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "bend",
    [
        lambda raw: raw[:0],
        lambda raw: raw[:-20],
        lambda raw: b"\xff" + raw,
        lambda raw: raw.replace(ISSUER.encode(), OTHER.encode()),
        lambda raw: json.dumps(
            json.loads(raw) | {"keys": [{"kid": "k", "public": "AAAA"}]}
        ).encode(),
        lambda raw: raw + b" " * 300_000,
    ],
)
def test_a_damaged_file_is_set_aside_and_fetched_again(
    tmp_path: Path, bend: Callable[[bytes], bytes]
) -> None:
    """Never read as an empty list, never as another issuer's keys."""
    world = World(folder=tmp_path)
    world.keeper.step()
    (file,) = tmp_path.iterdir()
    file.write_bytes(bend(file.read_bytes()))
    again = world.keep(folder=tmp_path)
    again.load()
    assert again.view.published[ISSUER] == ()
    assert [path.suffix for path in tmp_path.iterdir()] == [".damaged"]
    again.step()
    assert len(again.view.published[ISSUER]) == 1


def test_a_folder_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    """It is said, and the keys are in use."""
    (tmp_path / "keys").write_text("a file")
    world = World(folder=tmp_path / "keys")
    world.keeper.step()
    assert world.code(FIRST.badge()) is Code.OK


# --- as a whole ---


def test_issuers_of_files_stand_beside_those_that_are_fetched() -> None:
    """One allowlist: nobody's keys are mixed with another's."""
    files = Issuers.from_jwks({OTHER: Scene().other.jwks()})
    world = World(files=files)
    assert world.code(world.other.badge()) is Code.OK
    world.keeper.step()
    assert world.code(FIRST.badge()) is Code.OK
    assert world.web.asked == [URL]


def test_a_keeper_fetches_for_so_many_issuers_at_most() -> None:
    """An allowlist is written by hand; a longer one is a mistake."""
    names = [f"https://{number}.example" for number in range(MAX_FETCHED + 1)]
    with pytest.raises(BadGuard, match="at most 64"):
        KeyKeeper(names, Web())


def test_a_keepers_metrics_say_how_old_its_keys_are() -> None:
    """Both outcomes are there from the start; ages come with the first answer."""
    world = World(fetched=[ISSUER, OTHER])
    assert [dict(each.values) for each in world.keeper.metrics()] == [
        {},
        {"fetched": 0, "failed": 0},
        {"issuer": 2, "agent": 0},
    ]
    world.keeper.step()
    world.clock.advance(7)
    ages, fetches, troubled = (dict(each.values) for each in world.keeper.metrics())
    assert (ages, fetches) == ({ISSUER: 7.0}, {"fetched": 1, "failed": 1})
    assert troubled == {"issuer": 1, "agent": 0}


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::5db8:d822", True),
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("0.0.0.0", False),  # noqa: S104 - an address, not a listener
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b:1::a9fe:a9fe", False),
        ("::a9fe:a9fe", False),
        ("fec0::1", False),
        ("2002:7f00:1::", False),
        ("localhost", False),
        ("0x7f.1", False),
        ("2130706433", False),
        ("", False),
    ],
)
def test_a_private_address_is_known_in_every_dress(address: str, *, public: bool) -> None:
    """Loopback, link-local with the clouds' metadata, private, shared, mapped, translated."""
    assert is_public(address) is public


def test_entries_that_cannot_be_used_are_reported_and_hold_nothing_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A withdrawn key is refused although another entry is broken; operators read which one."""
    world = World(folder=tmp_path)
    world.keeper.step()
    assert world.keeper.trouble() == {}
    broken = {"kty": "OKP", "crv": "Ed25519", "kid": "short", "x": "AAAA"}
    keys = [broken, *json.loads(NEXT.jwks())["keys"]]
    world.web.answers[URL] = json.dumps({"keys": keys}).encode()
    world.clock.advance(EVERY_S)
    world.keeper.step()
    assert world.code(world.at(FIRST)) is Code.BADGE_SIGNATURE_INVALID
    assert world.code(world.at(NEXT)) is Code.OK
    (trouble,) = world.keeper.trouble().values()
    assert "1 of the document's keys cannot be used: key 1 of 2" in trouble
    assert caplog.text.count("key 1 of 2") == 1
    world.clock.advance(EVERY_S)
    world.keeper.step()
    assert caplog.text.count("key 1 of 2") == 1
