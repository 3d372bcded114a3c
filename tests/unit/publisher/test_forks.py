"""Whose bytes lie at our number: only what our own key has signed for that place is a fork."""

import pytest

from rescind_protocol.changes import Kill
from rescind_protocol.keys import SigningKey
from rescind_publisher.chain import Chain, Voice
from rescind_publisher.forks import is_fork
from tests.fakes.fabric import FABRIC, NOW, PUBLISHER, SECOND, make_trust
from tests.fakes.publishing import VOICE, target

CHAIN = Chain(VOICE)


def signed(count: int = 1, voice: Voice = VOICE, chain: Chain | None = None) -> bytes:
    """Return the last of so many events of one log."""
    batches = [(Kill(target=target(number)),) for number in range(count)]
    return (chain or Chain(voice)).number(batches, int(NOW))[-1].raw


def flipped(raw: bytes) -> bytes:
    """Return the event with another character in the middle of its signature."""
    other = b"B" if raw[-40:-39] == b"A" else b"A"
    return raw[:-40] + other + raw[-39:]


def judged(raw: bytes, log: str = CHAIN.log, seq: int = 1, key: SigningKey = PUBLISHER) -> bool:
    """Whether these bytes at that place are a fork."""
    return is_fork(log, seq, raw, trust=make_trust(), kid=key.kid)


def test_what_our_key_has_signed_is_a_fork() -> None:
    """The same log, the same number, our signature: nobody but people can decide."""
    assert judged(signed(chain=CHAIN))
    assert judged(signed(2, chain=CHAIN), seq=2)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"garbage",
        signed(2, chain=CHAIN),
        signed(),
        signed(voice=Voice(SECOND, "soc-b", FABRIC, 1_000_000)),
        signed(voice=Voice(PUBLISHER, "soc", "another", 1_000_000)),
        flipped(signed(chain=CHAIN)),
    ],
    ids=["nothing", "garbage", "number", "log", "key", "fabric", "bit flip"],
)
def test_all_else_is_garbage(raw: bytes) -> None:
    """Whatever else lies there means nothing, an event of ours at another's place too."""
    assert not judged(raw)


def test_unknown_is_not_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event of our key that this version cannot read is a fork; of another key it is not."""
    monkeypatch.setattr("rescind_protocol.events.VERSION", 2)
    mine = signed(chain=CHAIN)
    theirs = signed(voice=Voice(SECOND, "soc-b", FABRIC, 1_000_000))
    monkeypatch.undo()
    assert judged(mine)
    assert not judged(theirs)
