"""A badge keeper against a registry's real handlers: renewed, refused, replaced, not tricked."""

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Self

import httpx2
import pytest

from rescind.testing.badges import ISSUER
from rescind.testing.keys import key_of
from rescind_guard.parsing import read
from rescind_protocol import targets
from rescind_protocol.changes import Effect
from rescind_subscriber.badge_keeper import BadgeKeeper
from rescind_subscriber.errors import BadgeRefused, BadgeUnavailable, BadKeeper
from rescind_subscriber.registry_client import RegistryClient
from rescind_subscriber.renewal import Issued, Refused, Unavailable
from tests.fakes.holder import DID, Holder, enrol
from tests.fakes.registry import Bench, benched
from tests.fakes.waiting import wait_until

URL = "http://127.0.0.1:8410"
AGENT = targets.agent(DID)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holder]:
    """Give an enrolled agent and its registry."""
    with benched(tmp_path, url=URL) as (bench, client):
        enrol(bench)
        yield Holder(client, bench)


def client_of(holder: Holder, **more: Any) -> RegistryClient:
    """Return a client whose requests go to the registry's handlers."""
    handlers = httpx2.MockTransport(lambda request: served(holder, request))
    said: dict[str, Any] = {"issuer": ISSUER, "transport": handlers, **more}
    clock = holder.bench.node.clock
    return RegistryClient(URL, DID, key_of(DID), clock=clock, **said)


def served(holder: Holder, request: httpx2.Request) -> httpx2.Response:
    """Answer as the registry's handlers do; Litestar's client for tests is of httpx."""
    path, sent = request.url.raw_path.decode(), dict(request.headers)
    got = holder.client.request(request.method, path, content=request.read(), headers=sent)
    return httpx2.Response(got.status_code, headers=dict(got.headers), content=got.content)


class Watched:
    """A subscriber that tells of a kill when a test says so."""

    def __init__(self, bench: Bench) -> None:
        self.view = bench.view
        self.on_applied: list[Callable[[Any], None]] = []

    def tell(self) -> None:
        """Say that something was applied."""
        for each in self.on_applied:
            each(None)


def keeper_of(holder: Holder, **more: Any) -> BadgeKeeper:
    """Return a keeper, not started."""
    return BadgeKeeper(client_of(holder), clock=holder.bench.node.clock, **more)


# --- the client ---


def test_it_proves_its_key_and_gets_a_badge(holder: Holder) -> None:
    """One that guards take."""
    answer = client_of(holder, ttl_s=90, aud=("api",)).fetch()
    assert isinstance(answer, Issued)
    assert answer.life_s == 90
    assert holder.bench.fabric.guard(audience="api").check(answer.token)
    assert answer.targets[1] == AGENT.digest


def test_a_refusal_is_told_from_weather(holder: Holder) -> None:
    """What the registry says of the agent is final; that it cannot tell is not."""
    holder.bench.fresh = False
    weather = client_of(holder).fetch()
    assert isinstance(weather, Unavailable)
    assert weather.retry_after_s
    holder.bench.fresh = True
    holder.bench.fabric.kill(AGENT, effect=Effect.ISSUANCE)
    refused = client_of(holder).fetch()
    assert isinstance(refused, Refused)
    assert "suspended" in refused.why
    # Of an agent that it does not have it tells strangers nothing: its proof is one that fails.
    holder.bench.node.agents.remove(DID)
    assert isinstance(client_of(holder).fetch(), Unavailable)


def test_a_wrong_clock_is_no_refusal(holder: Holder) -> None:
    """The proof is void, the agent is not."""
    client = client_of(holder)
    client._clock = holder.bench.fabric.follower().clock
    client._clock.offset_s = 3600
    assert isinstance(client.fetch(), Unavailable)


@pytest.mark.parametrize(
    "change",
    [
        {"htu": "https://elsewhere.example/pop"},
        {"aud": "https://elsewhere.example"},
        {"htm": "PUT"},
    ],
)
def test_it_signs_nothing_for_a_stranger(holder: Holder, change: dict[str, str]) -> None:
    """A registry that hands another's challenge on gets no proof of it."""
    asked: list[str] = []

    def relay(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path)
        return httpx2.Response(200, json={**served(holder, request).json(), **change})

    client = client_of(holder, transport=httpx2.MockTransport(relay))
    assert isinstance(client.fetch(), Unavailable)
    assert [each.rpartition("/")[2] for each in asked] == ["challenge"]


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(200, content=b"<html>"),
        httpx2.Response(200, content=b"x" * 100_000),
        httpx2.Response(302, headers={"Location": "http://127.0.0.1:1/"}),
        httpx2.Response(502),
        httpx2.Response(400, content=b"<html>400 Bad Request</html>"),
        httpx2.Response(401, json={"error": "sign in", "code": "TOKEN_INVALID"}),
        httpx2.Response(403, content=b"<html>403 Forbidden</html>"),
        httpx2.Response(403, json={"error": "blocked by the gateway"}),
        httpx2.Response(403, json={"error": "x", "code": "AGENT_UNKNOWN"}),
        httpx2.Response(403, json={"code": 403, "message": "RBAC: access denied"}),
        httpx2.Response(404, content=b"404 page not found"),
        httpx2.Response(404, json={"error": "there is no path", "code": "NOT_FOUND"}),
        httpx2.Response(410),
        httpx2.Response(503, json={"error": "x", "code": "AGENT_DISABLED"}),
        httpx2.Response(429, headers={"Retry-After": "soon"}),
    ],
)
def test_whatever_else_is_answered_is_weather(holder: Holder, answer: httpx2.Response) -> None:
    """The badge in hand is kept, and it asks again."""
    client = client_of(holder, transport=httpx2.MockTransport(lambda _: answer))
    assert isinstance(client.fetch(), Unavailable)


@pytest.mark.parametrize(
    ("status", "code"),
    [(403, "AGENT_DISABLED"), (404, "AGENT_UNKNOWN"), (400, "MALFORMED"), (400, "BAD_REQUEST")],
)
def test_only_what_the_registry_says_by_name_is_final(
    holder: Holder, status: int, code: str
) -> None:
    """The negative control: the same statuses, with the registry's own names for why."""
    answer = httpx2.Response(status, json={"error": "no", "code": code})
    client = client_of(holder, transport=httpx2.MockTransport(lambda _: answer))
    assert isinstance(client.fetch(), Refused)


def test_nobody_there_is_weather(holder: Holder) -> None:
    """As any outage."""

    def fail(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    answer = client_of(holder, transport=httpx2.MockTransport(fail)).fetch()
    assert answer == Unavailable("the registry does not answer: ConnectError")


def test_a_packed_answer_is_not_unpacked(holder: Holder) -> None:
    """Nobody asked for one, and a kilobyte of it would fill the memory."""
    pieces = iter([gzip.compress(b"0" * 1024 * 1024)])
    packed = httpx2.Response(200, headers={"Content-Encoding": "gzip"}, content=pieces)
    answer = client_of(holder, transport=httpx2.MockTransport(lambda _: packed)).fetch()
    assert answer == Unavailable("the registry answered in a coding that was not asked for")
    assert next(pieces, None) is not None


def test_no_proxy_of_the_environment_hears_the_badge(
    holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry of this machine is asked itself, and here nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        proxy.settimeout(0)
        client = client_of(holder, transport=None)
        assert isinstance(client.fetch(), Unavailable)
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_a_registry_in_the_clear_is_refused(holder: Holder) -> None:
    """Whoever listens would have the badge."""
    with pytest.raises(BadKeeper, match="https"):
        RegistryClient("http://registry.example", DID, key_of(DID), clock=holder.bench.node.clock)


# --- the keeper ---


def test_a_suspended_agent_s_badge_dies_with_no_push_at_all(holder: Holder) -> None:
    """The next is refused, the keeper stops and drops it; without the suspension it goes on."""
    fabric = holder.bench.fabric
    with keeper_of(holder) as keeper:
        first = keeper.badge()
        fabric.pass_s(241)
        keeper.denied("another")  # wakes it: virtual time makes no noise
        wait_until(lambda: keeper.badge() != first)
        second = keeper.badge()
        fabric.kill(AGENT, effect=Effect.ISSUANCE)
        assert fabric.guard().check(second)  # guards need not know
        fabric.pass_s(241)
        keeper.denied("another")
        wait_until(lambda: keeper.stopped)
        with pytest.raises(BadgeRefused, match="suspended"):
            keeper.badge()
        assert fabric.guard().check(second)
        fabric.pass_s(120)  # its end, and the clocks' skew
        assert fabric.guard().check(second).code == "BADGE_EXPIRED"


def test_a_killed_badge_is_replaced_if_its_agent_is_not(holder: Holder) -> None:
    """At once, for who watches the log; by the guard's word, for who does not."""
    fabric, watched = holder.bench.fabric, Watched(holder.bench)
    with keeper_of(holder, watch=watched) as keeper:
        for tell in (lambda _: watched.tell(), keeper.denied):
            fabric.pass_s(5)
            token = keeper.badge()
            fabric.kill(targets.badge(ISSUER, read(token).payload.jti))
            tell(token)
            wait_until(partial(_has_another, keeper, token))
            assert fabric.guard().check(keeper.badge())
            assert fabric.guard().check(token).code == "BADGE_REVOKED"


def _has_another(keeper: BadgeKeeper, token: str) -> bool:
    try:
        return keeper.badge() != token
    except BadgeUnavailable:
        return False


def test_a_killed_agent_s_keeper_stops(holder: Holder) -> None:
    """It asks once more, and is refused."""
    watched = Watched(holder.bench)
    with keeper_of(holder, watch=watched) as keeper:
        holder.bench.fabric.pass_s(5)
        holder.bench.fabric.kill(AGENT)
        watched.tell()
        wait_until(lambda: keeper.stopped)


def test_in_an_outage_the_badge_lives_to_its_end(holder: Holder) -> None:
    """And then there is none."""
    with keeper_of(holder) as keeper:
        token = keeper.badge()
        holder.bench.fresh = False
        holder.bench.fabric.pass_s(299)
        assert keeper.badge() == token
        holder.bench.fabric.pass_s(1)
        with pytest.raises(BadgeUnavailable):
            keeper.badge()


# --- the race ---


class Refresher:
    """An agent that fetches a new badge and calls, as fast as it can."""

    def __init__(self, holder: Holder) -> None:
        self._client, self._guard = client_of(holder), holder.bench.fabric.guard()
        self._killed = threading.Event()
        self.allowed_before = self.allowed_after = self.turns_after = 0
        self._ending = False
        self._badges: list[str] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        self._thread.join()

    def killed(self) -> None:
        """Say that the kill is applied everywhere."""
        self._killed.set()

    def _run(self) -> None:
        while not self._ending:
            after = self._killed.is_set()  # before the refresh: what is asked then, must fail
            answer = self._client.fetch()
            self._badges += [answer.token] if isinstance(answer, Issued) else []
            allowed = any(self._guard.check(each) for each in self._badges[-3:])
            self.allowed_after += after and allowed
            self.allowed_before += allowed and not after
            self.turns_after += after


@pytest.mark.parametrize("what", ["agent", "badge"])
def test_a_refreshing_agent_makes_no_allowed_call_after_its_kill(holder: Holder, what: str) -> None:
    """Not by a badge of before, of meanwhile, or of after.

    Control: where only a badge is killed, the same loop goes on being allowed.
    """
    with Refresher(holder) as refresher:
        wait_until(lambda: refresher.allowed_before >= 3)
        victim = AGENT if what == "agent" else targets.badge(ISSUER, "one-of-them")
        holder.bench.fabric.kill(victim)
        refresher.killed()
        wait_until(lambda: refresher.turns_after >= 5)
    assert (refresher.allowed_after == 0) is (what == "agent")
