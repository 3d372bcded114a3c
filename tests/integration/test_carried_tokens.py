"""What is sent with a request: a token that no header can carry is refused, and never quoted."""

import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from rescind_guard.rego import Rego
from rescind_protocol.errors import RescindError
from rescind_subscriber import bundle_fetch, http_address
from rescind_subscriber.errors import KeysUnavailable, PolicyUnavailable, SourceRefused
from rescind_subscriber.http_address import HttpOptions
from rescind_subscriber.keys.fetch import Fetcher
from rescind_subscriber.policies import fetch
from rescind_subscriber.policies.bundle import BundleSource
from rescind_subscriber.policies.fetch import PolicyFetcher
from rescind_subscriber.policies.keeper import PolicyKeeper
from tests.fakes.badges import Scene
from tests.fakes.policy_bundles import trusting

SECRET = "s3cret"
BAD = [f"{SECRET}\n", f"{SECRET}\r\nHost: x", f"{SECRET}\x00x", f" {SECRET} ", f"{SECRET}é", ""]


@pytest.fixture
def url() -> Iterator[str]:
    """Where a server is that answers 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer."""
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every token through to the library."""
    for module in (fetch, http_address):
        monkeypatch.setattr(module, "check_token", lambda _: None)


@pytest.mark.parametrize("token", BAD)
def test_a_bundles_token_that_cannot_be_sent_is_refused(token: str) -> None:
    """When the settings are read, in a sentence that does not show it; nothing is stripped."""
    with pytest.raises(SourceRefused, match="its token is empty, or has a blank") as refused:
        PolicyFetcher("https://policy.example/b", token=token)
    assert SECRET not in str(refused.value)


def test_a_bundles_token_that_can_be_sent_is_taken(url: str) -> None:
    """The control: the server is asked, and answers."""
    with pytest.raises(PolicyUnavailable, match="HTTP 404"):
        PolicyFetcher(f"{url}/b", token="rsc_1_ab-._~+/=")()


@pytest.mark.parametrize(
    "address",
    [
        f"https://:{SECRET}@policy.example/b",
        f"https://@policy.example/{SECRET}",
        f"https://user:{SECRET}@policy.example/b",
        f"https://user:{SECRET}/x@policy.example/b",
        f"https://policy.example/b\n{SECRET}",
        f"https://policy.example/é{SECRET}",
    ],
)
def test_a_bundles_address_with_a_password_is_refused(address: str) -> None:
    """Whoever it names, and without a word of it."""
    with pytest.raises(SourceRefused, match="write https://HOST/PATH") as refused:
        PolicyFetcher(address)
    assert SECRET not in str(refused.value)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("token", [f"{SECRET}\n", f"{SECRET}é"])
def test_what_the_library_says_of_a_token_is_never_passed_on(
    url: str, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where no check stands before it: not to `/readyz`, the log or the decision log."""
    policy, scene = Rego(), Scene()
    with caplog.at_level(logging.DEBUG, "rescind"):
        PolicyKeeper(policy, BundleSource(PolicyFetcher(url, token=token), trusting())).step()
    assert "in words that no request can carry" in (policy.fault or "")
    decision = scene.guard(policy=policy).check(scene.issuer.badge(), tool="t")
    assert decision.reason_admin
    assert SECRET not in f"{policy.fault} {decision.reason_admin} {caplog.text}"


def test_a_header_that_cannot_be_sent_is_a_failed_fetch(url: str) -> None:
    """A typed error without a cause that would be printed with it."""
    for header in (f"{SECRET}\n", f"{SECRET}é"):
        with pytest.raises(KeysUnavailable) as failed:
            Fetcher(private=True, plain=True).ask(url, {"Authorization": header})
        assert failed.value.__suppress_context__
        assert SECRET not in str(failed.value)


@pytest.mark.usefixtures("unchecked")
async def test_a_feeds_token_is_not_quoted_either(url: str) -> None:
    """It will not heal by itself, and shows in the source's state."""
    options = HttpOptions(url=url, token=f"{SECRET}\n")
    fetcher = bundle_fetch.Fetcher(options, "/", accept="*/*", name="bundle")
    fetcher.open()
    with pytest.raises(RescindError, match="in words that no request can carry") as failed:
        await fetcher.fetch()
    await fetcher.close()
    assert isinstance(failed.value, SourceRefused)
    assert SECRET not in str(failed.value)
