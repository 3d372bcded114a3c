"""`online`: the check that a local one replaces, which asks the registry about each call.

What a verifier without revocations of its own does: fetch the issuer's keys, ask for the status of
the badge, ask for the status of its agent, verify the signature. Here all three go to our own
registry over HTTPS on this machine, in turn on one connection that stays open, by Python's own
`http.client`: no network between, no handshake, the least that it can cost. The local check is the
whole of `Guard.check` in a sidecar that follows the same fabric: of the same badge, first never
seen by it, then again and again as a new string. All in turn, call by call.
"""

import datetime as dt
import http.client
import ipaddress
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from nacl.bindings import crypto_sign_open

from benchmarks.channels import command
from benchmarks.stats import US, Row, Spread, over_rounds, progress, spread
from rescind import Sidecar
from rescind_guard import Guard
from rescind_protocol.encoding import b64url_decode
from rescind_protocol.keys import SigningKey, jwk

READY_WITHIN_S = 60.0
REPEATS = 20
"""Cached checks of each badge."""
AGENT = "did:web:acme.example:agents:asked"
KEYS = "/.well-known/jwks.json"


class Plan(msgspec.Struct, frozen=True):
    """How much is measured."""

    rounds: int = 5
    badges: int = 60
    """In each round, all of them new."""


QUICK = Plan(rounds=1, badges=5)


class Result(msgspec.Struct, frozen=True):
    """Times in microseconds; medians over the rounds."""

    online_us: Spread
    """All three questions and the signature."""
    keys_us: Spread
    badge_us: Spread
    agent_us: Spread
    cold_us: Spread
    cached_us: Spread
    online_over_cold: float
    """Of the medians of a round; median over the rounds."""
    online_over_cached: float
    rounds: int
    samples: int
    """Of online and of cold checks, each."""

    def rows(self) -> list[Row]:
        """Return what people read."""
        return [
            Row("online check: three questions over HTTPS, one signature", self.online_us, "µs"),
            Row("  the issuer's keys", self.keys_us, "µs"),
            Row("  the status of the badge", self.badge_us, "µs"),
            Row("  the status of the agent", self.agent_us, "µs"),
            Row("local check: a badge never seen", self.cold_us, "µs"),
            Row("  repeated badge, a fresh string each time", self.cached_us, "µs"),
            Row(
                "online check, in times of a local one",
                f"{self.online_over_cold:.0f}",
                note=f"of a repeated one {self.online_over_cached:.0f}; "
                f"{self.rounds} rounds, {self.samples} samples",
            ),
        ]


def run(plan: Plan) -> Result:
    """Measure."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rescind-bench-")))
        asking = stack.enter_context(_registry(folder))
        sidecar = stack.enter_context(_sidecar(folder / "home"))
        asking.enrol()
        rounds = []
        for number in range(plan.rounds):
            progress(f"online: round {number + 1} of {plan.rounds}")
            rounds.append(_round(asking, sidecar.guard, plan.badges))
        progress()
    each = {name: [spread(r[name], US) for r in rounds] for name in rounds[0]}

    def times(name: str) -> float:
        pairs = zip(each["online"], each[name], strict=True)
        return median(online.p50 / local.p50 for online, local in pairs)

    return Result(
        **{f"{name}_us": over_rounds(found) for name, found in each.items()},
        online_over_cold=times("cold"),
        online_over_cached=times("cached"),
        rounds=plan.rounds,
        samples=plan.rounds * plan.badges,
    )


class Asking:
    """A verifier's side of the registry, on one connection that stays open."""

    def __init__(self, connection: http.client.HTTPSConnection, token: str) -> None:
        self._connection = connection
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, path: str, method: str = "GET", body: object = None) -> Any:
        """Return what the registry answers."""
        sent = None if body is None else msgspec.json.encode(body)
        self._connection.request(method, path, body=sent, headers=self._headers)
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status not in (200, 201):
            raise RuntimeError(f"{method} {path} was answered {answer.status}")
        return msgspec.json.decode(said)

    def enrol(self) -> None:
        """Enrol the agent whose badges are asked about."""
        key = jwk(SigningKey.generate().public)
        self.ask("/v1/agents", "POST", {"did": AGENT, "level": 2, "public_key": key})

    def badge(self) -> str:
        """Return a new badge of that agent."""
        return str(self.ask(f"/v1/agents/{AGENT}/badge", "POST", {})["badge"])


Samples = dict[str, list[int]]


def _round(asking: Asking, guard: Guard, badges: int) -> Samples:
    samples: Samples = {name: [] for name in ("online", "keys", "badge", "agent", "cold", "cached")}
    for _ in range(badges):
        token = asking.badge()
        _online(asking, token, samples)
        samples["cold"].append(_cold(guard, token))
        for _ in range(REPEATS):
            fresh = token.encode().decode()
            begun = time.perf_counter_ns()
            guard.check(fresh)
            samples["cached"].append(time.perf_counter_ns() - begun)
    return samples


def _online(asking: Asking, token: str, samples: Samples) -> None:
    """Check a badge by asking; nothing is kept from one call to the next but the connection."""
    begun = time.perf_counter_ns()
    claims = msgspec.json.decode(b64url_decode(token.split(".")[1].encode()))
    keys = asking.ask(KEYS)
    with_keys = time.perf_counter_ns()
    badge = asking.ask(f"/v1/badges/{claims['jti']}/status")
    with_badge = time.perf_counter_ns()
    agent = asking.ask(f"/v1/agents/{claims['sub']}/status")
    with_agent = time.perf_counter_ns()
    _verify(token, keys)
    samples["online"].append(time.perf_counter_ns() - begun)
    assert not badge["revoked"], badge
    assert agent["status"] == "active", agent
    samples["keys"].append(with_keys - begun)
    samples["badge"].append(with_badge - with_keys)
    samples["agent"].append(with_agent - with_badge)


def _verify(token: str, keys: Any) -> None:
    signing_input, _, signature = token.encode().rpartition(b".")
    (key,) = keys["keys"]
    crypto_sign_open(b64url_decode(signature) + signing_input, b64url_decode(key["x"].encode()))


def _cold(guard: Guard, token: str) -> int:
    begun = time.perf_counter_ns()
    decision = guard.check(token)
    taken = time.perf_counter_ns() - begun
    if not decision:
        raise RuntimeError(f"a good badge was denied: {decision.code}")
    return taken


@contextmanager
def _registry(folder: Path) -> Iterator[Asking]:
    """Run `rescind up` and `rescind serve` with TLS; give a connection to it."""
    certificate, key = _certificate(folder)
    home = folder / "home"
    env = {"RESCIND_REGISTRY_TLS_CERT": str(certificate), "RESCIND_REGISTRY_TLS_KEY": str(key)}
    with (
        command(home, {}, "up", "--port", "0", until="state"),
        command(home, env, "serve", "--listen", "127.0.0.1:0", until="serving") as said,
    ):
        port = int(said["url"].rpartition(":")[2])
        trusted = ssl.create_default_context(cafile=str(certificate))
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=trusted, timeout=30)
        try:
            yield Asking(connection, Path(said["token_file"]).read_text().strip())
        finally:
            connection.close()


@contextmanager
def _sidecar(home: Path) -> Iterator[Sidecar]:
    with Sidecar(home=str(home), name="online") as sidecar:
        sidecar.subscriber.wait_fresh(READY_WITHIN_S)
        yield sidecar


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that signs itself, and its key; PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "registry")])
    at = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(hours=6))
        .add_extension(at, critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "registry.pem", folder / "registry.key"
    paths[0].write_bytes(made.public_bytes(Encoding.PEM))
    paths[1].touch(mode=0o600)
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths
