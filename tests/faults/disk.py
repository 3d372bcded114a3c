"""Disks that are full: for a running process by its limits, for a new one by a small file system.

- `file_limit` needs no rights: `prlimit` of our own process, and its writes beyond so many bytes
  of a file fail with EFBIG (setrlimit(2), RLIMIT_FSIZE). Python ignores SIGXFSZ, so that the
  process lives; a server in C or Go is ended by it.
- `small_disk` mounts a tmpfs in a mount namespace of one command: ENOSPC, the real thing. Needs
  root, or a system that allows user namespaces; `can_mount` tells.
"""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path


@contextmanager
def file_limit(pid: int, size: int) -> Iterator[None]:
    """Let no file that the process writes grow beyond `size` bytes, for the time of the block."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # it did not outlive that
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


@cache
def can_mount() -> bool:
    """Whether a small disk can be had here."""
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        return False
    tried = subprocess.run(
        [*_namespace(), "mount", "-t", "tmpfs", "-o", "size=64k", "none", "/mnt"],
        capture_output=True,
        check=False,
    )
    return tried.returncode == 0


def small_disk(folder: Path, size: int) -> list[str]:
    """Return what to put before a command, for it to run with a tmpfs of `size` bytes at `folder`.

    Only it sees that disk; to others `/proc/<pid>/root<folder>` shows it.
    """
    script = Path(__file__).with_name("on_small_disk.py")
    return [*_namespace(), sys.executable, str(script), str(folder), str(size)]


def _namespace() -> list[str]:
    users = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return [shutil.which("unshare") or "unshare", *users, "--mount"]
