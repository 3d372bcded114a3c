"""The source that follows a registry's bundle by HTTP, against a real node and hostile servers."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from rescind_protocol import bundles, snapshots
from rescind_protocol import trust as trusts
from rescind_protocol.image import Image
from rescind_registry.bundle import signed
from rescind_registry.bundle.asking import Ask
from rescind_registry.bundle.bundles import Answer
from rescind_registry.bundle.signed import Author
from rescind_subscriber.bundle_reader import read_signed
from rescind_subscriber.errors import SourceRefused, SourceUnavailable
from rescind_subscriber.http_address import HttpOptions
from rescind_subscriber.sources.bundle import BundleOptions, BundleSource
from tests.fakes.bundles import BundleNode, bundled, serving
from tests.fakes.fabric import (
    FABRIC,
    NOW,
    PUBLISHER,
    SECOND,
    STRANGER,
    Log,
    head_of,
    make_trust,
    next_trust,
    sign_head,
)
from tests.fakes.following import following, kills, victim
from tests.fakes.waiting import until

POLL = BundleOptions(every_s=0.1)
LONG = BundleOptions(every_s=30, long_poll=True)


def source_of(url: str, options: BundleOptions = POLL) -> BundleSource:
    """Return a source of this origin."""
    return BundleSource(FABRIC, HttpOptions(url=url), options)


def watched(node: BundleNode) -> list[tuple[Ask, Answer]]:
    """Return what will be asked and answered from now on."""
    seen: list[tuple[Ask, Answer]] = []
    answer = node.bundles.answer

    async def watch(ask: Ask) -> Answer:
        found = await answer(ask)
        seen.append((ask, found))
        return found

    node.bundles.answer = watch  # type: ignore[method-assign]  # looks on, changes nothing
    return seen


# --- a node of ours ---


@pytest.mark.parametrize("options", [POLL, LONG], ids=["interval", "long poll"])
async def test_a_kill_and_the_proof_come_by_the_bundle_alone(options: BundleOptions) -> None:
    """Without a broker: earlier kills are known, later ones heard, and the view is fresh."""
    log = Log()
    async with bundled() as node:
        await node.say(*kills(log, 3))
        await node.head(log)
        async with following(source_of(node.url, options)) as followed:
            await until(lambda: followed.denies(victim(1), victim(2), victim(3)))
            await until(lambda: followed.age_s < 1)
            await node.say(*kills(log, 1))
            await until(lambda: followed.denies(victim(4)))
            assert followed.follower.links == {"bundle": ""}


async def test_not_modified_keeps_a_view_fresh() -> None:
    """The newest head comes with a 304; a node that hears none lets the view age."""
    log = Log()
    async with bundled() as node:
        await node.say(*kills(log, 1))
        await node.head(log)
        async with following(source_of(node.url)) as followed:
            await until(lambda: followed.age_s < 1)
            seen = watched(node)
            proven = followed.view.published.as_of_wall
            await until(lambda: len(seen) > 2)
            assert followed.view.published.as_of_wall == proven
            await node.head(log)
            await until(lambda: followed.view.published.as_of_wall > proven)
            assert {answer.status for _, answer in seen} == {304}


async def test_a_cold_start_takes_the_snapshot() -> None:
    """What the window has no events of any more is in the signed snapshot."""
    log = Log()
    async with bundled(window=2) as node:
        await node.say(*kills(log, 5))
        await node.head(log)
        async with following(source_of(node.url)) as followed:
            await until(lambda: followed.denies(*map(victim, range(1, 6))))
            await until(lambda: followed.age_s < 1)
            assert followed.follower.cold.counts.read()["taken"] == 1


async def test_a_restart_asks_for_what_is_new(tmp_path: Path) -> None:
    """A subscriber with a local snapshot reads on from its revision: a delta, never the whole."""
    log = Log()
    async with bundled() as node:
        await node.say(*kills(log, 3))
        await node.head(log)
        async with following(source_of(node.url), folder=tmp_path) as followed:
            await until(lambda: followed.age_s < 1 and followed.follower.cursors)
            await followed.end()
        await node.say(*kills(log, 2))
        await node.head(log)
        seen = watched(node)
        async with following(source_of(node.url), folder=tmp_path) as followed:
            await until(lambda: followed.denies(victim(4), victim(5)) and followed.age_s < 1)
        sent = [bundle_in(answer) for _, answer in seen if answer.status == 200]
        assert [(len(each.events), each.whole) for each in sent] == [(2, False)]


async def test_a_node_that_forgot_the_revision_sends_the_whole(tmp_path: Path) -> None:
    """Behind another node, or one that was started again, nothing is missed."""
    log = Log()
    raws = kills(log, 3)
    async with bundled() as node:
        await node.say(*raws)
        await node.head(log)
        async with following(source_of(node.url), folder=tmp_path) as followed:
            await until(lambda: followed.age_s < 1 and followed.follower.cursors)
            await followed.end()
    async with bundled() as other:
        await other.say(*raws, *kills(log, 2))
        await other.head(log)
        await other.head(log)  # newer than what the first node's head said
        async with following(source_of(other.url), folder=tmp_path) as followed:
            await until(lambda: followed.denies(victim(4), victim(5)) and followed.age_s < 1)
            assert followed.follower.reads.read()["rewound"] == 1


async def test_what_only_a_snapshot_brought_to_the_node_is_sent_whole() -> None:
    """A merge brings kills without events: a delta would leave them out, so there is none."""
    log, other = Log(), Log(run="merged")
    async with bundled() as node:
        await node.say(*kills(log, 1))
        async with following(source_of(node.url)) as followed:
            await until(lambda: followed.denies(victim(1)))
            async with bundled() as elsewhere:
                await elsewhere.say(*kills(other, 7))
                image = elsewhere.node.at.replica.image()
            node.node.at.merge(image)
            await until(lambda: followed.denies(victim(7)))


async def test_versions_of_the_trust_file_come_by_the_bundle_alone() -> None:
    """The next version comes by a delta; later it comes with the whole, long after it was said."""
    log, version = Log(), next_trust(make_trust(), cuts={SECOND.kid: {}})
    async with bundled(window=2) as node:
        await node.say(*kills(log, 1))
        async with following(source_of(node.url)) as followed:
            await until(lambda: followed.denies(victim(1)))
            assert followed.follower.reconciler.joined.trust.version == 1
            await node.say(version)
            await until(lambda: followed.follower.reconciler.joined.trust.version == 2)
        await node.say(*kills(log, 5))
        async with following(source_of(node.url)) as late:
            await until(lambda: late.follower.reconciler.joined.trust.version == 2)
            await until(lambda: late.denies(victim(6)))


async def test_the_signed_form_names_the_trust_that_is_gone_by_now() -> None:
    """A version that a node hears of while it runs counts for what it signs then."""
    first = make_trust()
    version = next_trust(first)
    second = trusts.extend(first, version)
    async with bundled() as node:

        def signed_by() -> int:
            written = node.bundles._write_snapshot()
            assert written is not None
            return snapshots.read_statement(written.split(b"\n")[0], second).trust

        assert signed_by() == 1
        node.node.say(version)
        assert signed_by() == 2


async def test_a_node_without_the_right_to_sign_says_so() -> None:
    """No key with the right 'snapshot', no signed form: the source is told, and stays unlinked."""
    async with bundled(author=None) as node, following(source_of(node.url)) as followed:
        await until(lambda: "503" in followed.follower.links["bundle"])
        assert followed.age_s > 300


def bundle_in(answer: Answer) -> Any:
    """Return the signed form in an answer."""
    return read_signed(answer.body)


# --- servers and caches that lie ---


class Liar:
    """Answers every request with the same."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.status, self.headers, self.body = status, headers, body
        self.asked = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        del scope, receive
        self.asked += 1
        headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


GOOD = signed.pack("r1", b"", [])


@pytest.mark.parametrize(
    ("status", "headers", "why"),
    [
        (200, {"content-type": "text/html"}, "no registry of this fabric"),
        (200, {"content-type": bundles.OPA}, "no registry of this fabric"),
        (200, {"content-type": bundles.SIGNED, "content-encoding": "gzip"}, "unasked"),
        (302, {"location": "https://evil.example/"}, "302"),
        (401, {}, "token"),
        (404, {}, "404"),
    ],
)
async def test_a_server_of_something_else_is_refused(
    status: int, headers: dict[str, str], why: str
) -> None:
    """A wrong type, coding, redirect or status is told to the operator; nothing is followed."""
    async with serving(Liar(status, headers, GOOD)) as url:
        source = source_of(url)
        with pytest.raises(SourceRefused, match=why):
            await source.start(Deaf())
        await source.stop()


class Deaf:
    """A feed that hears nothing."""

    def heard(self, source: str, raw: bytes, /) -> None:
        """Take a live event."""

    def heard_head(self, source: str, raw: bytes, /) -> None:
        """Take a head."""

    def linked(self, source: str) -> None:
        """Know the source as linked."""

    def unlinked(self, source: str, why: str) -> None:
        """Know the source as deaf."""

    def spread_s(self) -> float:
        """Be a small fleet."""
        return 0.0


def image_of(log: Log, *, sees: int) -> Image:
    """Return the image of who has seen so much of a log, and that none of it is in force."""
    return Image(vector={log.id: msgspec.structs.replace(log.position, seq=sees)})


def forged(log: Log) -> dict[str, bytes]:
    """Return bundles whose parts are not by who may say them."""
    by_stranger = Log(STRANGER, "soc")
    thief = Author(STRANGER, "soc", FABRIC, lambda: NOW)
    elsewhere = Author(PUBLISHER, "soc", "another", lambda: NOW)
    lie = image_of(log, sees=len(log.raws))
    bent = bytearray(Author(PUBLISHER, "soc", FABRIC, lambda: NOW).write(lie, 1))
    bent[-1] ^= 1
    return {
        "events by a stranger": signed.pack("r1", b"", kills(by_stranger, 3)),
        "snapshot by a stranger": signed.pack("r1", thief.write(lie, 1), []),
        "snapshot for another fabric": signed.pack("r1", elsewhere.write(lie, 1), []),
        "snapshot bent": signed.pack("r1", bytes(bent), []),
    }


@pytest.mark.parametrize(
    "what",
    [
        "events by a stranger",
        "snapshot by a stranger",
        "snapshot for another fabric",
        "snapshot bent",
    ],
)
async def test_a_forged_bundle_changes_nothing(what: str) -> None:
    """What no publisher signed kills nobody, frees nobody and freshens nothing."""
    log = Log()
    raws = kills(log, 2)
    body = forged(log)[what]
    liar = Liar(200, {"content-type": bundles.SIGNED, "etag": '"r1"'}, body)
    async with bundled() as node, serving(liar) as url:
        await node.say(*raws)
        await node.head(log)
        bad = BundleSource(FABRIC, HttpOptions(url=url), POLL, name="bad")
        async with following(source_of(node.url), bad) as followed:
            await until(lambda: followed.age_s < 1)
            table, asked = followed.view.published.table, liar.asked
            await until(lambda: liar.asked > asked + 3)
            assert followed.denies(victim(1), victim(2))
            assert len(followed.view.published.table) == len(table) == 2


async def test_a_cache_that_replays_an_old_answer_freshens_nobody() -> None:
    """An old 304 has an old head: the view ages beside it, and a new head makes it fresh."""
    log = Log()
    async with bundled() as node:
        await node.say(*kills(log, 1))
        old = sign_head(head_of(log, time_s=NOW))
        liar = Liar(304, {bundles.HEADS: old.decode(), "etag": '"r1"'})
        async with (
            serving(liar) as url,
            following(
                source_of(node.url), BundleSource(FABRIC, HttpOptions(url=url), POLL, name="cache")
            ) as followed,
        ):
            await until(lambda: followed.age_s < 1)
            for clock in (followed.clock, node.clock):
                clock.pass_s(400)
            asked = liar.asked
            await until(lambda: liar.asked > asked + 3)
            assert followed.age_s >= 400
            node.node.at.head(sign_head(head_of(log, time_s=NOW + 400)))  # the control
            await until(lambda: followed.age_s < 1)


async def test_a_server_that_always_says_304_is_found_out() -> None:
    """A head that names more than came keeps the view from being fresh."""
    log = Log()
    kills(log, 1)
    liar = Liar(304, {bundles.HEADS: sign_head(head_of(log)).decode()})
    async with serving(liar) as url, following(source_of(url)) as followed:
        await until(lambda: followed.follower.reconciler.heads.read().get("not_covered"))
        await until(lambda: liar.asked > 3)
        assert followed.age_s > 300
        assert followed.follower.trouble


async def test_a_body_beyond_the_limit_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server makes a subscriber hold more than the limit."""
    monkeypatch.setattr(bundles, "MAX_PACKED_BYTES", 1000)
    liar = Liar(200, {"content-type": bundles.SIGNED}, bytes(4000))
    async with serving(liar) as url:
        source = source_of(url)
        source._fetcher.open()
        with pytest.raises(SourceUnavailable, match="more than 1000 bytes"):
            await source.list_snapshots()
        await source.stop()
