"""Whether a lock is closed: it alone meets every requirement of every package in it.

    python scripts/closed.py LOCK [EXTRA,EXTRA...]
    python scripts/closed.py --differing LOCK

Without extras, those of the project are all meant. The second form only prints which packages are
installed in other versions than are pinned, and which are not in the lock at all.

A lock is installed without a resolver, so nothing but this would see that a requirement is missing
in it. Read is the metadata of the installed packages, and of `pyproject.toml`: what the project and
its extras need, what these need with the extras that were asked for, and so on. Printed is a line
for each fault; the exit code is 1 if there is one.
"""

import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

try:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
except ImportError:  # in an environment where only pip is there yet
    from pip._vendor.packaging.requirements import Requirement  # type: ignore[assignment]
    from pip._vendor.packaging.utils import canonicalize_name  # type: ignore[assignment]

ROOT = Path(__file__).parents[1]
PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^ ;\\]+)", re.MULTILINE)

EDITABLE = "editables>=0.5"
"""What hatchling asks for when it builds an editable install (PEP 660)."""

Requires = Callable[[str], Iterable[str]]
"""Name of a package to its requirements (Core Metadata, Requires-Dist)."""


def pins(lock: str) -> dict[str, str]:
    """Return the version of each package in a lock, by its normalized name."""
    return {canonicalize_name(name): version for name, version in PIN.findall(lock)}


def of_project(project: str, extras: Iterable[str] | None = None) -> list[str]:
    """Return what a `pyproject.toml` requires: itself, to build it, and with extras (all: None)."""
    found = tomllib.loads(project)
    optional: Mapping[str, list[str]] = found["project"]["optional-dependencies"]
    chosen = optional if extras is None else extras
    needed = [*found["build-system"]["requires"], *found["project"]["dependencies"]]
    return [*needed, EDITABLE, *(each for extra in chosen for each in optional[extra])]


def faults(
    roots: Iterable[str],
    pinned: Mapping[str, str],
    requires: Requires,
    environment: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Yield a sentence for each requirement that the pins do not meet.

    `environment` replaces values of this machine's in markers (PEP 508), as `python_version`.
    """
    waiting = [("the project", "", each) for each in roots]
    seen = set(waiting)
    while waiting:
        who, extra, line = waiting.pop()
        wanted = _parsed(line)
        markers = {**(environment or {}), "extra": extra}
        if wanted.marker is not None and not wanted.marker.evaluate(markers):
            continue
        name = canonicalize_name(wanted.name)
        if name not in pinned:
            yield f"{who} needs {line}, which the lock has not"
            continue
        if not wanted.specifier.contains(pinned[name], prereleases=True):
            yield f"{who} needs {line}, and the lock has {name} {pinned[name]}"
        for each in requires(name):
            for asked in ("", *sorted(wanted.extras)):
                if (name, asked, each) not in seen:
                    seen.add((name, asked, each))
                    waiting.append((name, asked, each))


@cache
def _parsed(line: str) -> Requirement:
    return Requirement(line)


@cache
def installed(name: str) -> list[str]:
    """Return what an installed package requires; raises `PackageNotFoundError`."""
    return metadata.requires(name) or []


def differing(pinned: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each package of which another version is installed than is pinned."""
    for each in metadata.distributions():
        name = canonicalize_name(each.name)
        if name in pinned and each.version != pinned[name]:
            yield f"{name} {each.version} is installed, and the lock has {pinned[name]}"


def beside(pinned: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each package that is installed and not in the lock."""
    for each in metadata.distributions():
        name = canonicalize_name(each.name)
        if name not in pinned:
            yield f"{name} {each.version} is installed, and not in the lock"


def main(lock: str, extras: str | None = None) -> int:
    """Check the lock in that file against what is installed."""
    pinned = pins(Path(lock).read_text("utf-8"))
    roots = of_project((ROOT / "pyproject.toml").read_text("utf-8"), extras and extras.split(","))
    try:
        found = sorted({*faults(roots, pinned, installed), *differing(pinned)})
    except metadata.PackageNotFoundError as missing:
        found = [f"{missing.name} is in the lock, and not installed"]
    for each in found:
        print(f"{lock}: {each}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    if sys.argv[1] == "--differing":
        of_lock = pins(Path(sys.argv[2]).read_text("utf-8"))
        print("\n".join(sorted({*differing(of_lock), *beside(of_lock)})))
        sys.exit()
    sys.exit(main(*sys.argv[1:]))
