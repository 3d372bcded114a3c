"""Sidecars that follow a node over TLS and no broker: each feed alone, and the pair of two."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from rescind import Sidecar
from rescind.errors import BadConfig
from rescind_protocol import targets
from rescind_subscriber.errors import SourceRefused
from tests.fakes.certificates import Authority
from tests.fakes.terminal import Running, Terminal, admin_token, did
from tests.fakes.waiting import WITHIN_S, wait_until

FEEDS = ("sse", "grpc", "bundle")
PAIR = ("sse", "bundle")


class Node:
    """A running node, and what a sidecar is told to follow it."""

    def __init__(self, terminal: Terminal, said: dict[str, Any], ours: Path, another: Path) -> None:
        self.terminal, self.said = terminal, said
        self.ours, self.another = ours, another
        """Certificates of the authority that the node's is by, and of another."""

    def settings(self, **more: Any) -> dict[str, Any]:
        """Return the settings of a sidecar."""
        return {
            "home": str(self.terminal.home),
            "feed_url": self.said["url"],
            "feed_grpc_url": f"https://127.0.0.1:{self.said['grpc']}",
            "feed_token": admin_token(self.said),
            "feed_ca_file": str(self.ours),
            "bundle_every_s": 0.2,
            **more,
        }

    def kill(self, name: str) -> str:
        """Kill an agent; return its DID."""
        assert self.terminal.run("kill", "agent", did(name)).code == 0
        return did(name)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Run a fabric, and a node on it with TLS on both ports."""
    folder = tmp_path_factory.mktemp("tls")
    ours, another = Authority(folder, "ours"), Authority(folder, "another")
    pair = ours.certify("node")
    terminal = Terminal(folder / "home")
    tls = {"RESCIND_REGISTRY_TLS_CERT": str(pair.cert), "RESCIND_REGISTRY_TLS_KEY": str(pair.key)}
    with terminal.start("up", "--port", "0", "--json", RESCIND_HEARTBEAT_S="0.1") as up:
        up.wait_for("state", state="LIVE")
        with _served(terminal, tls) as running:
            yield Node(terminal, running.wait_for("serving"), ours.cert, another.cert)


def _served(terminal: Terminal, tls: dict[str, str]) -> Running:
    words = ("serve", "--listen", "127.0.0.1:0", "--json")
    return terminal.start(*words, RESCIND_REGISTRY_GRPC_PORT="0", **tls)


def denies(sidecar: Sidecar, agent: str) -> bool:
    """Whether a sidecar knows that an agent is killed."""
    table = sidecar.subscriber.view.published.table
    return table.get(targets.agent(agent).digest) is not None


@pytest.mark.parametrize("sources", [*((each,) for each in FEEDS), PAIR], ids="+".join)
def test_kills_come_over_tls(node: Node, sources: Sequence[str]) -> None:
    """What was said before it came and what is said after, fresh, and with no broker."""
    name = "-".join(sources)
    earlier = node.kill(f"before-{name}")
    with Sidecar(sources=tuple(sources), name=name, **node.settings()) as sidecar:
        sidecar.subscriber.wait_fresh(WITHIN_S)
        # Fresh it may be by a head from before the kill, which comes with the next one.
        wait_until(lambda: denies(sidecar, earlier), WITHIN_S)
        later = node.kill(f"after-{name}")
        wait_until(lambda: denies(sidecar, later), WITHIN_S)
        assert sidecar.subscriber.status().sources == dict.fromkeys(sources, "")


@pytest.mark.parametrize("source", FEEDS)
@pytest.mark.parametrize("trusted", ["another", "none"])
def test_a_certificate_of_nobody_known_is_refused(node: Node, source: str, trusted: str) -> None:
    """The control: by another authority, or by none that this host knows, nothing is followed."""
    ca_file = str(node.another) if trusted == "another" else None
    agent = node.kill(f"unheard-{source}-{trusted}")
    settings = node.settings(feed_ca_file=ca_file)
    with Sidecar(sources=(source,), name=f"wary-{source}-{trusted}", **settings) as sidecar:
        with pytest.raises(SourceRefused, match=r"(?i)certificate"):
            sidecar.subscriber.wait_fresh(WITHIN_S)
        assert not denies(sidecar, agent)


@pytest.mark.parametrize("source", FEEDS)
def test_a_token_goes_over_tls_alone(node: Node, source: str) -> None:
    """Beyond the loopback an address without TLS is refused before anything is sent."""
    plain = {"feed_url": "http://192.0.2.1:8410", "feed_grpc_url": "http://192.0.2.1:8411"}
    with pytest.raises(BadConfig, match="https:// only"):
        Sidecar(sources=(source,), **node.settings(**plain))


@pytest.mark.parametrize("source", FEEDS)
def test_plain_http_to_a_port_with_tls_is_weather(node: Node, source: str) -> None:
    """Nothing is followed there, and the view is not fresh."""
    plain = {
        "feed_url": node.said["url"].replace("https", "http"),
        "feed_grpc_url": f"http://127.0.0.1:{node.said['grpc']}",
    }
    settings = node.settings(**plain)
    with Sidecar(sources=(source,), name=f"plain-{source}", **settings) as sidecar:
        wait_until(lambda: _told(sidecar, source), WITHIN_S)
        assert not sidecar.subscriber.fresh


def _told(sidecar: Sidecar, source: str) -> bool:
    return sidecar.subscriber.status().sources.get(source) not in ("", "starting")
