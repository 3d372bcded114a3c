"""Files written whole: what a crash leaves is the old one or the new one."""

import os
from collections.abc import Iterable
from pathlib import Path

MODE = 0o600


def replace_durably(path: Path, parts: Iterable[bytes]) -> None:
    """Replace a file: temporary file, fsync, rename, fsync of the folder. Raises `OSError`."""
    temporary = path.with_suffix(".writing")
    write_synced(temporary, parts)
    temporary.replace(path)
    sync_folder(path.parent)


def write_synced(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file and have it on disk; raises `OSError`."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE)
    with os.fdopen(handle, "wb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk; raises `OSError`."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
