"""The sink against a real server: what is stored, what is refused, what an ack is worth."""

import asyncio
import json
import ssl
import threading
from collections import deque
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest

from rescind.embedded import EmbeddedServer
from rescind_protocol.encoding import b64url_encode
from rescind_publisher.errors import SinkRefused, SinkUnavailable
from rescind_publisher.sinks.base import Record, Stored
from rescind_publisher.sinks.nats import NatsSink
from rescind_publisher.stream import wanted
from tests.chaos.cluster import NODES, Cluster
from tests.fakes.nats import (
    FABRIC,
    LOG,
    STREAM,
    RecordingFeed,
    Watched,
    admin_server,
    api,
    linked,
    options,
    store,
)
from tests.fakes.waiting import WITHIN_S, until
from tests.faults.proxy import Network
from tests.integration.test_nats_link import certificate, with_tls

RECORD = Record("a", 1, b"event one")


def config(**changes: Any) -> dict[str, Any]:
    """Return the required stream configuration, changed; None leaves a setting out."""
    merged = {**wanted(FABRIC, 1), **changes}
    return {name: value for name, value in merged.items() if value is not None}


async def test_creates_stores_and_reads_back(sink: NatsSink, admin: Watched) -> None:
    """An event is stored under its log with its digest as id, and read back byte for byte."""
    stored = await sink.append(RECORD)
    assert stored == Stored("1", duplicate=False)
    assert await sink.read_back(stored) == RECORD.raw
    reply = await admin.link.request(f"$JS.API.DIRECT.GET.{STREAM}", b'{"seq":1}')
    digest = b64url_encode(sha256(RECORD.raw).digest()).encode()
    assert b"\r\nNats-Msg-Id: " + digest + b"\r\n" in reply.headers
    assert f"\r\nNats-Subject: {LOG}\r\n".encode() in reply.headers
    assert sink.sync == "always"


async def test_what_another_thread_sent_is_not_sent_again(sink: NatsSink, admin: Watched) -> None:
    """Armed on the loop, sent by the committing thread, pushed and awaited: one message.

    The control: what the sink was not armed for is left to the loop, which sends it.
    """
    heard: list[bytes] = []
    await admin.link.listen(LOG, lambda _subject, data, _headers: heard.append(data))
    await admin.link.flush()
    other = Record("a", 2, b"event two")
    sink.arm(RECORD.log)
    both = (RECORD, other)
    thread = threading.Thread(target=lambda: deque(map(sink.send, both), maxlen=0))
    thread.start()
    thread.join()
    await until(lambda: heard == [RECORD.raw])
    assert [sink.was_sent(each) for each in both] == [True, False]
    for record in both:
        assert not (await sink.append(record)).duplicate
    assert not any(sink.was_sent(each) for each in both)
    await until(lambda: heard == [RECORD.raw, other.raw])


async def test_what_was_not_sent_at_once_leaves_no_inbox_behind(tmp_path: Path) -> None:
    """Over TLS no other thread may send: every kill would leave one, as long as the link lasts."""
    pem = certificate(tmp_path)
    with admin_server(tmp_path, with_tls(pem)) as server:
        tls = ssl.create_default_context(cafile=str(pem))
        sink = NatsSink(FABRIC, options(server, "publisher", tls=tls))
        await sink.start()
        for number in range(1, 4):
            record = Record("a", number, b"event %d" % number)
            sink.arm(record.log)
            assert not await asyncio.to_thread(sink.send, record)
            sink.arm(record.log)
            assert sink.send(record)
            await sink.append(record)
        assert not sink._link._waiting
        await sink.stop()


async def test_an_answer_that_nobody_awaits_any_more_leaves_no_inbox_behind(
    sink: NatsSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event is asked anew as a repair, and where the stream was not looked at since a fault."""
    sink.arm(RECORD.log)
    assert sink.send(RECORD)
    await sink.append(RECORD, repair=True)
    assert not sink._link._waiting
    sink.arm(RECORD.log)
    assert sink.send(RECORD)
    sink._checked = False
    monkeypatch.setattr(sink, "_prepare_log", AsyncMock(side_effect=SinkUnavailable("gone")))
    with pytest.raises(SinkUnavailable):
        await sink.append(RECORD)
    assert not sink._link._waiting


async def test_the_answer_to_what_was_sent_at_once_is_told(sink: NatsSink) -> None:
    """It wakes the loop to take the event; nobody has asked for the answer by then."""
    told: list[bool] = []
    sink.on_answer = lambda: told.append(sink.was_sent(RECORD))
    sink.arm(RECORD.log)
    assert await asyncio.to_thread(sink.send, RECORD)
    await until(lambda: told)
    assert told == [True]
    assert not (await sink.append(RECORD)).duplicate


async def test_retry_is_a_duplicate_at_the_same_position(sink: NatsSink) -> None:
    """The same bytes again are reported as a duplicate, at the position of the first."""
    first = await sink.append(RECORD)
    assert await sink.append(RECORD) == Stored(first.position, duplicate=True)


async def test_read_back_of_nothing_is_none(sink: NatsSink) -> None:
    """A position where nothing lies is None, not an error."""
    await sink.append(RECORD)
    assert await sink.read_back(Stored("2", duplicate=False)) is None


@pytest.mark.parametrize("position", ["", "zzz", "-1", "1 2", "\u0663"])
async def test_a_damaged_position_holds_nothing(sink: NatsSink, position: str) -> None:
    """A mark that makes no sense is no error for ever: the log is sent again."""
    await sink.append(RECORD)
    assert await sink.read_back(Stored(position, duplicate=False)) is None


async def test_garbage_under_a_guessed_id_is_caught_by_reading_back(
    sink: NatsSink, admin: Watched
) -> None:
    """The dedup window compares ids and not bytes: the duplicate that is not ours shows."""
    digest = b64url_encode(sha256(RECORD.raw).digest())
    await store(admin.link, b"garbage", **{"Nats-Msg-Id": digest})
    stored = await sink.append(RECORD)
    assert stored.duplicate
    assert await sink.read_back(stored) == b"garbage"
    repaired = await sink.append(RECORD, repair=True)
    assert await sink.read_back(repaired) == RECORD.raw


async def test_nothing_is_purged_or_deleted_by_anyone(sink: NatsSink, admin: Watched) -> None:
    """As created, the stream denies purge and delete even to an administrator."""
    await sink.append(RECORD)
    for verb, payload in (("PURGE", {}), ("MSG.DELETE", {"seq": 1})):
        answer = await api(admin.link, f"STREAM.{verb}.{STREAM}", **payload)
        assert "not permitted" in answer["error"]["description"]
    loosened = await api(admin.link, f"STREAM.UPDATE.{STREAM}", **config(deny_purge=False))
    assert "can not cancel deny purge" in loosened["error"]["description"]


async def test_dedup_outlives_a_purge(nats: EmbeddedServer, admin: Watched) -> None:
    """Where purging is allowed, a retry after it is a false duplicate; a repair is stored."""
    await api(admin.link, f"STREAM.CREATE.{STREAM}", **config(deny_purge=False))
    sink = NatsSink(FABRIC, options(nats, "publisher"))
    with pytest.raises(SinkRefused, match="deny_purge"):
        await sink.start()
    sink._checked = True  # go on against advice
    stored = await sink.append(RECORD)
    assert (await api(admin.link, f"STREAM.PURGE.{STREAM}"))["success"]
    again = await sink.append(RECORD)
    assert again.duplicate
    assert await sink.read_back(stored) is None
    repaired = await sink.append(RECORD, repair=True)
    assert not repaired.duplicate
    assert await sink.read_back(repaired) == RECORD.raw
    await sink.stop()


async def test_many_create_at_once(nats: EmbeddedServer) -> None:
    """Publishers that start together on an empty server agree on one stream."""
    sinks = [NatsSink(FABRIC, options(nats, "publisher")) for _ in range(5)]
    await asyncio.gather(*(sink.start() for sink in sinks))
    stored = await asyncio.gather(
        *(sink.append(Record("a", at, b"event %d" % at)) for at, sink in enumerate(sinks))
    )
    assert sorted(one.position for one in stored) == ["1", "2", "3", "4", "5"]
    await asyncio.gather(*(sink.stop() for sink in sinks))


BAD_SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("storage", {"storage": "memory"}),
    ("retention", {"retention": "interest"}),
    ("retention", {"retention": "workqueue"}),
    ("discard", {"discard": "old"}),
    ("discard_new_per_subject", {"discard_new_per_subject": True, "max_msgs_per_subject": 5}),
    ("max_age", {"max_age": 10**12}),
    ("max_msgs_per_subject", {"max_msgs_per_subject": 1}),
    ("deny_delete", {"deny_delete": False}),
    ("deny_purge", {"deny_purge": False}),
    ("allow_rollup_hdrs", {"allow_rollup_hdrs": True, "deny_purge": False}),
    ("allow_direct", {"allow_direct": False}),
    ("allow_msg_ttl", {"allow_msg_ttl": True}),
    (
        "subject_delete_marker_ttl",
        {
            "subject_delete_marker_ttl": 10**9,
            "allow_msg_ttl": True,
            "allow_rollup_hdrs": True,
            "deny_purge": False,
        },
    ),
    ("allow_msg_counter", {"allow_msg_counter": True, "discard": "old"}),
    ("allow_msg_schedules", {"allow_msg_schedules": True, "discard": "old"}),
    ("persist_mode", {"persist_mode": "async"}),
    ("no_ack", {"no_ack": True}),
    ("mirror", {"mirror": {"name": "OTHER"}, "subjects": None}),
    ("sources", {"sources": [{"name": "OTHER"}]}),
    (
        "subject_transform",
        {
            "subject_transform": {
                "src": "rescind.test.log.*",
                "dest": "rescind.test.log.{{wildcard(1)}}",
            }
        },
    ),
    ("republish", {"republish": {"src": ">", "dest": "copy.>"}}),
    ("max_msg_size", {"max_msg_size": 1000}),
    ("duplicate_window", {"duplicate_window": 10**9}),
    ("subjects", {"subjects": ["rescind.test.log.*", "other"]}),
    ("subjects", {"subjects": ["rescind.test.log.a"]}),
]


@pytest.mark.parametrize(("setting", "changes"), BAD_SETTINGS, ids=lambda value: str(value)[:40])
async def test_a_setting_that_loses_kills_is_refused_by_name(
    tmp_path: Path, setting: str, changes: dict[str, Any]
) -> None:
    """A stream with that setting, as a real server reports it, is refused and the setting named."""
    with admin_server(tmp_path, ("max_memory: 0", "max_memory: -1")) as nats:
        async with linked(nats, "admin") as admin:
            await refuse(nats, admin, setting, changes)


async def refuse(
    nats: EmbeddedServer, admin: Watched, setting: str, changes: dict[str, Any]
) -> None:
    """Make the bad stream and have the sink refuse it."""
    await api(admin.link, "STREAM.CREATE.OTHER", name="OTHER", subjects=["o"])
    answer = await api(admin.link, f"STREAM.CREATE.{STREAM}", **config(**changes))
    assert "error" not in answer, answer
    sink = NatsSink(FABRIC, options(nats, "publisher"))
    with pytest.raises(SinkRefused, match=rf"(: |; ){setting} is "):
        await sink.start()
    with pytest.raises(SinkRefused):
        await sink.append(RECORD)
    await sink.stop()


async def test_a_sealed_stream_is_refused(nats: EmbeddedServer, admin: Watched) -> None:
    """A stream that takes nothing any more is refused by name."""
    await api(admin.link, f"STREAM.CREATE.{STREAM}", **config(deny_delete=False, deny_purge=False))
    sealed = config(sealed=True, deny_delete=True, deny_purge=True)
    assert "error" not in await api(admin.link, f"STREAM.UPDATE.{STREAM}", **sealed)
    sink = NatsSink(FABRIC, options(nats, "publisher"))
    with pytest.raises(SinkRefused, match="sealed is True"):
        await sink.start()
    await sink.stop()


async def test_too_few_replicas_are_refused(nats: EmbeddedServer, sink: NatsSink) -> None:
    """A stream with one copy where three are wanted is refused."""
    del sink
    wants_three = NatsSink(FABRIC, options(nats, "publisher"), replicas=3)
    with pytest.raises(SinkRefused, match=r"num_replicas is 1: make it 3"):
        await wants_three.start()
    await wants_three.stop()


async def test_limits_that_refuse_are_fine_and_full_is_said(
    nats: EmbeddedServer, admin: Watched
) -> None:
    """With `discard: new` a full stream keeps what it has; the publisher is told it is full."""
    await api(admin.link, f"STREAM.CREATE.{STREAM}", **config(max_msgs=1))
    sink = NatsSink(FABRIC, options(nats, "publisher"))
    await sink.start()
    first = await sink.append(RECORD)
    with pytest.raises(SinkUnavailable, match="maximum messages exceeded"):
        await sink.append(Record("a", 2, b"event two"))
    assert await sink.read_back(first) == RECORD.raw
    await sink.stop()


async def test_an_unsynced_server_is_refused(tmp_path: Path) -> None:
    """A server that acks before it writes to disk is refused, where the system user can see it."""
    with admin_server(tmp_path, ("sync_interval: always", "sync_interval: 2m")) as server:
        sink = NatsSink(FABRIC, options(server, "publisher"), system=options(server, "system"))
        with pytest.raises(SinkRefused, match="sync_interval: always"):
            await sink.start()
        await sink.stop()
        blind = NatsSink(FABRIC, options(server, "publisher"))
        await blind.start()
        assert blind.sync == "unverified"
        await blind.stop()


async def test_a_right_that_is_missing_is_named(tmp_path: Path) -> None:
    """A publisher who may not append is refused with the server's own words, not by silence."""
    logs = '"rescind.*.log.*"\n            "rescind.*.head.*"\n            "$JS'
    with admin_server(tmp_path, (logs, '"$JS')) as server:
        sink = NatsSink(FABRIC, options(server, "publisher"))
        await sink.start()
        with pytest.raises(SinkRefused, match=r"(?i)permissions violation for publish"):
            await sink.append(RECORD)
        await sink.stop()


async def test_wrong_system_credentials_are_refused(nats: EmbeddedServer) -> None:
    """A system user that is not let in fails the start; it is not taken for `unverified`."""
    system = options(nats, "system", url=nats.url.replace("//", "//system:wrong@"))
    sink = NatsSink(FABRIC, options(nats, "publisher"), system=system)
    with pytest.raises(SinkRefused, match="refused our credentials"):
        await sink.start()
    assert sink.sync == "unverified"
    await sink.stop()


async def test_too_large_never_leaves(sink: NatsSink) -> None:
    """An event beyond the limit is refused before it is sent; one at the limit is stored."""
    with pytest.raises(SinkRefused, match="too large"):
        await sink.append(Record("a", 1, bytes(256 * 1024 + 1)))
    stored = await sink.append(Record("a", 1, bytes(256 * 1024)))
    assert await sink.read_back(stored) == bytes(256 * 1024)


async def test_no_server_is_unavailable_and_heals(tmp_path: Path) -> None:
    """Without a server the sink says so; when it comes, the same sink appends."""
    server = admin_server(tmp_path)
    with server:
        pass
    sink = NatsSink(FABRIC, options(server, "publisher"))
    with pytest.raises(SinkUnavailable, match=r"cannot be reached|not connected"):
        await sink.start()
    with pytest.raises(SinkUnavailable):
        await sink.append(RECORD)
    with server:
        await until(lambda: sink._link.connected)
        assert (await sink.append(RECORD)).position == "1"
        await sink.stop()


async def test_a_vanished_stream_is_made_again(
    sink: NatsSink, admin: Watched, subscriber: Watched
) -> None:
    """With a subscriber on the subject a missing stream is silence; then it is made anew."""
    await subscriber.link.listen(LOG, lambda *_: None)
    await subscriber.link.flush()
    await sink.append(RECORD)
    await api(admin.link, f"STREAM.DELETE.{STREAM}")
    with pytest.raises(SinkUnavailable):
        await sink.append(Record("a", 2, b"event two"))
    assert (await sink.append(Record("a", 2, b"event two"))).position == "1"


async def test_announce_reaches_the_feed(
    sink: NatsSink, source: object, feed: RecordingFeed
) -> None:
    """A head goes out live and is not stored."""
    del source
    await sink.announce("p", b"head")
    await until(lambda: feed.heads == [b"head"])
    assert not feed.events


async def test_jetstream_off_is_said(tmp_path: Path) -> None:
    """A server without JetStream gives a sentence that says so."""
    off = (
        "jetstream { max_streams: 32, max_memory: 0, max_file: -1 }",
        "jetstream: disabled",
    )
    with admin_server(tmp_path, off) as server:
        sink = NatsSink(FABRIC, options(server, "publisher"))
        with pytest.raises((SinkRefused, SinkUnavailable), match=r"(?i)jetstream"):
            await sink.start()
        await sink.stop()


def test_json_of_the_wanted_configuration_is_plain() -> None:
    """The configuration is data that an operator can paste into any NATS tool."""
    assert json.loads(json.dumps(wanted(FABRIC, 3)))["num_replicas"] == 3


async def test_a_cluster_that_is_coming_up_is_waited_for(tmp_path: Path) -> None:
    """With two of three servers there is nowhere for a stream of three; with the third there is.

    That is weather: a publisher that starts with its cluster goes on, and says why it waits.
    """
    with Network() as network, Cluster(tmp_path, network) as cluster:
        late = cluster.servers[NODES[-1]]
        late.stop()
        sink = NatsSink(FABRIC, options(cluster.servers[NODES[0]], "publisher"), replicas=3)

        async with asyncio.timeout(WITHIN_S):
            while "no suitable peers" not in await trouble(sink):
                pass  # first a leader has to be elected
            late.start()
            while await trouble(sink):
                pass
        assert not (await sink.append(RECORD)).duplicate
        await sink.stop()


async def trouble(sink: NatsSink) -> str:
    """Start it, and return why it could not be, if that may pass."""
    try:
        await sink.start()
    except SinkUnavailable as error:
        return str(error)
    return ""
