"""Files written whole: what a crash leaves is the old one or the new one."""

import errno
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path

MODE = 0o600
LOCK = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
"""How a file is opened that is there to be locked."""


def replace_durably(path: Path, parts: Iterable[bytes]) -> None:
    """Replace a file: temporary file, fsync, rename, fsync of the folder. Raises `OSError`."""
    temporary = path.with_suffix(".writing")
    write_synced(temporary, parts)
    temporary.replace(path)
    sync_folder(path.parent)


def write_synced(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file and have it on disk; raises `OSError`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    handle = os.open(path, flags, MODE)
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


def locked(handle: int, *, shared: bool = False) -> bool:
    """Lock an open file without waiting; False where another process holds it.

    Raises `OSError` for what is no answer: a file system without locks (ENOLCK) is not "in use".
    """
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        return False
    return True
