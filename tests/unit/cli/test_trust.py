"""`rescind trust`: the desk of whoever has the root's key."""

import json
from pathlib import Path

import pytest

from rescind_protocol import trust
from rescind_protocol.image import Image
from rescind_protocol.trust import Trust
from rescind_publisher.keyfiles import read_private, read_public, read_trust
from tests.fakes.fabric import log_id
from tests.unit.cli.conftest import Run, error_of
from tests.unit.cli.test_keys import sign

DESCRIPTION = """
fabric = "prod"
version = 1
required = ["east"]
[[keys]]
publisher = "east"
file = "east.key.pub.json"
kill = "all"
reinstate = "all"
head = true
"""


@pytest.fixture
def desk(run: Run, tmp_path: Path) -> Path:
    """A folder with two roots, two keys, and a trust file that trusts east."""
    for name in ("root", "root2", "east", "west"):
        assert run("keys", "new", str(tmp_path / f"{name}.key")).exit_code == 0
    assert sign(run, tmp_path, DESCRIPTION) == ""
    return tmp_path


def extend(run: Run, desk: Path, *words: str, root: str = "root.key") -> str:
    """Run a command of the desk; return the sentence it fails with, or nothing."""
    here = ("--root", str(desk / root), "--file", str(desk / "trust.jws"))
    result = run("trust", *words, *here)
    return error_of(result) if result.exit_code else ""


def add_west(run: Run, desk: Path) -> None:
    """Trust west as east is trusted."""
    key = str(desk / "west.key.pub.json")
    assert extend(run, desk, "add", "west", key, "--like", "east", "--required") == ""


def found(desk: Path) -> Trust:
    """Return the trust file as a host reads it that has the first root's public key."""
    root = read_public(desk / "root.key.pub.json")
    return trust.read(read_trust(desk / "trust.jws"), root=root, fabric="prod")


def test_a_key_is_added_with_the_rights_of_another(run: Run, desk: Path) -> None:
    """As one more version of the file."""
    add_west(run, desk)
    east, west = found(desk).signers.values()
    assert west.rights == east.rights
    assert found(desk).required == ("east", "west")
    assert found(desk).version == 2


def test_a_key_is_revoked_with_its_cuts(run: Run, desk: Path) -> None:
    """It stays in the file, is not required any more, and stands up to where it is cut."""
    add_west(run, desk)
    log = log_id(read_private(desk / "west.key"))
    (desk / "cuts.json").write_text(json.dumps({log: [4, "A" * 43]}))
    assert extend(run, desk, "revoke", "west", "--cuts", str(desk / "cuts.json")) == ""
    _, west = found(desk).signers.values()
    assert west.cuts is not None
    assert west.cuts[log].seq == 4
    assert found(desk).required == ("east",)
    assert "keys in use" in extend(run, desk, "revoke", "west", "--all")


@pytest.mark.parametrize(
    ("cuts", "why"),
    [
        ("nonsense", "is not what"),
        ('{"x": [1, "y"]}', "is not what"),
        (None, "cannot be read"),
        (json.dumps({f"{'B' * 11}-{'C' * 22}": [1, "A" * 43]}), "not its own"),
    ],
)
def test_bad_cuts_are_one_sentence(run: Run, desk: Path, cuts: str | None, why: str) -> None:
    """And the file stays as it is."""
    add_west(run, desk)
    if cuts is not None:
        (desk / "cuts.json").write_text(cuts)
    assert why in extend(run, desk, "revoke", "west", "--cuts", str(desk / "cuts.json"))
    assert found(desk).version == 2


WEST = """
[[keys]]
publisher = "west"
file = "west.key.pub.json"
kill = "all"
snapshot = true
"""


@pytest.mark.parametrize(
    "line", ["", WEST.replace("snapshot = true", ""), WEST.replace("snapshot = true", "cuts = {}")]
)
@pytest.mark.parametrize("revoked", [False, True])
def test_the_right_to_make_snapshots_is_ended_by_a_revocation_alone(
    run: Run, desk: Path, line: str, *, revoked: bool
) -> None:
    """What a thief has dropped is built anew by the line of a revoked key that has the right."""
    assert sign(run, desk, DESCRIPTION.replace("version = 1", "version = 2") + WEST) == ""
    next_one = DESCRIPTION.replace("version = 1", f"version = {3 + revoked}")
    if revoked:
        assert extend(run, desk, "revoke", "west", "--all") == ""
    assert "'west' would lose the right `snapshot`" in sign(run, desk, next_one + line)
    assert found(desk).version == 2 + revoked
    assert sign(run, desk, f"{next_one}{WEST}cuts = {{}}") == ""
    before, after = found(desk).version - 1, Image()
    assert found(desk).reads_alike(after, before) == revoked


def test_the_last_required_publisher_is_not_revoked(run: Run, desk: Path) -> None:
    """Nothing would be fresh: first another one."""
    assert "`add` another one first" in extend(run, desk, "revoke", "east", "--all")
    assert "either --cuts FILE, or --all" in extend(run, desk, "revoke", "east")


def test_a_new_root_takes_over(run: Run, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed by both; then only the new one can sign, and hosts keep their setting."""
    assert extend(run, desk, "rotate", "--new-root", str(desk / "root2.key")) == ""
    assert "not signed" in extend(run, desk, "rotate", "--new-root", str(desk / "root2.key"))
    words = ("trust", "add", "west", str(desk / "west.key.pub.json"), "--like", "east")
    here = ("--root", str(desk / "root2.key"), "--file", str(desk / "trust.jws"))
    first = json.loads((desk / "root.key.pub.json").read_text())["x"]
    monkeypatch.setenv("RESCIND_ROOT_KEY", first)
    result = run(*words, *here)
    assert result.exit_code == 0, result.output
    assert found(desk).version == 3


def test_publishing_without_a_publisher_is_one_sentence(run: Run, desk: Path) -> None:
    """There is nobody to hand the file to."""
    result = run("trust", "publish", str(desk / "trust.jws"), "--home", str(desk / "nobody"))
    assert "no publisher answers" in error_of(result)
