"""Policy bundles over real HTTPS: from `rescind bundle build` to the decision, and bad servers."""

import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext, create_default_context
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner

import rescind
from rescind import config, home, policies
from rescind.cli import checks
from rescind.cli.main import main
from rescind.errors import BadConfig
from rescind_guard import Code
from rescind_guard.guard import Guard
from rescind_guard.policy import Policy, fault, trouble, version_of
from rescind_subscriber.errors import PolicyUnavailable
from rescind_subscriber.policies.fetch import PolicyFetcher
from tests.fakes.badges import Scene
from tests.fakes.certificates import Authority
from tests.fakes.opa import OpaClient
from tests.fakes.policies import folder
from tests.fakes.policy_bundles import (
    ALLOWS,
    DENIES,
    SIGNER,
    STRANGER,
    bundle,
    private_key,
    public_key,
)
from tests.fakes.secret import write_secret
from tests.fakes.waiting import wait_until


class Web:
    """A static HTTPS server of one folder, with entity tags, as any web server has them."""

    def __init__(self, root: Path) -> None:
        self.root, self.asked = root, list[int]()
        """Statuses of its answers."""
        self.moved: str | None = None
        self.token: str | None = None
        authority = Authority(root.parent, "ca")
        pair = authority.certify("web")
        self.ca_file = authority.cert
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                """Answer."""
                web.answer(self)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.handle_error = lambda *_: None  # type: ignore[method-assign]
        context = SSLContext(PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"https://127.0.0.1:{self._http.server_port}/policy.tar.gz"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Send the file, or that it is the same."""
        status, body, tag = self._found(handler)
        self.asked.append(status)
        handler.send_response(status)
        if self.moved:
            handler.send_header("Location", self.moved)
        handler.send_header("ETag", tag)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _found(self, handler: BaseHTTPRequestHandler) -> tuple[int, bytes, str]:
        if self.moved:
            return 302, b"", ""
        if self.token and handler.headers["Authorization"] != f"Bearer {self.token}":
            return 401, b"", ""
        file = self.root / handler.path.strip("/")
        if not file.is_file():
            return 404, b"", ""
        raw = file.read_bytes()
        tag = f'"{sha256(raw).hexdigest()[:16]}"'
        return (304, b"", tag) if handler.headers["If-None-Match"] == tag else (200, raw, tag)

    def has(self, raw: bytes) -> None:
        """Put this there, whole."""
        (self.root / ".new").write_bytes(raw)
        (self.root / ".new").replace(self.root / "policy.tar.gz")

    def close(self) -> None:
        """Stop."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """Give a server."""
    (tmp_path / "www").mkdir()
    server = Web(tmp_path / "www")
    yield server
    server.close()


def settings_of(web: Web, at: Path, **more: Any) -> config.Loaded:
    """Return settings by which this server's bundle is the policy."""
    at.mkdir(exist_ok=True)
    (at / "policy.pub").write_text(public_key())
    named = {
        "policy_bundle_url": web.url,
        "policy_bundle_key": "policy.pub",
        "policy_bundle_ca_file": str(web.ca_file),
        "policy_bundle_every_s": 1.0,
    }
    return config.load(named | more, {"RESCIND_HOME": str(at)})


def guarded(policy: Policy | None) -> tuple[Guard, str]:
    """Return a guard that asks it, and a good badge."""
    scene = Scene()
    return scene.guard(policy=policy), scene.issuer.badge()


def run(*words: str) -> str:
    """Run a command line that has to work; return what it says."""
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    return done.output


def test_from_a_folder_by_a_web_server_to_the_next_call(web: Web, tmp_path: Path) -> None:
    """`rescind bundle build`, a static server, guards that follow it with no restart."""
    write_secret(tmp_path / "policy.pem", private_key())
    build = ["bundle", "build", str(web.root / "policy.tar.gz"), "--sign"]
    build += [str(tmp_path / "policy.pem"), "--policy", str(tmp_path / "rego")]
    folder(tmp_path / "rego", DENIES)
    run(*build, "--revision", "monday")
    kept = policies.keep(settings_of(web, tmp_path / "home"))
    [keeper] = kept.keepers
    guard, badge = guarded(kept.policy)
    assert guard.check(badge).code is Code.TOOL_POLICY_FAILED
    keeper.start()
    try:
        wait_until(lambda: guard.check(badge).code is Code.TOOL_POLICY_DENIED)
        assert version_of(kept.policy).endswith("@monday")
        wait_until(lambda: 304 in web.asked)
        folder(tmp_path / "rego", ALLOWS)
        run(*build, "--revision", "tuesday")
        wait_until(lambda: bool(guard.check(badge)))
        assert version_of(kept.policy).endswith("@tuesday")
        web.has(bundle(DENIES, signer=STRANGER))
        wait_until(lambda: trouble(kept.policy))
        assert guard.check(badge)
        (web.root / "policy.tar.gz").unlink()
        wait_until(lambda: "HTTP 404" in (trouble(kept.policy) or ""))
        assert guard.check(badge)
    finally:
        keeper.stop()


async def test_an_opa_takes_the_same_file(web: Web, tmp_path: Path) -> None:
    """By a client that was written from OPA's documentation: signature, hashes, manifest."""
    write_secret(tmp_path / "policy.pem", private_key())
    folder(tmp_path / "rego", ALLOWS, data_json='{"teams": [1.5, "\u2028 <&>"]}')
    build = ["bundle", "build", str(web.root / "policy.tar.gz"), "--sign"]
    build += [str(tmp_path / "policy.pem"), "--policy", str(tmp_path / "rego")]
    run(*build, "--revision", "7")
    origin, _, path = web.url.rpartition("/")
    tls = create_default_context(cafile=web.ca_file)
    async with httpx2.AsyncClient(base_url=origin, verify=tls, trust_env=False) as http:
        opa = OpaClient(http, f"/{path}", keys={"rescind": (public_key(), "ES256")})
        await opa.poll()
    assert opa.manifest["revision"] == "7"
    assert (list(opa.modules.values()), opa.data) == ([ALLOWS], {"teams": [1.5, "\u2028 <&>"]})


def test_a_restart_while_the_server_is_away(web: Web, tmp_path: Path) -> None:
    """By what this host has kept."""
    loaded = settings_of(web, tmp_path / "home")
    web.has(bundle(DENIES))
    assert fault(policies.make(loaded, fetch=True)) is None
    web.close()
    policy = policies.make(loaded, fetch=True)
    guard, badge = guarded(policy)
    assert guard.check(badge).code is Code.TOOL_POLICY_DENIED
    assert "the bundle at 127.0.0.1:" in (trouble(policy) or "")


def test_the_check_says_what_is_wrong_with_a_bundle(web: Web, tmp_path: Path) -> None:
    """One sentence, and what it means for calls."""
    loaded = settings_of(web, tmp_path / "home")
    web.has(bundle(ALLOWS, signer=STRANGER))
    line = checks.policy_line(loaded)
    assert not line.ok
    assert line.detail.startswith("every call is denied: the bundle is refused: the bundle's sig")
    web.has(bundle(ALLOWS))
    assert checks.policy_line(loaded).ok
    web.has(b"garbage")
    line = checks.policy_line(loaded)
    assert not line.ok
    assert "@1 decides, which is not the newest: the bundle is refused" in line.detail


def test_no_redirect_is_followed_and_the_token_goes_nowhere_else(web: Web, tmp_path: Path) -> None:
    """What a server may not do to us; and a server that wants a token gets it."""
    web.has(bundle(ALLOWS))
    fetch = PolicyFetcher(web.url, token="bundle-token", ca_file=web.ca_file)
    web.token = "bundle-token"
    assert fetch() is not None
    web.moved = web.url
    with pytest.raises(PolicyUnavailable, match="HTTP 302"):
        fetch()
    web.moved, web.token = None, "t-2"
    with pytest.raises(PolicyUnavailable, match="HTTP 401"):
        fetch()
    with pytest.raises(PolicyUnavailable, match=r"certificate"):
        PolicyFetcher(web.url)()
    shown = settings_of(web, tmp_path / "home", policy_bundle_token="bundle-token").shown()
    assert "bundle-token" not in str(shown)


def test_an_endless_answer_is_cut_off(web: Web) -> None:
    """Whatever its length says."""
    web.has(b"x" * 8 * 2**20)
    with pytest.raises(PolicyUnavailable, match="too many bytes"):
        PolicyFetcher(web.url, ca_file=web.ca_file)()


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"policy_bundle_key": None}, "'policy_bundle_key' is missing: a bundle counts only if"),
        ({"policy_bundle_key": "none.pem"}, "none.pem cannot be read: No such file"),
        ({"policy_bundle_key": "../ca.pem"}, "it holds 0 public keys in PEM"),
        ({"policy_bundle_url": "http://policy.example/a"}, "is fetched by https://"),
        ({"policy_bundle_url": "https://u:p@policy.example/a"}, "a token apart from it"),
        ({"policy_bundle_url": "ftp://policy.example"}, "write https://HOST/PATH"),
        ({"policy_bundle_url": "https://policy.example:x/"}, "it is no address"),
        ({"profile": "air-gapped"}, "'policy_bundle_url': profile air-gapped fetches nothing"),
        ({"policy_bundle_ca_file": "none.pem"}, "certificates in .*none.pem cannot be read"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    web: Web, tmp_path: Path, setting: dict[str, str | None], sentence: str
) -> None:
    """With the setting's name and what to do."""
    loaded = settings_of(web, tmp_path / "home", **setting)
    if setting == {"policy_bundle_key": None}:
        loaded = config.load(
            {"policy_bundle_url": web.url}, {"RESCIND_HOME": str(tmp_path / "home")}
        )
    with pytest.raises(BadConfig, match=sentence):
        policies.make(loaded)


def test_a_sidecar_follows_its_policy_and_shows_what_is_wrong_with_it(
    web: Web, tmp_path: Path
) -> None:
    """From the settings: folder and bundle are asked; `/readyz` has the trouble."""
    made = tmp_path / "fabric"
    home.create(made, fabric="default", publisher="local", port=1, now=1)
    (made / "policy.pub").write_text(public_key())
    web.has(bundle(ALLOWS))
    folder(made / "rego", ALLOWS)
    settings: dict[str, Any] = {
        "policy_folder": "rego",
        "policy_bundle_url": web.url,
        "policy_bundle_key": "policy.pub",
        "policy_bundle_ca_file": str(web.ca_file),
        "policy_bundle_every_s": 1.0,
    }
    with rescind.Sidecar(home=str(made), **settings) as sidecar:
        wait_until(lambda: "policy" not in sidecar.health().trouble)
        folder(made / "rego", "package capiscio.policy\nx := {")
        wait_until(lambda: "does not compile" in sidecar.health().trouble.get("policy", ""))
        [current] = (
            each.values[""]
            for each in sidecar.metrics()
            if each.metric.name == "rescind_guard_policy_current"
        )
        assert current == 0
        folder(made / "rego", DENIES)
        wait_until(lambda: "policy" not in sidecar.health().trouble)


def test_a_policy_that_does_not_work_is_not_written(tmp_path: Path) -> None:
    """Nor is anything that no guard would take."""
    write_secret(tmp_path / "policy.pem", private_key(SIGNER))
    out = tmp_path / "policy.tar.gz"
    build = ["bundle", "build", str(out), "--sign", str(tmp_path / "policy.pem"), "--policy"]
    broken = folder(tmp_path / "broken", "package capiscio.policy\nx := {")
    done = CliRunner().invoke(main, [*build, str(broken)])
    assert done.exit_code == 2
    assert "does not compile" in done.output
    assert not out.exists()
