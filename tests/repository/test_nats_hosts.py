"""deploy/nats/hosts.conf from the wrong side: a host that was taken over reaches no other."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rescind.embedded import EmbeddedServer
from rescind_publisher.sinks.base import Record
from rescind_publisher.sinks.nats import NatsSink
from rescind_subscriber.sources.nats import NatsSource
from tests.fakes.nats import FABRIC, GET, LOG, RecordingFeed, Watched, linked, options
from tests.fakes.waiting import until

CONFIG = Path(__file__).parents[2] / "deploy" / "nats" / "hosts.conf"
USERS = ("publisher", "system", "host_a", "host_b")
HEAD = f"rescind.{FABRIC}.head.p"
RECORD = Record("a", 1, b"event one")


@pytest.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """Give a server with the shipped configuration, and one event stored."""
    passwords = {user: f"p{user}" for user in USERS}
    with EmbeddedServer(tmp_path / "store", config=CONFIG, passwords=passwords) as server:
        sink = NatsSink(FABRIC, options(server, "publisher"), system=options(server, "system"))
        await sink.start()
        await sink.append(RECORD)
        yield server
        await sink.stop()


async def flood(thief: Watched, reply: str) -> None:
    """Have the answers to many reads sent to a subject of one's choice."""
    for _ in range(100):
        await thief.link.publish(GET, b'{"seq":1,"batch":64}', reply=reply)
    await thief.link.flush()
    # Answered after all of those.
    inbox = thief.link.open_inbox(lambda *_: None)
    await thief.link.publish(GET, b'{"seq":1}', reply=inbox)
    await thief.link.flush()


async def heard_by(victim: Watched, thief: Watched, publisher: Watched) -> list[tuple[str, bytes]]:
    """Return what a victim hears of a flood on all that it listens to, and of an event after it."""
    heard: list[tuple[str, bytes]] = []
    for subject in (LOG, HEAD):
        await victim.link.listen(subject, lambda on, data, _: heard.append((on, data)))
    inbox = victim.link.open_inbox(lambda data, _: heard.append((inbox, data)))
    await victim.link.flush()
    for reply in (LOG, HEAD, inbox):
        await flood(thief, reply)
    await thief.link.flush()
    await publisher.link.publish(HEAD, b"a head")
    await publisher.link.flush()
    await until(lambda: (HEAD, b"a head") in heard)
    return heard


async def test_what_one_host_has_answered_reaches_no_other(hosts: EmbeddedServer) -> None:
    """Of 300 reads with another host's subjects as reply, it hears nothing; the head it hears."""
    async with (
        linked(hosts, "host_a") as victim,
        linked(hosts, "host_b") as thief,
        linked(hosts, "publisher") as publisher,
    ):
        assert await heard_by(victim, thief, publisher) == [(HEAD, b"a head")]


async def test_control_within_one_account_it_does(hosts: EmbeddedServer) -> None:
    """Negative control: a second connection of the same host is flooded."""
    async with (
        linked(hosts, "host_a") as victim,
        linked(hosts, "host_a") as thief,
        linked(hosts, "publisher") as publisher,
    ):
        assert len(await heard_by(victim, thief, publisher)) > 100


async def test_catching_up_works_across_the_boundary(hosts: EmbeddedServer) -> None:
    """A host reads what is stored and hears what comes, as ever."""
    feed = RecordingFeed()
    source = NatsSource(FABRIC, options(hosts, "host_a"))
    await source.start(feed)
    events = [each async for batch in source.read(None) for each in batch.events]
    assert events == [RECORD.raw]
    async with linked(hosts, "publisher") as publisher:
        await publisher.link.publish(LOG, b"event two")
        await publisher.link.flush()
        await until(lambda: feed.events == [b"event two"])
    await source.stop()
