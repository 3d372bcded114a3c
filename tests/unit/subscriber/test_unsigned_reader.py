"""What is read as an unsigned list, and what is refused whole. The addresses it may come from."""

import io
import tarfile
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from rescind_protocol import targets
from rescind_protocol.errors import Malformed, TooLarge
from rescind_protocol.table import ALL
from rescind_registry.bundle.archive import pack
from rescind_registry.bundle.bodies import members_of
from rescind_registry.bundle.document import Captured, Document
from rescind_subscriber.errors import SourceRefused
from rescind_subscriber.unsigned.place import Place, place
from rescind_subscriber.unsigned.reader import MAX_BYTES, MAX_ENTRIES, read
from tests.fakes.badges import AGENT, ISSUER, OTHER
from tests.fakes.fabric import NOW
from tests.fakes.lists import badge, bundle, jtis
from tests.fakes.step import Step

UUID = "0a7d5a3e-52f4-4b6f-9c5d-3f0a6e1b2c3d"


def archive(members: Mapping[str, bytes]) -> bytes:
    """Return a tar.gz."""
    return pack(dict(members))


def captured() -> Captured:
    """Return our own registry's data: kills of agents x1 and x2."""
    step = Step()
    step.say(2)
    document = Document("test")
    document.advance(step.at.replica.table, step.at.replica.image())
    return document.capture()


@pytest.mark.parametrize(
    "said",
    [
        [UUID.upper()],
        [{"jti": UUID, "revokedAt": "2026-01-01T00:00:00Z", "reason": "stolen"}],
        [{"jti": UUID, "iss": ISSUER + "/"}],
        {UUID: {"reason": "stolen"}},
        {UUID: True},
        {"badge": {UUID: {ISSUER: {"reason": "stolen", "revoked_at": NOW}}}},
    ],
    ids=["texts", "rows", "rows with iss", "by jti", "by jti, true", "by kind"],
)
def test_badges_are_read_in_each_form_to_one_target(said: object) -> None:
    """In canonical form, under the issuer that the list is for."""
    assert read(bundle(said), ISSUER).killed == {badge(UUID).digest: ALL}


@pytest.mark.parametrize(
    "said",
    [
        [{"jti": UUID}, {"jti": UUID.upper(), "issued_before": 7}],
        {"agent": {AGENT: {}, AGENT.replace("acme", "ACME"): {"issued_before": 7}}},
    ],
    ids=["rows", "by kind"],
)
def test_of_what_is_named_twice_the_wider_counts(said: Any) -> None:
    """In either order."""
    other = (
        said[::-1] if isinstance(said, list) else {"agent": dict([*said["agent"].items()][::-1])}
    )
    assert [list(read(bundle(each), ISSUER).killed.values()) for each in (said, other)] == [
        [ALL]
    ] * 2


def test_agents_are_read_with_their_status() -> None:
    """Disabled is killed; suspended gets no new badges; active says nothing."""
    agents = {f"did:web:{word}": {"status": word} for word in ("active", "suspended", "disabled")}
    found = read(bundle({}, agents=agents), ISSUER)
    assert found.killed == {targets.agent("did:web:disabled").digest: ALL}
    assert found.suspended == {targets.agent("did:web:suspended").digest: ALL}


def test_agents_are_read_as_the_reference_lists_them() -> None:
    """Its policies iterate over a list of objects; one without a status is known, and active."""
    agents = [
        {"did": f"did:web:{word}.example", "status": word, "name": "x"}
        for word in ("active", "suspended", "disabled")
    ]
    for data in ({"agents": agents}, {"agents": [*agents, {"did": AGENT}], "revocations": []}):
        found = read(msgspec.json.encode({"data": data, "modules": {}}), ISSUER)
        assert found.killed == {targets.agent("did:web:disabled.example").digest: ALL}
        assert found.suspended == {targets.agent("did:web:suspended.example").digest: ALL}
    assert not len(read(bundle([], agents=[]), ISSUER))


@pytest.mark.parametrize(
    "document",
    [
        {"revocations": [{"jti": UUID, "revokedAt": "2026-01-01T00:00:00Z", "reason": "stolen"}]},
        {"revocations": [{"jti": UUID}], "nextCursor": None, "syncedAt": "2026-01-01T00:00:00Z"},
        {"revocations": [{"jti": UUID}], "nextCursor": ""},
        {"syncedAt": "2026-01-01T00:00:00.123456789Z", "revocations": [{"jti": UUID}]},
        {"revocations": [{"target": {"kind": "badge", "iss": ISSUER, "id": UUID}, "jti": UUID}]},
    ],
    ids=["list", "last page", "last page of Go", "cache file", "a node's own"],
)
def test_the_references_own_lists_are_read(document: object) -> None:
    """`GET /v1/revocations`, and what the reference verifier keeps on disk."""
    for indent in (0, 2):  # the cache is written with blanks
        raw = msgspec.json.format(msgspec.json.encode(document), indent=indent)
        assert read(raw, ISSUER).killed == {badge(UUID).digest: ALL}


def test_a_cache_to_which_nothing_was_added_is_an_empty_list() -> None:
    """Go writes null for it; without a time of its syncing it is another document."""
    assert not len(read(b'{"syncedAt":"2026-01-01T00:00:00Z","revocations":null}', ISSUER))


def test_a_nodes_list_of_all_kinds_is_read() -> None:
    """`GET /v1/revocations?kind=all`: kills, and suspensions apart from them."""
    rows = [
        {"target": {"kind": "agent", "id": AGENT}, "effect": "use", "revokedAt": "…"},
        {"target": {"kind": "session", "id": "s1"}, "effect": "issuance"},
        {"target": {"kind": "issuer", "iss": OTHER}, "effect": "use"},
    ]
    found = read(msgspec.json.encode({"revocations": rows, "nextCursor": None}), ISSUER)
    assert found.killed == {targets.agent(AGENT).digest: ALL}
    assert found.suspended == {targets.session("s1").digest: ALL}


def test_all_that_our_own_registry_says_is_read() -> None:
    """Every kind of target, and kills of earlier badges alone."""
    said = {
        "agent": {AGENT: {"issued_before": NOW}},
        "badge": {UUID: {ISSUER: {}, OTHER: {}}},
        "everyone": {"*": {}},
        "issuer": {ISSUER: {}, OTHER: {}},
        "key": {"k" * 43: {}},
        "session": {"s1": {}},
    }
    assert read(bundle(said), ISSUER).killed == {
        targets.agent(AGENT).digest: NOW,
        badge(UUID).digest: ALL,
        targets.everyone().digest: ALL,
        targets.issuer(ISSUER).digest: ALL,
        targets.key("k" * 43).digest: ALL,
        targets.session("s1").digest: ALL,
    }


def test_our_own_registrys_archive_is_read() -> None:
    """The one for OPAs, as it is made there."""
    found = read(archive(members_of(captured())), ISSUER)
    named = {targets.agent(f"did:web:acme.example:x{number}").digest for number in (1, 2)}
    assert set(found.killed) == named


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"", "not JSON"),
        (b"[]", "it is no object"),
        (b"{}", "data is no object"),
        (b'{"data":{}}', "its data has no `revocations`"),
        (b'{"data":{"revocations":null}}', "revocations is no object"),
        (b'{"data":{"revocations":[],"revocations":[]}}', "not JSON|duplicate"),
        (b'{"revocations":[],"nextCursor":"page 2"}', "one page of several"),
        (b'{"revocations":[],"nextCursor":7}', "`nextCursor` is not a text"),
        (b'{"revocations":null}', "revocations is no object"),
        (b'{"syncedAt":"0001-01-01T00:00:00Z","revocations":[]}', "never synced"),
        (b'{"revocations":[{"target":{"kind":"tool","id":"x"}}]}', "a `target`"),
        (b'{"revocations":[{"jti":"x","effect":"pause"}]}', "an effect that is not known"),
        (bundle([7]), "an entry of `revocations` is no object"),
        (bundle([{"id": UUID}]), "has no `jti`"),
        (bundle([{"jti": UUID, "iss": 7}]), "an `iss` that is no text"),
        (bundle(["two words"]), "blanks"),
        (bundle(["x" * 513]), "1 to 512 characters"),
        (bundle({UUID: "yes"}), "is no object"),
        (bundle({UUID: {"issued_before": "now"}}), "no time in unix seconds"),
        (bundle({UUID: {"issued_before": True}}), "no time in unix seconds"),
        (bundle({UUID: {"issued_before": -1}}), "no time in unix seconds"),
        (bundle({"agent": {}, UUID: {}}), "kinds of targets beside what is none"),
        (bundle({"agent": {"no did": {}}}), "agent"),
        (bundle({"badge": {UUID: {"no origin": {}}}}), "issuer"),
        (bundle([], agents={AGENT: {"status": "gone"}}), "a status that is none of"),
        (bundle([], agents={AGENT: {}}), "a status that is none of"),
        (bundle([], agents=[AGENT]), "an entry of `agents` is no object"),
        (bundle([], agents=[{"status": "disabled"}]), "has no `did`"),
        (bundle([], agents=[{"did": AGENT, "status": "gone"}]), "a status that is none of"),
        (bundle([], agents="x"), "agents is no object"),
        (b"\x1f\x8bno archive", "not a bundle"),
        (archive({".manifest": b"{}"}), "has no data.json"),
        (archive({"data.json": b'{"a":1}'}), "its data has no `revocations`"),
        (archive({"patch.json": b'{"data":[]}'}), "a delta, which is no list"),
        (archive({"rescind/events": b""}), 'sources = \\["bundle"\\]'),
    ],
)
def test_what_is_not_understood_in_every_part_is_refused(raw: bytes, sentence: str) -> None:
    """With a sentence; never as an empty or a shorter list."""
    with pytest.raises(Malformed, match=sentence):
        read(raw, ISSUER)


@pytest.mark.parametrize(
    "raw",
    [
        b" " * (MAX_BYTES + 1),
        archive({"data.json": b" " * (MAX_BYTES + 1)}),
        bundle([f"{number}" for number in range(MAX_ENTRIES + 1)]),
        bundle({f"{number}": True for number in range(MAX_ENTRIES + 1)}),
        bundle({"session": {f"{number}": {} for number in range(MAX_ENTRIES + 1)}}),
    ],
    ids=["bytes", "unpacked bytes", "rows", "by jti", "by kind"],
)
def test_what_is_too_large_is_refused(raw: bytes) -> None:
    """By its bytes, also when unpacked, and by its entries."""
    with pytest.raises(TooLarge):
        read(raw, ISSUER)


def test_a_list_as_large_as_may_be_is_read() -> None:
    """Negative control of the bounds."""
    assert len(read(jtis(*map(str, range(MAX_ENTRIES))), ISSUER)) == MAX_ENTRIES


def test_an_archive_that_leads_out_of_itself_is_refused() -> None:
    """Nothing is written anywhere; it is refused all the same."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo("../data.json")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"{}"))
    with pytest.raises(Malformed, match="leads out"):
        read(buffer.getvalue(), ISSUER)


# --- where it may be ---


def test_a_place_is_canonical_and_shows_no_secret() -> None:
    """Neither token nor query; plain HTTP to this machine alone."""
    found = place(ISSUER.upper() + "/", "https://h.example/list?sig=secret", "token")
    assert found == Place(ISSUER, "https://h.example/list?sig=secret", "token")
    assert "secret" not in repr(found)
    assert "token" not in repr(found)
    assert place(ISSUER, "http://127.0.0.1:8410/list").shown == "127.0.0.1:8410/list"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://h.example/list", "over https:// only"),
        ("ftp://h.example/list", "no address"),
        ("https:///list", "no address"),
        ("https://h.example/list#part", "no address"),
        ("https://h.example/a list", "no address"),
        ("https://h.example/\r\nHost: x", "no address"),
        ("https://h.example/" + "x" * 2048, "no address"),
        ("https://me:pw@h.example/list", "keep the token apart"),
        ("https://h.example:port/list", "no address"),
        ("https://me:p#w@h.example:pw/list", "no address"),
        ("https://me:pw@h.example:pw/list", "no address"),
    ],
)
def test_a_place_that_cannot_be_right_is_refused(url: str, sentence: str) -> None:
    """In one sentence that names the issuer, and no password that stands there."""
    with pytest.raises(SourceRefused, match=sentence) as refused:
        place(ISSUER, url)
    assert "pw" not in str(refused.value)


@pytest.mark.parametrize(("issuer", "token"), [("nobody", None), (ISSUER, ""), (ISSUER, "a\nb")])
def test_an_issuer_or_token_that_is_none_is_refused(issuer: str, token: str | None) -> None:
    """As its address is."""
    with pytest.raises(SourceRefused, match="unsigned list of "):
        place(issuer, "https://h.example/list", token)


def test_the_reader_takes_what_it_writes() -> None:
    """The fakes' own documents are lists, or the refusals above would prove little."""
    assert len(read(jtis("1", "2"), ISSUER)) == 2
    assert msgspec.json.decode(jtis())["data"] == {"revocations": []}
