"""`rescind serve`: a node beside a running publisher, one that is its own, and who may ask it."""

import json
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from rescind import config
from rescind.cli.serving import make_server
from tests.fakes.terminal import RESCIND, Running, Terminal, admin_token, did, refused
from tests.fakes.waiting import WITHIN_S, wait_until


class Node:
    """A node that runs, and its admin's token."""

    def __init__(self, serving: dict[str, Any], ca: Path | None = None) -> None:
        self.url: str = serving["url"]
        first = "token_file" in serving
        self.token: str = admin_token(serving) if first else serving["token"]
        self._tls = ssl.create_default_context(cafile=ca) if ca else None

    def ask(self, path: str, body: object = None, *, token: str | None = None) -> tuple[int, Any]:
        """Get, or post a body."""
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        data = None if body is None else json.dumps(body).encode()
        headers |= {} if data is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers)  # noqa: S310 - our own
        try:
            with urllib.request.urlopen(request, timeout=WITHIN_S, context=self._tls) as answer:  # noqa: S310
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


def serve(terminal: Terminal, *words: str, **more: str) -> Running:
    """Start a node."""
    return terminal.start("serve", "--listen", "127.0.0.1:0", "--json", *words, **more)


def test_the_whole_way_of_a_badge_and_a_kill(up: Running, terminal: Terminal) -> None:
    """Enrolled, issued, allowed; killed over HTTP: denied, and no next badge."""
    del up
    with serve(terminal) as serving:
        node = Node(serving.wait_for("serving"))
        agent = did("over-http")
        key = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
        assert node.ask("/v1/agents", {"did": agent, "public_key": key, "level": 2})[0] == 201
        badge = node.ask(f"/v1/agents/{agent}/badge", {})[1]["badge"]
        assert terminal.verdict(badge) == "OK"
        body = {"targets": [{"kind": "agent", "id": agent}], "reason": "incident"}
        status, receipt = node.ask("/v1/kills", body)
        assert (status, receipt["durable"]) == (200, ["nats"])
        assert node.ask(f"/v1/agents/{agent}/badge", {})[0] == 403
        assert terminal.verdict(badge) == "BADGE_REVOKED"
        assert terminal.killed("agent", agent)


def test_the_admin_s_token_is_shown_once(up: Running, terminal: Terminal) -> None:
    """The second start has none to show, and the first one's is still good."""
    del up
    with serve(terminal) as serving:
        serving.wait_for("serving")
    with serve(terminal) as serving:
        again = serving.wait_for("serving")
        assert "token_file" not in again


def test_with_no_publisher_here_the_node_is_one(own: Terminal) -> None:
    """It follows and kills by itself, with nothing but the broker beside it."""
    with own.start("up", "--port", "0", "--json") as up:
        up.wait_for("state", state="LIVE")
    loaded = config.load({"home": str(own.home)}, env={})
    with make_server(loaded), serve(own, RESCIND_HEARTBEAT_S="0.1") as serving:
        node = Node(serving.wait_for("serving"))
        wait_until(lambda: node.ask("/readyz")[0] == 200)
        body = {"targets": [{"kind": "agent", "id": did("alone")}]}
        assert node.ask("/v1/kills", body)[0] == 200
        assert own.killed("agent", did("alone"))
        assert node.ask("/v1/agents", token="rsc_x_y")[0] == 401


def test_beyond_the_loopback_without_tls_is_refused(terminal: Terminal) -> None:
    """In one sentence, before anything listens."""
    done = terminal.run("serve", "--listen", "0.0.0.0:0")
    assert done.code == 2
    assert "TLS certificate" in done.error


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that signs itself."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def test_with_tls_it_speaks_tls_alone(
    up: Running, terminal: Terminal, certificate: tuple[Path, Path]
) -> None:
    """Beyond the loopback too."""
    del up
    cert, key = certificate
    tls = {"RESCIND_REGISTRY_TLS_CERT": str(cert), "RESCIND_REGISTRY_TLS_KEY": str(key)}
    with terminal.start("serve", "--listen", "0.0.0.0:0", "--json", **tls) as serving:
        url = serving.wait_for("serving")["url"].replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        assert url.startswith("https://")
        node = Node({"url": url, "token": "none"}, ca=cert)
        assert node.ask("/.well-known/jwks.json")[1]["keys"]
        with pytest.raises((OSError, ConnectionError)):
            Node({"url": url.replace("https", "http"), "token": ""}).ask("/healthz")


def test_a_certificate_that_is_none_is_one_sentence(terminal: Terminal, tmp_path: Path) -> None:
    """Exit code 2."""
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("no certificate")
    tls = {
        f"RESCIND_REGISTRY_TLS_{each.upper()}": str(tmp_path / f"{each}.pem")
        for each in ("cert", "key")
    }
    done = terminal.run("serve", "--listen", "127.0.0.1:0", **tls)
    assert done.code == 2
    assert "TLS" in done.error


def test_a_port_that_is_taken_is_one_sentence(up: Running, terminal: Terminal) -> None:
    """And nothing is started."""
    port = up.wait_for("up")["nats"].rpartition(":")[2]
    done = terminal.run("serve", "--listen", f"127.0.0.1:{port}")
    assert done.code == 2
    assert "cannot listen" in done.error


def test_suspended_on_the_command_line_refused_by_the_registry(
    up: Running, terminal: Terminal
) -> None:
    """And reinstated there; the audit has both, from here and from the API."""
    del up
    with serve(terminal) as serving:
        token = terminal.run("token", "make", "t", "--scope", "admin").out.strip()
        node = Node({"url": serving.wait_for("serving")["url"], "token": token})
        agent = did("suspended")
        key = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
        assert node.ask("/v1/agents", {"did": agent, "public_key": key})[0] == 201
        badge = node.ask(f"/v1/agents/{agent}/badge", {})[1]["badge"]
        assert terminal.run("suspend", agent, "--reason-admin", "INC-7").code == 0
        wait_until(lambda: node.ask(f"/v1/agents/{agent}/badge", {})[0] == 403)
        assert terminal.verdict(badge) == "OK"
        listed = terminal.run("agents", "list", "--timeout", "15", "--json").document["agents"]
        assert next(each for each in listed if each["did"] == agent)["state"] == "suspended"
        assert terminal.run("reinstate", "agent", agent).code == 0
        wait_until(lambda: node.ask(f"/v1/agents/{agent}/badge", {})[0] == 200)
        shown = terminal.run("audit", "show", "--target", agent).out
        assert all(word in shown for word in ("enrol", "suspend", "INC-7", "reinstate"))
        assert terminal.run("audit", "verify").code == 0


def test_a_rotated_key_signs_at_once_on_a_running_node(up: Running, terminal: Terminal) -> None:
    """And the old one stays published."""
    del up
    with serve(terminal) as serving:
        node = Node({"url": serving.wait_for("serving")["url"], "token": ""})
        before = node.ask("/.well-known/jwks.json")[1]["keys"]
        made = terminal.run("keys", "rotate", "--overlap", "0", "--json").document
        after = node.ask("/.well-known/jwks.json")[1]["keys"]
        assert {each["kid"] for each in after} == {
            *(each["kid"] for each in before),
            made["thumbprint"],
        }


def test_up_serves_a_node_too(own: Terminal) -> None:
    """One command for a fabric and its registry."""
    registry = {"RESCIND_REGISTRY_LISTEN": "127.0.0.1:0", "RESCIND_HEARTBEAT_S": "0.1"}
    with own.start("up", "--serve", "--port", "0", "--json", **registry) as up:
        node = Node(up.wait_for("serving"))
        wait_until(lambda: node.ask("/readyz")[0] == 200)
        body = {"targets": [{"kind": "agent", "id": did("by-up")}]}
        assert node.ask("/v1/kills", body)[0] == 200
        assert own.killed("agent", did("by-up"))
        assert up.end(signal.SIGTERM) == 0


def test_whatever_the_umask_others_write_nothing_and_read_no_secret(own: Terminal) -> None:
    """Of all that a fabric, its node and its server make; only what is public may be read."""
    env = own.environment(RESCIND_REGISTRY_LISTEN="127.0.0.1:0")
    command = [RESCIND, "up", "--serve", "--port", "0", "--json"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, umask=0) as running:
        assert running.stdout is not None
        said = [json.loads(running.stdout.readline())]
        while said[-1]["event"] != "serving":
            said.append(json.loads(running.stdout.readline()))
        assert own.run("kill", "agent", did("umask")).code == 0
        modes = {
            each.relative_to(own.home): each.stat().st_mode & 0o077 for each in own.home.rglob("*")
        }
        running.terminate()
        running.stdout.read()
    public = {Path("trust.jws"), Path("issuer.jwks.json")}
    assert {path for path, mode in modes.items() if mode} <= public
    assert not [path for path, mode in modes.items() if mode & 0o022]
    assert any(path.name.endswith("-wal") for path in modes)
    assert "token" not in said[-1]


def test_a_token_goes_to_no_file_that_others_may_read(own: Terminal, tmp_path: Path) -> None:
    """By redirection it is refused, and nothing is made; by --to it is its owner's alone."""
    open_file = tmp_path / "log.txt"
    with own.start("up", "--port", "0", "--json") as up:
        up.wait_for("state", state="LIVE")
    make = ["token", "make", "ci", "--scope", "read"]
    with open_file.open("wb") as log:
        done = subprocess.run(
            [RESCIND, *make], env=own.environment(), stdout=log, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, open_file.read_bytes()) == (2, b"")
    assert b"give --to FILE" in done.stderr
    assert json.loads(own.run("token", "list", "--json").out) == {"tokens": []}
    kept = tmp_path / "ci.token"
    assert own.run(*make, "--to", str(kept)).code == 0
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.read_text().startswith("rsc_")
    refused(own.run(*make, "--to", str(kept)), 2, "exists")
