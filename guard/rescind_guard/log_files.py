"""The decision log as lines of JSON: in a file, or on a standard stream."""

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from rescind_guard.errors import LogFailed
from rescind_guard.evidence import Record, line

MODE = 0o600
"""Who called what is for few eyes; `logrotate` keeps the mode with `create`."""
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
"""A link would have whoever may write to the folder choose which file of ours grows."""


class Lines:
    """Writes to an open file descriptor; a line is whole, or ended before the next begins."""

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self._name = name
        self._torn = False

    def __repr__(self) -> str:
        return self._name

    def write(self, records: Sequence[Record]) -> None:
        """Append the lines; raises `LogFailed`."""
        ahead = b"\n" if self._torn else b""  # a torn line stays behind as one that is no JSON
        left, done = ahead + b"".join(map(line, records)), -len(ahead)
        while left:
            try:
                count = os.write(self._fd, left)
            except OSError as error:
                raise LogFailed(f"{self._name}: {error.strerror}", max(0, done)) from error
            done += left[:count].count(b"\n")
            self._torn = left[count - 1 : count] != b"\n"
            left = left[count:]


class LogFile(Lines):
    """A file that may be rotated: renamed away, or cut to nothing. Several processes may share it.

    Before each batch the path is looked at: if another file, or none, is there, it is opened anew.
    So a rotation needs no signal, and no record is lost in one.
    """

    def __init__(self, path: Path) -> None:
        """Open the file; raises `LogFailed`, for at the start somebody still looks."""
        self._path = path
        super().__init__(self._open(), str(path))

    def write(self, records: Sequence[Record]) -> None:
        """Append the lines to what is at the path now."""
        if self._moved():
            fd = self._open()
            os.close(self._fd)
            self._fd, self._torn = fd, False
        super().write(records)

    def _moved(self) -> bool:
        try:
            there, ours = self._path.stat(), os.fstat(self._fd)
        except FileNotFoundError:
            return True
        except OSError as error:
            raise LogFailed(f"{self._path}: {error.strerror}") from error
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)

    def _open(self) -> int:
        try:
            fd = os.open(self._path, _FLAGS, MODE)
        except OSError as error:
            why = "is a symbolic link: name the file itself" if error.errno == errno.ELOOP else ""
            raise LogFailed(f"{self._path}: {why or error.strerror}") from error
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.close(fd)
            raise LogFailed(f"{self._path} is a pipe; for a pipe write to stdout or stderr")
        return fd
