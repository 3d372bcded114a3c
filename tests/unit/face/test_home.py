"""The fabric's folder: complete, private, and never made over another."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from rescind import compose, config, home
from rescind.errors import BadConfig
from rescind_protocol.targets import Kind

SECRETS = ("rescind.toml", "root.key", "publisher.key", "approver.key", "issuer.key")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A fabric's folder, just made."""
    home.create(tmp_path / "home", fabric="test", publisher="soc", port=4222, now=1_800_000_000)
    return tmp_path / "home"


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_their_owners_alone(folder: Path, name: str) -> None:
    """Keys and passwords are 0600, in a folder that is 0700."""
    assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_is_made_works_together(folder: Path) -> None:
    """The settings find the trust file, and the trust file verifies by their root key."""
    loaded = config.load(env={"RESCIND_HOME": str(folder)})
    trust = compose.make_trust(loaded)
    assert trust.fabric == "test"
    assert trust.required == ("soc",)
    by_name = {signer.publisher: signer.rights for signer in trust.signers.values()}
    assert by_name["soc"].kill == tuple(Kind)
    assert by_name["soc"].head
    assert not by_name["soc"].approve
    assert by_name[home.APPROVER].approve
    assert not by_name[home.APPROVER].kill
    assert len(compose.make_issuers(loaded)) == 1


def test_a_folder_is_never_made_twice(folder: Path) -> None:
    """A second making would throw the keys away that sign kills."""
    before = (folder / "publisher.key").read_bytes()
    with pytest.raises(BadConfig, match="holds a fabric already"):
        home.create(folder, fabric="test", publisher="soc", port=4222, now=1)
    assert (folder / "publisher.key").read_bytes() == before


def test_passwords_differ(folder: Path) -> None:
    """Each user of the embedded server has a password of its own."""
    got = config.load(env={"RESCIND_HOME": str(folder)}).settings
    urls = {got.nats_url, got.publisher_nats_url, got.system_nats_url}
    assert len({str(url).split("@")[0].split(":")[2] for url in urls}) == 3


def test_without_a_root_key_nobody_is_trusted(tmp_path: Path) -> None:
    """A guard that is not told the root refuses to start, and says what to do."""
    with pytest.raises(BadConfig, match="root_key"):
        compose.make_trust(config.load(env={"HOME": str(tmp_path)}))


_DYING = """
import os, signal, sys
from pathlib import Path
from rescind import compose, config, home
import rescind_publisher.keyfiles

EVENTS = {"open", "os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir"}

def make(folder):
    home.create(folder, fabric="test", publisher="soc", port=4222, now=1_800_000_000)

def dies(folder, at):
    left = at
    def hook(event, args):
        nonlocal left
        if event in EVENTS and args and str(args[0]).startswith(str(folder)):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
    pid = os.fork()
    if pid:
        return os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    sys.addaudithook(hook)
    make(folder)
    os._exit(0)

for at in range(1, 1000):
    folder = Path(sys.argv[1]) / str(at)
    died = dies(folder, at)
    if not (home.complete(folder) or home.exists(folder)):
        make(folder)
    assert compose.make_trust(config.load({"home": folder}, env={})).fabric == "test"
    assert sorted(each.name for each in folder.iterdir()) == sorted(home.FILES)
    if not died:
        print(at)
        break
"""


def test_wherever_the_making_ends_the_next_start_has_a_whole_fabric(tmp_path: Path) -> None:
    """Killed at each step in turn, until there is none left."""
    command = [sys.executable, "-c", _DYING, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > len(home.FILES)


def test_keys_that_nobody_explains_are_not_made_over(tmp_path: Path) -> None:
    """A folder with keys and no settings is not ours to fill."""
    (tmp_path / "root.key").touch()
    with pytest.raises(BadConfig, match=r"holds root\.key, and no rescind\.toml"):
        home.create(tmp_path, fabric="test", publisher="soc", port=4222, now=1)
    assert (tmp_path / "root.key").read_bytes() == b""
