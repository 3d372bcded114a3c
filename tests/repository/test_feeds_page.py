"""The feeds of `rescind serve`, followed as the documents say: curl, a browser, sidecars."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from litestar import MediaType, Request, get, post

from rescind import Sidecar
from rescind_protocol import targets
from rescind_registry.feeds.sse import EventStream
from tests.fakes.fabric import Log
from tests.fakes.feeds import noded, served
from tests.fakes.following import kills
from tests.fakes.terminal import Terminal, admin_token, did
from tests.fakes.waiting import WITHIN_S, until, wait_until

DOCUMENT = Path(__file__).parents[2] / "docs/feeds.md"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def block(language: str) -> str:
    """Return the document's block of a language."""
    text = DOCUMENT.read_text("utf-8")
    found = re.search(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """Give commands on a running fabric of this module's own: its node shows its first token."""
    terminal = Terminal(tmp_path_factory.mktemp("feeds") / "home")
    with terminal.start("up", "--port", "0", "--json", RESCIND_HEARTBEAT_S="0.1") as up:
        up.wait_for("state", state="LIVE")
        yield terminal


@pytest.fixture(scope="module")
def said(fabric: Terminal) -> Iterator[dict[str, Any]]:
    """Run a node with both feeds; give what it said."""
    words = ("serve", "--listen", "127.0.0.1:0", "--json")
    with fabric.start(*words, RESCIND_REGISTRY_GRPC_PORT="0") as running:
        yield running.wait_for("serving")


@contextmanager
def curling(said: dict[str, Any]) -> Iterator["Written"]:
    """Run the document's command against a node; give what it writes."""
    command = block("sh").replace("http://127.0.0.1:8410", said["url"])
    env = os.environ | {"RESCIND_FEED_TOKEN": admin_token(said)}
    process = subprocess.Popen(
        ["/bin/bash", "-c", f"exec {command}"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    try:
        yield Written(process)
    finally:
        process.kill()
        process.communicate()


class Written:
    """What a process has written so far."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process, self._text = process, b""

    def read(self) -> str:
        """Take in what is there and return it all."""
        assert self._process.stdout is not None
        self._text += self._process.stdout.read() or b""
        return self._text.decode()


def test_curl_follows_as_the_document_says(said: dict[str, Any], fabric: Terminal) -> None:
    """The command as printed: old kills, then new ones as they are said, with ids and heads."""
    old, new = did("before-curl"), did("after-curl")
    fabric.run("kill", "agent", old)
    with curling(said) as lines:
        wait_until(lambda: "event: head" in lines.read(), WITHIN_S)
        before = lines.read().count("event: revocation")
        fabric.run("kill", "agent", new)
        wait_until(lambda: lines.read().count("event: revocation") > before, WITHIN_S)
        text = lines.read()
    assert re.match(r"retry: \d+\nid: v1(~\S+)?\n\n", text)
    assert re.search(r"^id: v1~\S+\nevent: revocation\ndata: \S+\n\n", text, re.MULTILINE)


@pytest.mark.parametrize("source", ["sse", "grpc"])
def test_a_sidecar_follows_a_node_and_no_broker(
    said: dict[str, Any], fabric: Terminal, source: str
) -> None:
    """Killed over the command line: denied by a guard that knows nothing but the node."""
    settings = {
        "home": str(fabric.home),
        "feed_url": said["url"],
        "feed_grpc_url": f"http://127.0.0.1:{said['grpc']}",
        "feed_token": admin_token(said),
        "name": f"by-{source}",
    }
    with Sidecar(sources=(source,), **settings) as sidecar:
        sidecar.subscriber.wait_fresh(WITHIN_S)
        agent = did(f"by-{source}")
        fabric.run("kill", "agent", agent)
        wait_until(lambda: _denies(sidecar, agent), WITHIN_S)
        assert list(sidecar.subscriber.status().sources) == [source]


def _denies(sidecar: Sidecar, agent: str) -> bool:
    table = sidecar.subscriber.view.published.table
    return table.get(targets.agent(agent).digest) is not None


@pytest.fixture
def browser(tmp_path: Path) -> list[str]:
    """Return the command of a real browser without a screen."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert found, "no chromium here: `make setup` installs it as root"
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    flags += ["--disable-background-networking", "--disable-dev-shm-usage"]
    return [found, *flags, f"--user-data-dir={tmp_path / 'profile'}"]


async def test_a_browser_s_event_source_follows_and_resumes(
    browser: list[str], tmp_path: Path
) -> None:
    """The document's page in a real Chromium: each event once, in order, through a restart."""
    seen: list[list[str]] = []
    report = """<script>feed.addEventListener("revocation", (event) => fetch("/seen", {
      method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(
        [event.lastEventId, event.data, document.querySelector("#killed").lastChild.textContent])
    }))</script>"""

    @get("/", media_type=MediaType.HTML)
    async def page() -> str:
        return f"<!doctype html>{block('html')}{report}"

    @post("/seen")
    async def note(request: Request[Any, Any, Any]) -> None:
        seen.append(json.loads(await request.body()))

    async with noded(tmp_path / "node") as node:
        log, stream = Log(), EventStream(node.hub)
        raws = kills(log, 3)
        node.say(*raws)
        async with served(*stream.routes(), page, note) as server:
            process = subprocess.Popen(  # noqa: ASYNC220 - starting takes no time
                [*browser, server.url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                await until(lambda: len(seen) == 3, WITHIN_S)
                raws += kills(log, 1)
                node.say(raws[-1])
                node.head(log)
                await until(lambda: len(seen) == 4, WITHIN_S)
                await server.stop()
                raws += kills(log, 2)
                node.say(*raws[-2:])
                await server.start()
                await until(lambda: len(seen) == 6, WITHIN_S)
            finally:
                process.kill()
                await asyncio.to_thread(process.wait)
    # Each report is a request of its own, and may overtake another.
    assert sorted(data for _, data, _ in seen) == sorted(raw.decode() for raw in raws)
    assert len({cursor for cursor, _, _ in seen}) == 6
    assert all(shown.startswith("kill ") for _, _, shown in seen)
