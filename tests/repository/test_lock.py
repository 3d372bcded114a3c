"""A lock meets all that its packages require, and exactly what it pins is installed."""

import base64
import csv
import hashlib
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest

from scripts import closed

ROOT = Path(__file__).parents[2]
LOCKS = {"dev": None, "demo": ("mcp", "redis")}
PYTHONS = ("3.11.2", "3.11.14", "3.12.1", "3.13.0", "3.14.0")
MACHINES = ("x86_64", "aarch64")


def lock(name: str) -> dict[str, str]:
    """Return the pins of a lock."""
    return closed.pins((ROOT / f"requirements/{name}.txt").read_text("utf-8"))


def faults(name: str, pinned: dict[str, str], python: str, machine: str) -> list[str]:
    """Return what these pins do not meet, on such a Python and machine."""
    roots = closed.of_project((ROOT / "pyproject.toml").read_text("utf-8"), LOCKS[name])
    where = {"python_full_version": python, "platform_machine": machine}
    where["python_version"] = python.rpartition(".")[0]
    return list(closed.faults(roots, pinned, closed.installed, where))


@pytest.mark.parametrize("name", LOCKS)
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("machine", MACHINES)
def test_a_lock_is_closed(name: str, python: str, machine: str) -> None:
    """Every requirement of every package in it, its extras included, is met by the lock."""
    assert faults(name, lock(name), python, machine) == []


@pytest.mark.parametrize("name", LOCKS)
def test_no_pin_can_be_taken_out(name: str) -> None:
    """Negative control: less any package, also one for an extra alone, it is not closed."""
    whole = lock(name)
    for each in whole:
        less = {other: version for other, version in whole.items() if other != each}
        found = faults(name, less, PYTHONS[0], "x86_64")
        wanted = [fault.split(" needs ")[1].lower() for fault in found]
        assert any(fault.replace("_", "-").replace(".", "-").startswith(each) for fault in wanted)


def test_a_pin_below_what_is_required_is_a_fault() -> None:
    """Negative control: a version that a requirement excludes is not met."""
    found = faults("dev", lock("dev") | {"pydantic": "1.0"}, PYTHONS[0], "x86_64")
    assert any("the lock has pydantic 1.0" in each for each in found)


def test_what_is_installed_is_what_is_pinned() -> None:
    """This environment has no other version of a pinned package."""
    assert list(closed.differing(lock("dev"))) == []
    other = lock("dev") | {"click": "0.0"}
    assert [each.partition(" ")[0] for each in closed.differing(other)] == ["click"]


def test_the_demos_lock_is_a_part_of_the_whole() -> None:
    """Same versions and hashes, so that the tests' environment is the demo's with more in it."""
    whole, part = (_blocks(name) for name in ("dev", "demo"))
    assert part.items() <= whole.items()
    assert len(part) < len(whole)


def _blocks(name: str) -> dict[str, str]:
    """Return each pin with its hashes."""
    text = (ROOT / f"requirements/{name}.txt").read_text("utf-8")
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    starts = "\n".join(lines).replace("\n    ", " ").splitlines()
    return {each.split("==")[0]: " ".join(each.split()) for each in starts if "==" in each}


class Index:
    """A package index in a folder, with packages made for a test (PEP 427, PEP 503)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hashes: dict[str, str] = {}
        """By name==version."""

    def add(self, name: str, version: str, *requires: str, extras: Iterable[str] = ()) -> None:
        """Serve one more version of a package that holds nothing."""
        page = self.folder / name
        page.mkdir(parents=True, exist_ok=True)
        file = f"{name}-{version}-py3-none-any.whl"
        (page / file).write_bytes(_wheel(name, version, requires, extras))
        names = sorted(each.name for each in page.glob("*.whl"))
        links = [f'<a href="{each}">{each}</a>' for each in names]
        (page / "index.html").write_text("\n".join(links), "utf-8")
        digest = hashlib.sha256((page / file).read_bytes()).hexdigest()
        self.hashes[f"{name}=={version}"] = digest

    def lock(self, *pins: str) -> Path:
        """Return a lock of these, as `make lock` writes one."""
        made = self.folder / "lock.txt"
        lines = [f"{each} \\\n    --hash=sha256:{self.hashes[each]}" for each in pins]
        made.write_text("\n".join(lines) + "\n", "utf-8")
        return made

    def environment(self, python: Path) -> dict[str, str]:
        """Return the variables under which pip asks this index alone, for that `python`."""
        own = {name: each for name, each in os.environ.items() if not name.startswith("PIP_")}
        own |= {"PIP_INDEX_URL": self.folder.as_uri(), "PIP_CONFIG_FILE": os.devnull}
        return own | {"PIP_PYTHON": str(python), "PIP_NO_CACHE_DIR": "1"}


def _wheel(name: str, version: str, requires: Iterable[str], extras: Iterable[str]) -> bytes:
    home = f"{name}-{version}.dist-info"
    about = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    about += [f"Provides-Extra: {each}" for each in extras]
    about += [f"Requires-Dist: {each}" for each in requires]
    tag = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {f"{name}.py": "", f"{home}/METADATA": "\n".join(about) + "\n", f"{home}/WHEEL": tag}
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        rows.writerow([path, f"sha256={digest.decode()}", len(text.encode())])
    rows.writerow([f"{home}/RECORD", "", ""])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in {**files, f"{home}/RECORD": record.getvalue()}.items():
            archive.writestr(path, text)
    return packed.getvalue()


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """Give an index as it was when the lock was made, and a day later."""
    made = Index(tmp_path / "index")
    made.add("top", "1.0", "base[mail]>=1.0")
    made.add("base", "1.0", 'letters>=1.0; extra == "mail"', extras=["mail"])
    made.add("letters", "1.0")
    made.add("base", "1.1", 'letters>=1.0; extra == "mail"', extras=["mail"])
    made.add("letters", "2.0")
    return made


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Give the interpreter of a new and empty environment."""
    home = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    return home / "bin/python"


def installed(python: Path) -> dict[str, str]:
    """Return what stands in an environment."""
    folders = (python.parents[1] / "lib").glob("python*/site-packages")
    found = metadata.distributions(path=[str(each) for each in folders])
    return {each.name: each.version for each in found}


INSTALL = ["bash", "-c", 'me=test; source scripts/common.sh; install_lock "$@"', "bash"]
INSTALL += [sys.executable]
PINS = ("top==1.0", "base==1.0", "letters==1.0")


def test_newer_versions_change_nothing(index: Index, python: Path) -> None:
    """`install_lock` installs exactly what is pinned from an index that has newer versions."""
    lock = index.lock(*PINS)
    subprocess.run([*INSTALL, lock], cwd=ROOT, env=index.environment(python), check=True)
    assert installed(python) == {"top": "1.0", "base": "1.0", "letters": "1.0"}


def test_control_a_resolver_takes_what_is_newest(index: Index, python: Path) -> None:
    """Negative control: a resolver fills what a lock leaves open with other versions."""
    command = [sys.executable, "-m", "pip", "install", "-q", *PINS[:2]]
    subprocess.run(command, env=index.environment(python), check=True)
    assert installed(python) == {"top": "1.0", "base": "1.0", "letters": "2.0"}


def test_control_without_a_resolver_a_gap_is_left(index: Index, python: Path) -> None:
    """Negative control: a lock with a gap installs one pin too few, and the closure has a fault."""
    lock = index.lock(*PINS[:2])
    subprocess.run([*INSTALL, lock], cwd=ROOT, env=index.environment(python), check=True)
    found = installed(python)
    assert found == {"top": "1.0", "base": "1.0"}
    requires = {"top": ["base[mail]>=1.0"], "base": ['letters>=1.0; extra == "mail"']}
    faults = closed.faults(["top"], found, lambda name: requires[name])
    assert list(faults) == ['base needs letters>=1.0; extra == "mail", which the lock has not']
