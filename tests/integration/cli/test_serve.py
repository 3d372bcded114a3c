"""`rescind serve`: a node beside a running publisher, and one that is its own."""

import json
import urllib.request

from tests.fakes.terminal import Running, Terminal


def get(url: str) -> tuple[int, object]:
    """Ask the node."""
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own address
        return answer.status, json.load(answer)


def test_a_node_serves_beside_the_publisher_of_this_host(up: Running, terminal: Terminal) -> None:
    """It is fresh as soon as the publisher's head was heard."""
    del up
    with terminal.start("serve", "--listen", "127.0.0.1:0", "--json") as serving:
        url = serving.wait_for("serving")["url"]
        assert get(f"{url}/healthz") == (200, {"fresh": True})


def test_beyond_the_loopback_without_tls_is_refused(terminal: Terminal) -> None:
    """In one sentence, before anything listens."""
    done = terminal.run("serve", "--listen", "0.0.0.0:0")
    assert done.code == 2
    assert "TLS certificate" in done.error
