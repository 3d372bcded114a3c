"""The bundle as an OPA follows it: a client of its own, on a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from rescind_protocol import targets
from rescind_protocol.changes import Effect, Kill, Reinstate, Retract
from rescind_registry.bundle import bundles, document
from rescind_registry.bundle.signing import BundleSigner
from tests.fakes.bundles import PATH, BundleNode, bundled, client_of
from tests.fakes.fabric import APPROVER, NOW, SECOND, Log
from tests.fakes.opa import LONG_POLL, OpaClient, OpaRefused, untar
from tests.fakes.waiting import until

ISSUER = "https://issuer.example"
DID = "did:web:acme.example%3A8443:agents:x7"
JTI = "0b0e1d4e-7f1c-4a53-9f5b-0c8a1c9f7a11"


@pytest.fixture
async def node() -> AsyncIterator[BundleNode]:
    """A node that signs nothing for OPA."""
    async with bundled() as at:
        yield at


@pytest.fixture
async def http(node: BundleNode) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of that node."""
    async with client_of(node) as client:
        yield client


async def test_every_kind_of_kill_stands_where_the_docs_say(
    node: BundleNode, http: httpx2.AsyncClient
) -> None:
    """Kills of use lie under data.revocations by kind; agents in both forms."""
    log = Log(approver=APPROVER)
    opa = OpaClient(http, PATH)
    await node.say(
        log.write(
            Kill(target=targets.badge(ISSUER, JTI), expires_at=NOW + 60, reason="stolen"),
            Kill(target=targets.agent(DID)),
            Kill(target=targets.agent("did:web:b.example"), effect=Effect.ISSUANCE),
            Kill(target=targets.agent("did:web:c.example"), issued_before=NOW - 5),
            Kill(target=targets.session("s~1/%41")),
            Kill(target=targets.key("k" * 43)),
            Kill(target=targets.issuer("https://bad.example/tenant")),
            Kill(target=targets.everyone(), issued_before=NOW - 9),
        )
    )
    await opa.poll()
    found = opa.data["revocations"]
    assert found["badge"][JTI][ISSUER] == {
        "reason": "stolen",
        "revoked_at": NOW,
        "expires_at": NOW + 60,
    }
    assert set(found["agent"]) == {DID, "did:web:c.example"}
    assert found["agent"]["did:web:c.example"]["issued_before"] == NOW - 5
    assert set(found["session"]) == {"s~1/%41"}
    assert set(found["key"]) == {"k" * 43}
    assert set(found["issuer"]) == {"https://bad.example/tenant"}
    assert found["everyone"]["*"]["issued_before"] == NOW - 9
    stands = {DID: "disabled", "did:web:b.example": "suspended"}
    ours = opa.data["rescind"]["agents"]
    assert {did: agent["status"] for did, agent in ours.items()} == stands
    # The reference's form, for its policies say `some agent in data.agents; agent.did == …`.
    assert {agent["did"]: agent["status"] for agent in opa.data["agents"]} == stands
    assert [{"did": did, **ours[did]} for did in sorted(ours)] == opa.data["agents"]
    assert opa.data["rescind"]["logs"] == {log.id: 1}
    assert opa.manifest["revision"] == opa.data["rescind"]["revision"] == opa.etag.strip('"')


async def test_a_delta_leads_to_what_a_snapshot_says(
    node: BundleNode, http: httpx2.AsyncClient
) -> None:
    """Whatever is said, by delta and by snapshot an OPA comes to hold the same."""
    log, follower = Log(), OpaClient(http, PATH)
    await follower.poll()
    odd = targets.agent(DID), targets.session("a/b~c%2Fd"), targets.badge(ISSUER, "x/~1%25")
    for target in odd:
        kill, name = Kill(target=target), log.next_id()
        await node.say(log.write(kill))
        await follower.poll()
        await node.say(log.write(Kill(target=target, reason="again", effect=Effect.ISSUANCE)))
        await follower.poll()
        await node.say(log.write(Retract(target=target, names=(name,))))
        await follower.poll()
        fresh = OpaClient(http, PATH)
        await fresh.poll()
        assert follower.data == fresh.data
    assert follower.kinds == ["snapshot"] + ["delta"] * 9


async def test_a_delta_is_never_empty(node: BundleNode, http: httpx2.AsyncClient) -> None:
    """An event that changes no line of the data still is a delta with something in it."""
    log, opa = Log(), OpaClient(http, PATH)
    await node.say(log.write(Kill(target=targets.agent(DID))))
    await opa.poll()
    before = dict(opa.data["revocations"])
    names = (log.next_id(), Log(run="other").next_id())
    await node.say(log.write(Reinstate(target=targets.agent("did:x:y"), names=names[1:], floor=1)))
    await opa.poll()
    assert opa.kinds == ["snapshot", "delta"]
    assert opa.data["revocations"] == before
    assert opa.data["rescind"]["logs"] == {log.id: 2}


async def test_killed_and_ended_between_two_polls_is_not_removed_twice(
    node: BundleNode, http: httpx2.AsyncClient
) -> None:
    """What came and went since the client asked is in no delta: OPA would refuse its removal."""
    log, opa = Log(), OpaClient(http, PATH)
    await opa.poll()
    name = log.next_id()
    await node.say(log.write(Kill(target=targets.agent(DID))))
    await node.say(log.write(Retract(target=targets.agent(DID), names=(name,))))
    await opa.poll()
    assert opa.kinds == ["snapshot", "delta"]
    assert DID not in opa.data["revocations"]["agent"]


async def test_not_modified_until_something_is_said(
    node: BundleNode, http: httpx2.AsyncClient
) -> None:
    """The revision is the ETag; a client that has it is told 304, with the ETag and no body."""
    opa = OpaClient(http, PATH)
    await opa.poll()
    await opa.poll()
    assert opa.kinds == ["snapshot", "304"]
    await node.say(Log().write(Kill(target=targets.agent(DID))))
    await opa.poll()
    assert opa.kinds[-1] == "delta"
    assert DID in opa.data["revocations"]["agent"]


async def test_a_long_poll_is_answered_by_the_kill(
    node: BundleNode, http: httpx2.AsyncClient
) -> None:
    """A request that waits is answered as soon as there is another revision."""
    opa = OpaClient(http, PATH, wait_s=60)
    await opa.poll()
    waiting = asyncio.create_task(opa.poll())
    await until(lambda: node.bundles._waiting)
    assert not waiting.done()
    await node.say(Log().write(Kill(target=targets.agent(DID))))
    await waiting
    assert opa.kinds == ["snapshot", "delta"]


async def test_a_long_poll_ends_with_304(node: BundleNode, http: httpx2.AsyncClient) -> None:
    """With nothing new, a long poll is 304 when its time is over."""
    opa = OpaClient(http, PATH, wait_s=1)
    await opa.poll()
    await opa.poll()
    assert opa.kinds == ["snapshot", "304"]
    assert node.bundles._waiting == 0


async def test_a_client_that_goes_away_waits_no_longer(
    node: BundleNode, http: httpx2.AsyncClient
) -> None:
    """A connection that is closed gives its place among those who wait back."""
    opa = OpaClient(http, PATH, wait_s=60)
    await opa.poll()
    waiting = asyncio.create_task(opa.poll())
    await until(lambda: node.bundles._waiting)
    waiting.cancel()
    await until(lambda: not node.bundles._waiting)


async def test_a_wait_too_many_is_refused(
    http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 makes an OPA back off; an early 304 would make it ask again at once."""
    monkeypatch.setattr(bundles, "MAX_WAITING", 0)
    opa = OpaClient(http, PATH, wait_s=60)
    await opa.poll()
    with pytest.raises(OpaRefused, match="503"):
        await opa.poll()


async def test_nobody_waits_for_a_node_that_stops(
    node: BundleNode, http: httpx2.AsyncClient
) -> None:
    """A long poll is answered at once when the node stops, and the process can end."""
    opa = OpaClient(http, PATH, wait_s=60)
    await opa.poll()
    waiting = asyncio.create_task(opa.poll())
    await until(lambda: node.bundles._waiting)
    node.node.hub.stop_serving()
    await waiting
    assert opa.kinds == ["snapshot", "304"]


async def test_an_unknown_revision_gets_the_whole(http: httpx2.AsyncClient) -> None:
    """What another node, or this one long ago, called its revision is answered with a snapshot."""
    opa = OpaClient(http, PATH)
    opa.etag = '"another"'
    await opa.poll()
    assert opa.kinds == ["snapshot"]


async def test_too_many_changes_are_a_snapshot(
    node: BundleNode, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond so many operations the whole is quicker, and is sent."""
    monkeypatch.setattr(document, "MAX_OPERATIONS", 3)
    log, opa = Log(), OpaClient(http, PATH)
    await opa.poll()
    for number in range(4):
        await node.say(log.write(Kill(target=targets.agent(f"{DID}:{number}"))))
    await opa.poll()
    assert opa.kinds == ["snapshot", "snapshot"]


async def test_an_opa_that_persists_asks_for_snapshots(
    node: BundleNode, http: httpx2.AsyncClient
) -> None:
    """OPA cannot persist a delta; `?mode=snapshot` never sends one. Without it, it is refused."""
    log = Log()
    plain = OpaClient(http, PATH, persist=True)
    careful = OpaClient(http, f"{PATH}.tar.gz?mode=snapshot", persist=True)
    for opa in (plain, careful):
        await opa.poll()
    await node.say(log.write(Kill(target=targets.agent(DID))))
    with pytest.raises(OpaRefused, match="persisting"):
        await plain.poll()
    await careful.poll()
    assert careful.kinds == ["snapshot", "snapshot"]


SIGNERS = [
    BundleSigner(ec.generate_private_key(ec.SECP256R1()), keyid="k1"),
    BundleSigner(rsa.generate_private_key(65537, 2048), keyid="k1"),
]


@pytest.mark.parametrize("signer", SIGNERS, ids=lambda signer: signer.algorithm)
async def test_two_nodes_send_the_same_bytes(signer: BundleSigner) -> None:
    """Two nodes that heard the same in another order send one archive, signature and all."""
    one, two = Log(), Log(SECOND, "soc-b")
    raws = [log.write(Kill(target=targets.agent(f"{DID}:{n}"))) for log in (one, two) for n in "ab"]
    raws.append(two.write(Kill(target=targets.agent(f"{DID}:a"), reason="zwei")))
    found = []
    for order in (raws, [raws[2], raws[0], raws[4], raws[3], raws[1]]):
        async with bundled(signer=signer) as node, client_of(node) as http:
            await node.say(*order)
            answer = await http.get(f"{PATH}.tar.gz")
            document = await http.get(PATH)
            found.append((answer.content, answer.headers["etag"], document.content))
            assert answer.headers["content-type"] == LONG_POLL
            opa = OpaClient(http, PATH, keys={"k1": (signer.public_pem, signer.algorithm)})
            await opa.poll()
    assert found[0] == found[1]


async def test_a_signature_that_is_not_right_is_refused() -> None:
    """Another key, another scope, or a file that was bent: the client keeps what it has."""
    signer = SIGNERS[0]
    good = {"k1": (signer.public_pem, signer.algorithm)}
    other = {"k1": (BundleSigner(ec.generate_private_key(ec.SECP256R1())).public_pem, "ES256")}
    async with bundled(signer=signer) as node, client_of(node) as http:
        await node.say(Log().write(Kill(target=targets.session("<&>é"))))
        await OpaClient(http, PATH, keys=good).poll()
        for keys, scope in ((other, ""), (good, "write"), ({}, "")):
            with pytest.raises(OpaRefused):
                await OpaClient(http, PATH, keys=keys, scope=scope).poll()
        files = untar((await http.get(f"{PATH}.tar.gz")).content)
    files["data.json"] = files["data.json"].replace(b"session", b"sessiom")
    with pytest.raises(OpaRefused, match="mismatch"):
        OpaClient(http, PATH, keys=good)._replace(files, [""])


async def test_the_references_clients_read_json(node: BundleNode, http: httpx2.AsyncClient) -> None:
    """Without a word about archives the answer is JSON: modules, data, revision."""
    await node.say(Log().write(Kill(target=targets.badge(ISSUER, JTI))))
    answer = await http.get(PATH)
    found = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert found["modules"]
    assert JTI in found["data"]["revocations"]["badge"]
    assert answer.headers["etag"] == f'"{found["revision"]}"'
    again = await http.get(PATH, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_no_such_bundle(http: httpx2.AsyncClient) -> None:
    """Another id is 404, in the reference's form of an error."""
    answer = await http.get("/v1/bundles/other")
    assert answer.status_code == 404
    assert "no such bundle" in json.loads(answer.content)["error"]


async def test_a_node_that_never_was_fresh_says_so() -> None:
    """An empty bundle of a node that knows nothing yet would switch every kill off."""
    async with bundled() as node, client_of(node) as http:
        node.bundles._ready = node.fresh = False
        answer = await http.get(PATH)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"


async def test_a_kill_is_passed_on_by_a_node_that_is_not_fresh(
    node: BundleNode, http: httpx2.AsyncClient
) -> None:
    """A node that cannot prove it has everything still says what it has."""
    opa = OpaClient(http, PATH)
    await opa.poll()
    node.fresh = False
    await node.say(Log().write(Kill(target=targets.agent(DID))))
    await opa.poll()
    assert DID in opa.data["revocations"]["agent"]
