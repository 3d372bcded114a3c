"""Reports of subscribers that follow over HTTP alone: `POST /v1/reports`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from rescind_protocol import reports
from rescind_protocol.errors import Malformed
from rescind_protocol.limits import MAX_REPORT_BYTES
from rescind_registry.feeds.applied import Reports
from rescind_registry.feeds.report_route import PATH, route
from rescind_registry.feeds.sse import EventStream
from rescind_subscriber.config import SubscriberConfig
from rescind_subscriber.errors import SourceUnavailable
from rescind_subscriber.http_address import HttpOptions
from rescind_subscriber.sources.base import Reporter
from rescind_subscriber.sources.bundle import BundleOptions, BundleSource
from rescind_subscriber.sources.sse import SseSource
from tests.fakes.fabric import FABRIC, Log
from tests.fakes.feeds import Node, noded, served
from tests.fakes.following import following, kills, victim
from tests.fakes.waiting import until


class HandedOn:
    """What a node hands on to the publishers."""

    def __init__(self) -> None:
        self.raws: list[tuple[str, bytes]] = []
        self.reports = Reports(lambda name, raw: self.raws.append((name, raw)))

    def has(self, log: Log, seq: int) -> bool:
        """Whether a report says that so much of a log was applied."""
        return any(reports.read(raw).logs.get(log.id) == seq for _, raw in self.raws)


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Node, HandedOn, HttpOptions]]:
    """Give a node that serves its stream and takes reports."""
    handed = HandedOn()
    async with noded() as node:
        routes = [*EventStream(node.hub).routes(), route(handed.reports)]
        async with served(*routes) as server:
            yield node, handed, HttpOptions(url=server.url)


async def test_a_follower_of_the_stream_reports_what_it_applied() -> None:
    """Its kill comes down, its report goes up, with its name."""
    log = Log()
    config = SubscriberConfig(name="eu-7", retry_s=0.01, retry_most_s=0.05)
    async with (
        serving() as (node, handed, options),
        following(SseSource(options), config=config) as sidecar,
    ):
        node.say(*kills(log, 3))
        await until(lambda: sidecar.denies(victim(3)))

        def reported() -> bool:
            sidecar.clock.pass_s(0.1)  # until its next report is due
            return handed.has(log, 3)

        await until(reported)
        assert {name for name, _ in handed.raws} == {"eu-7"}


def test_both_sources_over_http_can_report() -> None:
    """The follower knows it by the interface alone."""
    options = HttpOptions(url="http://127.0.0.1:1")
    assert isinstance(SseSource(options), Reporter)
    assert isinstance(BundleSource(FABRIC, options, BundleOptions()), Reporter)


async def test_a_node_that_takes_none_is_weather() -> None:
    """404 of an older node, or nothing there: one error of ours, and the source follows on."""
    async with noded() as node, served(*EventStream(node.hub).routes()) as server:
        source = BundleSource(FABRIC, HttpOptions(url=server.url))
        source._fetcher.open()
        with pytest.raises(SourceUnavailable, match="404"):
            await source.report("eu-7", b"{}")
        await server.stop()
        with pytest.raises(SourceUnavailable):
            await source.report("eu-7", b"{}")
        await source.stop()
        with pytest.raises(SourceUnavailable, match="not started"):
            await source.report("eu-7", b"{}")


async def test_what_is_no_report_is_refused_and_a_flood_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing of it is handed on; a report is a claim, and beyond an allowance it is lost."""
    async with (
        serving() as (_, handed, options),
        httpx2.AsyncClient(base_url=options.url) as client,
    ):
        headers = {"Content-Type": "application/json"}
        for raw in (b"{}", b"[]", b"x", b'{"ver": 1}'):
            answer = await client.post(PATH, content=raw, headers=headers)
            assert answer.status_code >= 400
        large = b'{"a": "' + b"x" * MAX_REPORT_BYTES + b'"}'
        assert (await client.post(PATH, content=large, headers=headers)).status_code == 413
    with pytest.raises(Malformed):
        handed.reports.take(b"{}")
    monkeypatch.setattr(handed.reports._allowed, "_per_s", 0)
    handed.reports.take(b"{}")
    assert (handed.raws, handed.reports.dropped) == ([], 1)
