"""Permissions from the wrong side: what each user of the packaged configuration cannot do."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats as nats_py
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from rescind.embedded import EmbeddedServer
from rescind.embedded.server import new_passwords, password_variable
from rescind_publisher.errors import SinkRefused, SinkUnavailable
from rescind_publisher.sinks.base import Record
from rescind_publisher.sinks.nats import NatsSink
from rescind_subscriber.nats_link import NatsOptions, Reply
from tests.fakes.nats import (
    FABRIC,
    GET,
    LOG,
    STREAM,
    Watched,
    api,
    linked,
    options,
    store,
)
from tests.fakes.waiting import until

SHELF = f"RESCIND_SNAP_{FABRIC}"
RECORD = Record("a", 1, b"event one")

CHANGES = [
    f"$JS.API.STREAM.DELETE.{STREAM}",
    f"$JS.API.STREAM.PURGE.{STREAM}",
    f"$JS.API.STREAM.UPDATE.{STREAM}",
    f"$JS.API.STREAM.MSG.DELETE.{STREAM}",
    f"$JS.API.STREAM.RESTORE.{STREAM}",
    f"$JS.API.STREAM.DELETE.{SHELF}",
    f"$JS.API.STREAM.PURGE.{SHELF}",
    f"$JS.API.STREAM.UPDATE.{SHELF}",
    f"$JS.API.STREAM.MSG.DELETE.{SHELF}",
    f"$JS.API.STREAM.SNAPSHOT.{STREAM}",
    f"$JS.API.STREAM.LEADER.STEPDOWN.{STREAM}",
    f"$JS.API.CONSUMER.CREATE.{STREAM}",
    f"$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.c",
    "$JS.API.ACCOUNT.PURGE.RESCIND",
    "$SYS.REQ.SERVER.PING.JSZ",
    "_INBOX.x",
    "_INBOX_sub.x",
    "other",
]
NOT_FOR_SUBSCRIBERS = [
    *CHANGES,
    LOG,
    f"rescind.{FABRIC}.head.p",
    f"rescind.{FABRIC}.snap.w.0.manifest",
    f"rescind.{FABRIC}.snap.w.0.part.0",
    f"rescind.{FABRIC}.report",
    f"rescind.{FABRIC}.report.a.b",
    "_INBOX_pub.x",
    f"$JS.API.STREAM.CREATE.{STREAM}",
    f"$JS.API.STREAM.INFO.{STREAM}",
    f"$JS.API.STREAM.MSG.GET.{STREAM}",
    f"$JS.API.DIRECT.GET.{STREAM}.{LOG}",
    "$JS.API.INFO",
    "$JS.API.STREAM.NAMES",
]


async def is_denied(watched: Watched, kind: str, subject: str) -> None:
    """Wait for the server's word that the last publish or subscription was not allowed."""
    await watched.link.flush()
    await until(lambda: watched.problems)
    problem = watched.problems.pop().lower()
    assert f'permissions violation for {kind} to "{subject.lower()}"' in problem


@pytest.mark.parametrize("subject", NOT_FOR_SUBSCRIBERS)
async def test_a_subscriber_cannot_publish(
    sink: NatsSink, subscriber: Watched, subject: str
) -> None:
    """But for its reports it says nothing: no event, head, answer to a publisher, or request."""
    del sink
    await subscriber.link.publish(subject, b"{}", reply="_INBOX_sub.y")
    await is_denied(subscriber, "publish", subject)


@pytest.mark.parametrize("subject", CHANGES)
async def test_a_publisher_cannot_change_what_is_stored(
    sink: NatsSink, publisher: Watched, subject: str
) -> None:
    """A publisher appends and reads; it deletes, purges and updates nothing."""
    del sink
    await publisher.link.publish(subject, b"{}", reply="_INBOX_pub.y")
    await is_denied(publisher, "publish", subject)


@pytest.mark.parametrize(
    "subject", [LOG, f"$JS.API.STREAM.DELETE.{STREAM}", "$SYS.REQ.SERVER.X.RELOAD"]
)
async def test_the_system_user_only_asks(nats: EmbeddedServer, subject: str) -> None:
    """The system user asks how the server stores, and nothing else."""
    async with linked(nats, "system") as system:
        await system.link.publish(subject, b"{}")
        await is_denied(system, "publish", subject)


@pytest.mark.parametrize(
    ("user", "subject"),
    [
        ("subscriber", "_INBOX_pub.>"),
        ("subscriber", "_INBOX_sys.>"),
        ("subscriber", "_INBOX.>"),
        ("subscriber", ">"),
        ("subscriber", "$JS.>"),
        ("subscriber", "rescind.>"),
        ("subscriber", f"rescind.{FABRIC}.snap.>"),
        ("publisher", "_INBOX_sub.>"),
        ("publisher", ">"),
        ("publisher", f"rescind.{FABRIC}.snap.>"),
        ("publisher", "$JS.API.>"),
        ("system", ">"),
        ("system", "$SYS.>"),
        ("system", "_INBOX_pub.>"),
    ],
)
async def test_nobody_listens_elsewhere(nats: EmbeddedServer, user: str, subject: str) -> None:
    """Each user hears its own inbox and, but for the system user, logs and heads."""
    async with linked(nats, user) as watched:
        await watched.link.listen(subject, lambda *_: None)
        await is_denied(watched, "subscription", subject)


async def stored_count(watched: Watched) -> int:
    """Return how many messages the stream holds."""
    return int((await api(watched.link, f"STREAM.INFO.{STREAM}"))["state"]["messages"])


async def answer_into(watched: Watched, reply: str) -> None:
    """Have the server send its answers to direct gets to a subject of the reader's choice."""
    for request in (b'{"seq":1}', b'{"seq":999}', b'{"seq":1,"batch":3}', b"{}"):
        await watched.link.publish(GET, request, reply=reply)
    await watched.link.flush()
    await watched.link.request(GET, b'{"seq":1}')  # answered after all of those


async def test_a_read_cannot_be_turned_into_an_event(
    sink: NatsSink, subscriber: Watched, publisher: Watched
) -> None:
    """A log's subject as the reply subject of a read stores nothing: the answer stays outside."""
    await sink.append(RECORD)
    await answer_into(subscriber, LOG)
    await publisher.link.request(GET, b'{"seq":1}')
    assert await stored_count(publisher) == 1


async def test_a_read_cannot_be_turned_into_an_answer(
    sink: NatsSink, subscriber: Watched, publisher: Watched
) -> None:
    """A publisher's inbox as the reply subject of a read gets nothing."""
    await sink.append(RECORD)
    heard: list[bytes] = []
    inbox = publisher.link.open_inbox(lambda payload, _: heard.append(payload))
    await answer_into(subscriber, inbox)
    await publisher.link.request(GET, b'{"seq":1}')
    assert heard == []
    await answer_into(publisher, inbox)  # control: in the same account it arrives
    await until(lambda: RECORD.raw in heard)


ONE_ACCOUNT = """
jetstream {{ sync_interval: always }}
accounts {{ ALL {{ jetstream: enabled, users: [
  {{ user: publisher, password: ${publisher}, permissions {{
     publish {{ allow: ["rescind.*.log.*", "$JS.API.STREAM.CREATE.*", "$JS.API.STREAM.INFO.*",
                       "$JS.API.DIRECT.GET.*"] }}
     subscribe {{ allow: ["_INBOX.>", "_INBOX_pub.>"] }} }} }}
  {{ user: subscriber, password: ${subscriber}, permissions {{
     publish {{ allow: ["$JS.API.DIRECT.GET.*", "_INBOX.>"] }}
     subscribe {{ allow: ["rescind.*.log.*", "_INBOX_sub.>"] }} }} }}
  {{ user: admin, password: ${admin} }}
] }} }}
"""


@asynccontextmanager
async def one_account(directory: Path) -> AsyncIterator[EmbeddedServer]:
    """Give a server with all users in one account and answers in the common inbox."""
    users = ("publisher", "subscriber", "admin")
    names = {user: password_variable(user) for user in users}
    (directory / "one.conf").write_text(ONE_ACCOUNT.format(**names))
    passwords = {**new_passwords(), "admin": "padmin"}
    with EmbeddedServer(config=directory / "one.conf", passwords=passwords) as server:
        yield server


async def test_control_in_one_account_a_read_becomes_an_event(tmp_path: Path) -> None:
    """Negative control: in the publishers' account the server stores its own answers."""
    async with one_account(tmp_path) as server:
        sink = NatsSink(FABRIC, options(server, "publisher"))
        await sink.start()
        await sink.append(RECORD, repair=True)
        async with linked(server, "subscriber") as subscriber, linked(server, "admin") as admin:
            await answer_into(subscriber, LOG)
            assert await stored_count(admin) > 1
            assert subscriber.problems == []
        await sink.stop()


@asynccontextmanager
async def forger(server: EmbeddedServer) -> AsyncIterator[list[str]]:
    """Run a subscriber that answers each event with an ack of its own; give the inboxes it saw."""
    seen: list[str] = []

    async def quiet(_: Exception) -> None:
        """Hear of the violations."""

    client: Client = await nats_py.connect(
        server.url_for("subscriber"), inbox_prefix="_INBOX_sub", error_cb=quiet
    )

    async def forge(event: Msg) -> None:
        seen.append(event.reply)
        if event.reply:
            await client.publish(event.reply, json.dumps({"stream": STREAM, "seq": 7}).encode())

    await client.subscribe(f"rescind.{FABRIC}.log.*", cb=forge)
    await client.flush()
    async with linked(server, "publisher") as publisher:
        while not seen:  # the interest has to reach the publishers' account first
            await publisher.link.publish(LOG, b"is anybody there")
            await publisher.link.flush()
    seen.clear()
    try:
        yield seen
    finally:
        await client.close()


async def append_without_a_stream(server: EmbeddedServer, publisher: NatsOptions) -> str:
    """Append while the stream is gone and a forger listens; return the position or the error."""
    sink = NatsSink(FABRIC, publisher)
    await sink.start()
    async with linked(server, "admin") as admin:
        await api(admin.link, f"STREAM.DELETE.{STREAM}")
    try:
        async with forger(server) as seen:
            result = asyncio.create_task(sink.append(RECORD))
            await until(lambda: seen)
            return (await result).position
    except (SinkUnavailable, SinkRefused) as error:
        return error.code
    finally:
        await sink.stop()


async def test_an_ack_cannot_be_forged(nats: EmbeddedServer) -> None:
    """A subscriber that sees the publisher's inbox cannot answer into it."""
    assert await append_without_a_stream(nats, options(nats, "publisher")) == "SINK_UNAVAILABLE"


async def test_control_with_a_common_inbox_the_forged_ack_wins(tmp_path: Path) -> None:
    """Negative control: where subscribers may publish to the inbox, a lost kill looks stored."""
    async with one_account(tmp_path) as server:
        common = options(server, "publisher", inbox_prefix="_INBOX")
        assert await append_without_a_stream(server, common) == "7"


async def test_an_answer_of_another_stream_is_passed_over(sink: NatsSink, admin: Watched) -> None:
    """An ack that names another stream does not end the wait; the real one does."""
    await store(admin.link, b"zero")
    heard = sink._is_ack
    passed: list[bool] = []
    forged = json.dumps({"stream": "OTHER", "seq": 1}).encode()

    def look(reply: Reply) -> bool:
        others = (forged, b"", b"junk", b'{"stream":"%s"}' % STREAM.encode())
        passed.extend(heard(Reply(payload, b"NATS/1.0\r\n\r\n")) for payload in others)
        return heard(reply)

    sink._is_ack = look  # type: ignore[method-assign]
    assert (await sink.append(RECORD)).position == "2"
    assert passed == [False] * 4
