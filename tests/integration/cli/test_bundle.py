"""`rescind bundle`: written from a running fabric, looked into, verified; and what is refused."""

import gzip
import io
import tarfile
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from rescind import compose, config
from rescind_protocol.targets import agent
from rescind_registry.bundle import signing
from tests.fakes.opa import untar
from tests.fakes.secret import write_secret
from tests.fakes.terminal import Running, Terminal, admin_token, refused
from tests.fakes.waiting import WITHIN_S, wait_until

DID = "did:web:acme.example:bundled7"


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """Give a private and a public key in PEM, of an OPA's operator."""
    private, public = tmp_path / "bundle.pem", tmp_path / "bundle.pub.pem"
    write_secret(private, signing.make_key())
    public.write_text(signing.load(private).public_pem)
    return private, public


def bend(file: Path) -> None:
    """Change one byte of what the archive says of the agent, and leave all else as it is."""
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(file.read_bytes()))) as tar:
        files = {i: m.read() for i in tar if (m := tar.extractfile(i)) is not None}
    bent = {
        i: raw.replace(DID.encode(), b"did:web:acme.example:bundled8") for i, raw in files.items()
    }
    assert bent != files
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for info, raw in bent.items():
            tar.addfile(info, io.BytesIO(raw))
    file.write_bytes(out.getvalue())


def test_a_bundle_for_an_opa(
    up: Running, terminal: Terminal, tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    """Written from the log, it says what was killed, verifies by its key, and not when bent."""
    del up
    private, public = map(str, keys)
    file = tmp_path / "revocations.tar.gz"
    assert terminal.run("kill", "agent", DID).code == 0
    wrote = terminal.run("bundle", "write", str(file), "--key", private, "--json").document
    shown = terminal.run("bundle", "inspect", str(file), "--json").document
    assert shown["revision"] == wrote["revision"]
    assert min(shown["counts"]["revocations.agent"], shown["counts"]["agents"]) >= 1
    assert shown["signature"] == "ES256 by rescind"
    assert "revocations.agent" in terminal.run("bundle", "inspect", str(file)).out
    assert terminal.run("bundle", "verify", str(file), "--key", public).code == 0
    refused(terminal.run("bundle", "verify", str(file)), 2, "signed for an OPA: give --key")
    bend(file)
    bent = terminal.run("bundle", "verify", str(file), "--key", public)
    assert bent.code != 0
    assert "is not what was signed" in bent.err


@pytest.mark.parametrize(
    ("scopes", "sentence"),
    [
        (("", "read"), "signed for no scope, not 'read': give --scope ''"),
        (("write", "read"), "signed for the scope 'write', not 'read': give --scope 'write'"),
        (("read", ""), "signed for the scope 'read', not for none: give --scope 'read'"),
    ],
)
def test_a_bundle_for_another_scope(
    terminal: Terminal,
    tmp_path: Path,
    keys: tuple[Path, Path],
    scopes: tuple[str, str],
    sentence: str,
) -> None:
    """It is said what it is signed for; with that it verifies."""
    signed_for, asked = scopes
    file, (private, public) = str(tmp_path / "b.tar.gz"), map(str, keys)
    written = terminal.run("bundle", "write", file, "--key", private, "--scope", signed_for)
    assert written.code == 0
    verify = ("bundle", "verify", file, "--key", public, "--scope")
    refused(terminal.run(*verify, asked), 2, sentence)
    assert terminal.run(*verify, signed_for).code == 0


def test_a_bundle_that_publishers_signed(up: Running, terminal: Terminal, tmp_path: Path) -> None:
    """It verifies by the trust file alone, and not when one byte was changed."""
    del up
    file = tmp_path / "signed.tar.gz"
    assert terminal.run("kill", "agent", DID).code == 0
    assert terminal.run("bundle", "write", str(file), "--form", "signed").code == 0
    found = terminal.run("bundle", "verify", str(file), "--json").document
    assert found["publisher"] == "local"
    assert found["revocations"] >= 1
    bend(file)
    assert terminal.run("bundle", "verify", str(file)).code != 0


@pytest.mark.parametrize("long_poll", [False, True], ids=["interval", "long poll"])
def test_a_fleet_without_a_broker(
    own: Terminal,
    keys: tuple[Path, Path],
    long_poll: bool,  # noqa: FBT001 - pytest's
) -> None:
    """By the bundle of a node alone: fresh, and a kill made after the start is denied."""
    with ExitStack() as running:
        up = running.enter_context(own.start("up", "--port", "0", "--json"))
        up.wait_for("state", state="LIVE")  # before, there is no fabric to serve
        signing_key = {"RESCIND_BUNDLE_KEY": str(keys[0])}
        serving = own.start("serve", "--listen", "127.0.0.1:0", "--json", **signing_key)
        home = up.wait_for("up")["home"]
        node = running.enter_context(serving).wait_for("serving")
        settings = {
            "home": home,
            "nats_url": "nats://127.0.0.1:1",
            "sources": ("bundle",),
            "feed_url": node["url"],
            "feed_token": admin_token(node),
            "bundle_every_s": 0.5,
            "bundle_long_poll": long_poll,
        }
        with compose.make_subscriber(config.load(settings, env={}), keep=False) as subscriber:
            subscriber.wait_fresh(20)
            assert subscriber.status().sources == {"bundle": ""}
            assert own.run("kill", "agent", DID).code == 0
            wait_until(lambda: subscriber.view.published.table.get(agent(DID).digest))
            wait_until(lambda: subscriber.status().state == "LIVE")
        archive = fetch(f"{node['url']}/v1/bundles/default.tar.gz", admin_token(node))
        assert untar(archive).keys() >= {".signatures.json", "data.json"}
        assert DID.encode() in untar(archive)["data.json"]
        with pytest.raises(urllib.error.HTTPError, match="401"):
            fetch(f"{node['url']}/v1/bundles/default.tar.gz", "rsc_nobody")


def fetch(url: str, token: str) -> bytes:
    """Return what a node answers to this token."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=WITHIN_S) as answer:  # noqa: S310 - our own address
        return bytes(answer.read())


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not a bundle"),
        (b"{}", "not a bundle"),
        (b"{", "JSON"),
        (gzip.compress(b"x" * 600, mtime=0), "not a bundle"),
    ],
)
def test_what_is_no_bundle(
    terminal: Terminal, tmp_path: Path, content: bytes, sentence: str
) -> None:
    """One sentence, no traceback, whatever the file is."""
    file = tmp_path / "file"
    file.write_bytes(content)
    for command in ("inspect", "verify"):
        done = terminal.run("bundle", command, str(file))
        assert done.code != 0
        assert "Traceback" not in done.err
        assert "defect" not in done.err
    assert sentence in terminal.run("bundle", "inspect", str(file)).err


def test_a_key_that_opa_could_not_use(terminal: Terminal, tmp_path: Path) -> None:
    """An Ed25519 key signs nothing that an OPA verifies; it is refused before anything is done."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    key = write_secret(
        tmp_path / "ed.pem",
        Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    done = terminal.run("bundle", "write", str(tmp_path / "b.tar.gz"), "--key", str(key))
    assert done.code != 0
    assert "RS256" in done.err
    assert not (tmp_path / "b.tar.gz").exists()


def test_a_key_that_others_can_read_signs_nothing(terminal: Terminal, tmp_path: Path) -> None:
    """Whoever reads it could sign a policy of their own."""
    key = write_secret(tmp_path / "open.pem", signing.make_key())
    key.chmod(0o644)
    done = terminal.run("bundle", "write", str(tmp_path / "b.tar.gz"), "--key", str(key))
    assert done.code != 0
    assert f"can be read by others (mode 0644): chmod 600 {key}" in done.err
    assert not (tmp_path / "b.tar.gz").exists()
