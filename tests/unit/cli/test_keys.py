"""Keys and the trust file: from a description to what every host verifies."""

import json
import stat
from pathlib import Path

import pytest

from rescind_protocol import trust
from rescind_protocol.targets import Kind
from rescind_publisher.keyfiles import read_public, read_trust
from tests.unit.cli.conftest import Run, error_of

DESCRIPTION = """
fabric = "prod"
version = 1
required = ["east"]
[[keys]]
publisher = "east"
file = "east.key.pub.json"
kill = "all"
reinstate = ["agent", "session"]
issuers = ["https://registry.example"]
head = true
not_after = 2031-01-01T00:00:00Z
[[keys]]
publisher = "second"
file = "second.key.pub.json"
approve = true
"""


@pytest.fixture
def desk(run: Run, tmp_path: Path) -> Path:
    """A folder with a root, two keys and a description."""
    for name in ("root", "east", "second"):
        assert run("keys", "new", str(tmp_path / f"{name}.key")).exit_code == 0
    (tmp_path / "trust.toml").write_text(DESCRIPTION)
    return tmp_path


def sign(run: Run, desk: Path, text: str | None = None, root: str = "root.key") -> str:
    """Sign the description; return the sentence it fails with, or nothing."""
    if text is not None:
        (desk / "trust.toml").write_text(text)
    words = ("--root", str(desk / root), "--out", str(desk / "trust.jws"))
    result = run("keys", "sign", str(desk / "trust.toml"), *words)
    return error_of(result) if result.exit_code else ""


def test_a_new_key_is_private_from_its_first_byte(desk: Path) -> None:
    """Nobody else can read it; its public part is for everybody."""
    assert stat.S_IMODE((desk / "east.key").stat().st_mode) == 0o600
    assert len(read_public(desk / "east.key.pub.json")) == 32


def test_a_key_is_never_replaced(run: Run, desk: Path) -> None:
    """It may be the only one of its kind."""
    before = (desk / "east.key").read_bytes()
    result = run("keys", "new", str(desk / "east.key"))
    assert result.exit_code == 2
    assert "not replaced" in error_of(result)
    assert (desk / "east.key").read_bytes() == before


def test_both_parts_of_a_key_have_one_thumbprint(run: Run, desk: Path) -> None:
    """Private and public file name the same key."""
    prints = [
        run("keys", "thumbprint", str(desk / name)).stdout
        for name in ("east.key", "east.key.pub.json")
    ]
    assert prints[0] == prints[1]


def test_a_description_becomes_a_trust_file(run: Run, desk: Path) -> None:
    """Every right that is written is given, and no other."""
    assert sign(run, desk) == ""
    root = read_public(desk / "root.key.pub.json")
    found = trust.read(read_trust(desk / "trust.jws"), root=root, fabric="prod")
    east, second = found.signers.values()
    assert east.rights.kill == tuple(Kind)
    assert east.rights.reinstate == (Kind.AGENT, Kind.SESSION)
    assert east.rights.issuers == ("https://registry.example",)
    assert east.not_after == 1_924_992_000
    assert (east.rights.head, east.rights.snapshot, east.rights.approve) == (True, False, False)
    assert second.rights == trust.Rights(approve=True)


def test_verify_says_whom_it_trusts(run: Run, desk: Path) -> None:
    """By the right root it lists every key; by another one it fails."""
    sign(run, desk)
    words = ("keys", "verify", str(desk / "trust.jws"), "--fabric", "prod", "--root")
    good = run(*words, str(desk / "root.key.pub.json"), "--json")
    assert [key["publisher"] for key in json.loads(good.stdout)["keys"]] == ["east", "second"]
    bad = run(*words, str(desk / "east.key.pub.json"))
    assert bad.exit_code == 2
    assert "not signed by this fabric's root" in error_of(bad)


def test_an_older_version_does_not_replace_a_newer_one(run: Run, desk: Path) -> None:
    """Every host would go on refusing heads that name the newer one."""
    assert sign(run, desk) == ""
    assert "version 1 already" in sign(run, desk)
    assert sign(run, desk, DESCRIPTION.replace("version = 1", "version = 2")) == ""


def test_another_root_does_not_replace_a_trust_file(run: Run, desk: Path) -> None:
    """Whoever signs the second version must be whoever signed the first."""
    assert sign(run, desk) == ""
    assert "not signed by" in sign(run, desk, root="east.key")


@pytest.mark.parametrize(
    ("good", "bad", "part"),
    [
        ("fabric", "fabrik", "fabrik"),
        ('"prod"', '"no such name!"', "fabric"),
        ("version = 1", 'version = "1"', "version"),
        ("version = 1", "version = 0", "version"),
        ('required = ["east"]', 'required = ["west"]', "west"),
        ('required = ["east"]', "required = []", "required"),
        ("head = true", "hed = true", "hed"),
        ('kill = "all"', 'kill = "some"', '"all"'),
        ('kill = "all"', 'kill = ["planet"]', "planet"),
        ("east.key.pub.json", "west.key.pub.json", "cannot be read"),
        ("east.key.pub.json", "root.key", "not JSON"),
        ('file = "east.key.pub.json"', "", "file"),
        ("second.key.pub.json", "east.key.pub.json", "two keys are the same"),
        ("2031-01-01T00:00:00Z", "2031-01-01T00:00:00", "zone"),
        ("https://registry.example", "HTTPS://registry.example", "canonical"),
        ("[[keys]]", "[[keys", "not TOML"),
    ],
)
def test_a_bad_description_is_refused_by_name(
    run: Run, desk: Path, good: str, bad: str, part: str
) -> None:
    """The sentence names what is wrong, and nothing is written."""
    assert part in sign(run, desk, DESCRIPTION.replace(good, bad, 1))
    assert not (desk / "trust.jws").exists()


def test_a_root_that_others_can_read_is_not_used(run: Run, desk: Path) -> None:
    """World-readable is not private."""
    (desk / "root.key").chmod(0o604)
    assert "chmod 600" in sign(run, desk)


def test_list_shows_whom_this_host_trusts(run: Run) -> None:
    """Publishers, rights, and who is required."""
    keys = json.loads(run("keys", "list", "--json").stdout)["keys"]
    assert [(key["publisher"], key["required"]) for key in keys] == [
        ("local", True),
        ("local-approver", False),
    ]
