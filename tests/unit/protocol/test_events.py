"""Events: each fault in its family, by whose fault it is (I10), and who may say what."""

import msgspec
import pytest

from rescind_protocol import events
from rescind_protocol.changes import Change, Kill, Retract, RevocationId
from rescind_protocol.errors import Malformed, RescindError, TooLarge, Unreadable, Untrusted
from rescind_protocol.limits import MAX_CHANGES, MAX_REASON_CHARS
from rescind_protocol.targets import Kind, Target, agent, session
from rescind_protocol.trust import Rights
from tests.fakes.fabric import (
    APPROVER_RIGHTS,
    NOW,
    PUBLISHER,
    SECOND,
    STRANGER,
    Log,
    event_claims,
    key_of,
    log_id,
    make_trust,
    sign_claims,
    trusted,
)

TRUST = make_trust()
AGENT = agent("did:web:acme.example:x7")
KILL = {"op": "kill", "target": {"kind": "agent", "id": "did:web:acme.example:x7"}}
BODY = events.EVENT_TYPE


def claims(**bent: object) -> dict[str, object]:
    """Return a good event's claims with some members bent."""
    return {**event_claims(Log(), [KILL]), **bent}


def body(**bent: object) -> dict[str, object]:
    """Return a good event's claims with some members of the event itself bent."""
    good = event_claims(Log(), [KILL])
    inner = good["events"]
    assert isinstance(inner, dict)
    return {**good, "events": {BODY: {**inner[BODY], **bent}}}


def test_an_event_reads_as_it_was_written() -> None:
    """Log, number, chain, signer and changes come back, and the digest is of the exact bytes."""
    log = Log()
    first = log.write(Kill(target=AGENT, expires_at=NOW + 60))
    second = events.authenticate(log.write(Kill(target=session("s"))), TRUST)
    read = events.authenticate(first, TRUST)
    assert (read.log, read.seq, read.prev) == (log.id, 1, events.GENESIS)
    assert read.changes == ((0, Kill(target=AGENT, expires_at=NOW + 60)),)
    assert (read.publisher, read.at, read.void) == ("soc", NOW, 0)
    assert (second.seq, second.prev) == (2, read.digest)
    assert read.digest == events.digest_of(first)


def test_the_builders_claims_are_a_good_event() -> None:
    """The control for every bent claim below."""
    assert events.authenticate(sign_claims(claims()), TRUST).changes
    assert events.authenticate(sign_claims(body()), TRUST).changes


@pytest.mark.parametrize(
    "bent",
    [
        claims(ver=2),
        claims(ver="1"),
        claims(ver=True),
        claims(ver=None),
        claims(sub="did:web:acme.example"),
        claims(exp=NOW),
        claims(iss=5),
        claims(iat="now"),
        claims(iat=-1),
        claims(iat=2**70),
        claims(events={}),
        claims(events=5),
        claims(events=True),
        claims(events=[1]),
        claims(events="x"),
        claims(events={"urn:other": {}}),
        claims(events={BODY: {}, "urn:other": {}}),
        claims(approvals="x"),
        claims(approvals=[1]),
        body(changes=[]),
        body(changes=[{**KILL, "op": "quarantine"}]),
        body(changes=[{**KILL, "target": {"kind": "model", "id": "m"}}]),
        body(changes=[{**KILL, "target": {"kind": "agent", "id": "DID:web:acme.example"}}]),
        body(changes=[{**KILL, "until": 5}]),
        body(changes=[{**KILL, "effect": "pause"}]),
        body(changes=[{**KILL, "expires_at": 2**40}]),
        body(changes=[{**KILL, "issued_before": -1}]),
        body(changes=[{**KILL, "reason_admin": "x" * (MAX_REASON_CHARS + 1)}]),
        body(changes=[{**KILL, "op": "retract", "names": []}]),
        body(changes=[{**KILL, "op": "retract", "names": [["log", 1, 0]]}]),
        body(changes=[{"op": "kill", "target": {"kind": "everyone"}}] * (MAX_CHANGES + 1)),
        body(changes=None),
        body(seq=0),
        body(seq=2**53),
        body(log="x"),
        body(log=log_id(PUBLISHER) + "\n"),
        body(prev="A" * 42),
        body(prev="A" * 42 + "B"),
        body(prev="\u00e9" * 43),
        body(newer=1),
    ],
)
def test_what_a_trusted_key_says_and_we_cannot_read_is_unreadable(bent: object) -> None:
    """Unknown is not nothing: a trusted event that cannot be read is never skipped (I10)."""
    raw = msgspec.json.encode(bent) if _fits(bent) else _with_huge_ints(bent)
    with pytest.raises(Unreadable):
        events.authenticate(sign_claims(raw), TRUST)


def _fits(bent: object) -> bool:
    return not isinstance(bent, dict) or bent.get("iat") != 2**70


def _with_huge_ints(bent: object) -> bytes:
    assert isinstance(bent, dict)
    return msgspec.json.encode({**bent, "iat": 7}).replace(b'"iat":7', b'"iat":%d' % 2**70)


@pytest.mark.parametrize(
    "payload", [b"", b"5", b"[]", b"{", b"\xff", b"null", b'{"aud":"test","aud":"test"}']
)
def test_a_trusted_payload_that_is_no_object_is_unreadable(payload: bytes) -> None:
    """Not even JSON, signed by a trusted key: still not nothing."""
    with pytest.raises(Unreadable):
        events.authenticate(sign_claims(payload), TRUST)


@pytest.mark.parametrize("aud", ["other", "", None, 5, ["test"]])
def test_another_fabrics_event_is_untrusted(aud: object) -> None:
    """What is addressed elsewhere is no reason to be stale, however unreadable it is."""
    with pytest.raises(Untrusted):
        events.authenticate(sign_claims(claims(aud=aud, ver=99)), TRUST)


def test_staging_cannot_speak_to_production() -> None:
    """The same key, another fabric: refused (attack D)."""
    with pytest.raises(Untrusted):
        events.authenticate(Log(fabric="staging").write(Kill(target=AGENT)), TRUST)


def _untrusted() -> dict[str, bytes]:
    good = Log().write(Kill(target=AGENT))
    head, payload, signature = good.split(b".")
    flipped = signature[:-2] + (b"AA" if signature[-2:] != b"AA" else b"BA")
    return {
        "stranger": Log(key=STRANGER).write(Kill(target=AGENT)),
        "strangers signature, our kid": sign_claims(claims(), key=STRANGER, kid=PUBLISHER.kid),
        "our signature, another kid": sign_claims(claims(), kid=SECOND.kid),
        "no kid": sign_claims(claims(), kid=" "),
        "flipped signature": b".".join([head, payload, flipped]),
        "another's log": sign_claims(body(log=log_id(SECOND))),
        "another's name": sign_claims(claims(iss="soc-b")),
    }


@pytest.mark.parametrize("case", list(_untrusted()))
def test_what_no_trusted_key_said_is_untrusted(case: str) -> None:
    """A signature that does not verify, or a log that is not its key's own."""
    with pytest.raises(Untrusted):
        events.authenticate(_untrusted()[case], TRUST)


@pytest.mark.parametrize("typ", ["JWT", "rescind-head+jwt", "SECEVENT+JWT", ""])
def test_another_typ_is_malformed(typ: str) -> None:
    """A head or a badge by the same key is not an event (RFC 8725 §3.11)."""
    with pytest.raises(Malformed):
        events.authenticate(sign_claims(claims(), typ=typ), TRUST)


@pytest.mark.parametrize("rights", [APPROVER_RIGHTS, Rights(head=True, snapshot=True), Rights()])
def test_a_key_that_may_not_change_anything_cannot_make_a_view_stale(rights: Rights) -> None:
    """Garbage by an approver's key is untrusted: only who may speak can be unreadable."""
    trust = make_trust(trusted(key_of("x"), "x", rights))
    with pytest.raises(Untrusted):
        events.authenticate(sign_claims(claims(ver=2), key=key_of("x")), trust)


# --- making ---


@pytest.mark.parametrize(
    "change",
    [
        Kill(target=AGENT, reason_admin="x" * (MAX_REASON_CHARS + 1)),
        Kill(target=AGENT, reason="x" * 65),
        Kill(target=AGENT, expires_at=-1),
        Kill(target=AGENT, expires_at=1.5),  # type: ignore[arg-type]
        Kill(target=AGENT, issued_before=2**70),
        Kill(target=Target(Kind.AGENT, "", "DID:web:acme.example")),
        Kill(target=AGENT, reason_user="\udcff"),
        Retract(target=AGENT, names=()),
        Retract(target=AGENT, names=(RevocationId("x", 1, 0),)),
    ],
)
def test_what_nobody_could_read_is_not_made(change: Change) -> None:
    """Such an event would leave its log uncovered and the fleet stale for ever (attack A3)."""
    with pytest.raises(Malformed):
        Log().write(change)


@pytest.mark.parametrize("bent", [Log(publisher=""), Log(run="run 1", publisher="a b")])
def test_the_control_for_the_writer(bent: Log) -> None:
    """The frame is the publisher's own configuration; readers refuse another name."""
    with pytest.raises(RescindError):
        events.authenticate(bent.write(Kill(target=AGENT)), TRUST)


def test_too_many_or_too_large_is_refused_before_the_spool() -> None:
    """At most 4096 changes and 256 KiB."""
    for changes in ((), (Kill(target=AGENT),) * (MAX_CHANGES + 1)):
        with pytest.raises(TooLarge):
            Log().write(*changes)
    with pytest.raises(TooLarge):
        Log().write(*[Kill(target=AGENT, reason_admin="x" * 1000)] * 300)


def test_an_event_of_the_first_release_is_read() -> None:
    """Its type was a URN; a log that holds it must not make a view stale (I10)."""
    old = event_claims(Log(), [KILL])
    inner = old["events"]
    assert isinstance(inner, dict)
    raw = sign_claims({**old, "events": {"urn:rescind:secevent:changes": inner[BODY]}})
    assert (
        events.authenticate(raw, TRUST).changes
        == events.authenticate(sign_claims(old), TRUST).changes
    )
    assert BODY.startswith("https://")
