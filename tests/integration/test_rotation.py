"""Credentials that are rotated while everything runs, on a real nats-server."""

import os
import signal
from pathlib import Path

import pytest

from rescind import compose, config
from rescind.errors import BadConfig
from rescind_subscriber.nats_link import NatsOptions
from tests.fakes.nats import Watched, admin_server, options
from tests.fakes.waiting import until

OLD = "user: subscriber, password: $RESCIND_NATS_SUBSCRIBER_PASSWORD"
USERS = "users: [\n      {\n        user: subscriber"
BOTH = "users: [\n      { user: rotated, password: nextpw }\n      {\n        user: subscriber"


@pytest.mark.parametrize("reread", [True, False])
async def test_a_rotated_password_needs_no_restart(tmp_path: Path, *, reread: bool) -> None:
    """Both users overlap; when the old one is gone, the new one is read. Control: it is not."""
    with admin_server(tmp_path, (USERS, BOTH)) as server:
        old = server.url_for("subscriber")
        written = [old]
        fresh = (lambda: written[0]) if reread else None
        watched = Watched(options(server, "subscriber", fresh=fresh))
        await watched.link.start()
        try:
            await until(lambda: watched.told == ["up"])
            written[0] = f"nats://rotated:nextpw@{old.rpartition('@')[2]}"
            conf = tmp_path / "admin.conf"
            conf.write_text(conf.read_text().replace(OLD, "user: gone, password: gonepw"))
            assert server.pid is not None
            os.kill(server.pid, signal.SIGHUP)
            if reread:
                await until(lambda: len(watched.told) > 1 and watched.told[-1] == "up")
            else:
                await until(lambda: any("refused our credentials" in why for why in watched.told))
        finally:
            await watched.link.stop()


def test_a_secret_may_be_in_a_file(tmp_path: Path) -> None:
    """As Docker and Kubernetes mount it; what is written now is read again."""
    file = tmp_path / "nats"
    file.write_text("nats://u:one@a:4222\n")
    env = {"RESCIND_HOME": str(tmp_path), "RESCIND_NATS_URL_FILE": str(file)}
    loaded = config.load(env=env)
    assert loaded.settings.nats_url == "nats://u:one@a:4222"
    assert loaded.doubts == ()
    file.write_text("nats://u:two@a:4222\n")
    assert loaded.latest("nats_url") == "nats://u:two@a:4222"
    file.unlink()
    assert loaded.latest("nats_url") is None
    with pytest.raises(BadConfig, match=r"RESCIND_NATS_URL_FILE names .* cannot be read"):
        config.load(env=env)
    with pytest.raises(BadConfig, match="are both set"):
        config.load(env=env | {"RESCIND_NATS_URL": "nats://a:4222"})


def options_of(tmp_path: Path, who: str, **settings: str) -> NatsOptions:
    """Return how somebody connects by these settings."""
    loaded = config.load({"home": str(tmp_path), **settings}, {})
    return compose.nats_options(loaded, who, inbox="_", name="x")


def test_files_of_nats_are_settings(tmp_path: Path) -> None:
    """A CA, a client certificate, creds and nkey; a publisher with its own address has its own."""
    given = {"nats_ca_file": "ca.pem", "nats_creds_file": "sub.creds", "nats_nkey_file": "nk"}
    mine = options_of(tmp_path, "nats", **given)
    assert (mine.ca_file, mine.creds_file) == (tmp_path / "ca.pem", tmp_path / "sub.creds")
    assert mine.wants_tls
    same = options_of(tmp_path, "publisher_nats", **given)
    assert same.creds_file == tmp_path / "sub.creds"
    own = options_of(
        tmp_path,
        "publisher_nats",
        publisher_nats_url="tls://a:4222",
        publisher_nats_creds_file="pub.creds",
        **given,
    )
    assert (own.url, own.creds_file, own.nkey_file) == (
        "tls://a:4222",
        tmp_path / "pub.creds",
        None,
    )
    assert own.ca_file == tmp_path / "ca.pem"


def test_a_certificate_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    """Not as a defect."""
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(PermissionError, match="not PEM"):
        options_of(tmp_path, "nats", nats_ca_file="ca.pem").context()
