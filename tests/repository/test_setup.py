"""`scripts/setup.sh` on machines that lack something: one sentence, and nothing half-made."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.faults.disk import small_disk

ROOT = Path(__file__).parents[2]
PARTS = ("scripts", "requirements", "pyproject.toml", "Makefile")
BASH = shutil.which("bash") or "bash"
NEED = 'me=setup; source scripts/common.sh; why_not_installed "$1"'


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Give a folder with what the set-up reads."""
    made = tmp_path / "clone"
    made.mkdir()
    for each in PARTS:
        subprocess.run(["cp", "-r", ROOT / each, made], check=True)  # noqa: S607
    return made


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Give a port at which nobody listens while the test runs."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def tools(folder: Path, **scripts: str) -> str:
    """Return a PATH with nothing but a few tools and these scripts, by name."""
    folder.mkdir()
    for name in (
        "awk",
        "bash",
        "cat",
        "cmp",
        "df",
        "dirname",
        "grep",
        "mktemp",
        "rm",
        "sort",
        "tail",
    ):
        (folder / name).symlink_to(str(shutil.which(name)))
    for name, script in scripts.items():
        made = folder / name.replace("_", "-")
        made.write_text(f"#!/bin/bash\n{script}\n", "utf-8")
        made.chmod(0o755)
    return str(folder)


def set_up(
    clone: Path, *, before: Sequence[str | Path] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    """Set up for the demo, with pip told nothing but `variables`; it must fail."""
    own = {name: each for name, each in os.environ.items() if not name.upper().startswith("PIP_")}
    own = {name: each for name, each in own.items() if not name.lower().endswith("_proxy")}
    own |= {"PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "1", "PYTHON": sys.executable}
    done = subprocess.run(
        [*before, clone / "scripts/setup.sh", "demo"],
        env=own | {"PIP_NO_CACHE_DIR": "1"} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert not (clone / ".venv").exists()
    return done


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """Return what it says is to be done."""
    said = [line for line in done.stderr.splitlines() if line.startswith("setup: ")]
    return next(line for line in said if "taken away" not in line).removeprefix("setup: ")


def test_without_a_network_and_make(clone: Path, tmp_path: Path, closed_port: int) -> None:
    """An index that cannot be reached is named as that; what was cut off before is made anew."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", clone / ".venv"], check=True)
    path = tools(tmp_path / "bin")
    done = set_up(clone, PATH=path, PIP_INDEX_URL=f"http://127.0.0.1:{closed_port}/simple")
    assert "setup: new .venv" in done.stdout
    assert sentence(done).startswith("the package index cannot be reached: ")


def test_behind_a_proxy_that_refuses(clone: Path, closed_port: int) -> None:
    """A proxy that does not answer is named as the proxy."""
    proxy = f"http://127.0.0.1:{closed_port}"
    done = set_up(clone, PIP_INDEX_URL="https://index.example/simple", HTTPS_PROXY=proxy)
    assert sentence(done).startswith("the proxy does not let pip through: ")


def test_on_a_full_disk(clone: Path, tmp_path: Path) -> None:
    """On a disk of 4 MB it says that the disk is full."""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = (
        'cp -r "$1/." "$2" && cd "$2" && { scripts/setup.sh demo; code=$?; ls -a; exit $code; }'
    )
    within: list[str | Path] = [
        *small_disk(disk, 4_000_000),
        "bash",
        "-c",
        script,
        "bash",
        clone,
        disk,
    ]
    done = set_up(clone, before=within)
    assert sentence(done).startswith("the disk is full: ")
    assert ".venv" not in done.stdout.splitlines()


def test_without_venv_and_not_root(clone: Path, tmp_path: Path) -> None:
    """Debian's Python without its venv: the packages to install, all at once."""
    lacking = f'[[ $* == *ensurepip* ]] && exit 1; exec {sys.executable} "$@"'
    path = tools(tmp_path / "bin", id="echo 1000", python3=lacking, apt_get="exit 9")
    said = sentence(set_up(clone, PATH=path, PYTHON=""))
    version = "python{}.{}-venv".format(*sys.version_info)
    assert said == f"as root, please: apt-get install {version} redis-server"


def test_without_a_python_that_is_new_enough(clone: Path, tmp_path: Path) -> None:
    """It says what is needed and what was found."""
    old = 'if [[ $1 == -V ]]; then echo "Python 3.9.2"; else exit 1; fi'
    said = sentence(set_up(clone, PATH=tools(tmp_path / "bin", python3=old), PYTHON="python3"))
    assert said == "Python 3.11 or newer is needed; found Python 3.9.2"


@pytest.mark.parametrize(
    ("pip_says", "sentence"),
    [
        ("no such option: --require-hashes", "pip is too old"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM", "the index serves a file"),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("Tunnel connection failed: 407 Proxy Authentication Required", "the proxy does not"),
        ("Temporary failure in name resolution", "the package index cannot be reached"),
        ("ERROR: No matching distribution found for x==1", "the index has no file"),
        ("Segmentation fault", "pip failed, as it says above"),
    ],
)
def test_what_pip_says_is_put_in_a_sentence(tmp_path: Path, pip_says: str, sentence: str) -> None:
    """Each of pip's ways to fail has a sentence of its own."""
    log = tmp_path / "log"
    log.write_text(f"WARNING: something\n{pip_says}\n", "utf-8")
    command = ["bash", "-c", NEED, "bash", str(log)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.startswith(sentence)
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("version", "enough"), [((3, 9, 18), False), ((3, 10, 13), False), ((3, 11, 0), True)]
)
def test_versions_are_compared_as_numbers(
    tmp_path: Path, version: tuple[int, ...], *, enough: bool
) -> None:
    """3.9 is older than 3.11."""
    python = tmp_path / "python"
    python.write_text(
        f'#!{BASH}\nexec {sys.executable} -c "import sys; sys.version_info = {version}; $2"\n'
    )
    python.chmod(0o755)
    command = [BASH, "-c", 'me=test; source scripts/common.sh; new_enough "$1"', "bash"]
    done = subprocess.run([*command, str(python)], cwd=ROOT, check=False)
    assert (done.returncode == 0) is enough


def test_interpreters_are_found_that_run(tmp_path: Path) -> None:
    """One for each version, oldest first: no shim that does not run, nothing too old, no config."""
    answers = "if [[ $2 == *exit* ]]; then exit {code}; else echo {version}; fi"
    scripts = {
        f"python3.{minor}": answers.format(code=code, version=version)
        for minor, code, version in [
            (9, 1, "3.9.2"),
            (13, 0, "3.13.0"),
            (12, 127, ""),
            (11, 0, "3.11.2"),
        ]
    }
    path = tools(tmp_path / "bin", **scripts, **{"python3.13-config": "exit 0"})
    versions = tmp_path / "pyenv/versions/3.14.1/bin"
    tools(versions.parent.parent.parent.parent / "more")
    versions.mkdir(parents=True)
    (versions / "python3").write_text(f"#!/bin/bash\n{answers.format(code=0, version='3.14.1')}\n")
    (versions / "python3").chmod(0o755)
    own = {"PATH": path, "PYENV_ROOT": str(tmp_path / "pyenv"), "HOME": str(tmp_path)}
    done = subprocess.run(
        [BASH, "-c", "me=test; source scripts/common.sh; pythons"],
        cwd=ROOT,
        env=own,
        capture_output=True,
        text=True,
        check=True,
    )
    found = dict(line.split(" ") for line in done.stdout.splitlines())
    assert found["3.13.0"] == f"{path}/python3.13"
    assert found["3.11.2"] == f"{path}/python3.11"
    assert found["3.14.1"] == str(versions / "python3")
    assert "3.9.2" not in found
    assert not any(each.endswith("config") for each in found.values())
