"""A policy from a folder, read again when its files have changed and then stood still.

Nobody writes several files at one instant: a change counts when two looks in succession see the
same, so that half a policy is not taken for one. To be sure of it, replace the files by renaming.
"""

from pathlib import Path

from rescind_guard import policy_files
from rescind_guard.policy_files import Modules

LOOK_EVERY_S = 1.0
_Mark = tuple[tuple[str, int, int, int, int], ...] | str | None


class FolderSource:
    """One folder of `.rego` files."""

    every_s = LOOK_EVERY_S

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: _Mark = None
        """How the files looked when they were read; None: never."""
        self._last: _Mark = None

    def __repr__(self) -> str:
        return f"<FolderSource {self._folder}>"

    def load(self) -> Modules | None:
        """Read what is there; see `PolicySource`."""
        self._last = self._read = self._look()
        return policy_files.read(self._folder)

    def look(self) -> Modules | None:
        """Read what is there if it is changed, and changes no more; see `PolicySource`."""
        before, self._last = self._last, self._look()
        if self._last in (self._read, None) or self._last != before:
            return None
        self._read = self._last
        try:
            return policy_files.read(self._folder)
        finally:
            if self._look() != self._read:
                self._read = None  # written to meanwhile: look again

    def taken(self) -> None:
        """Do nothing: a folder is its own memory."""

    def _look(self) -> _Mark:
        """Return what changes when a file does: name, inode, size, and both times."""
        try:
            found = [(each, each.stat()) for each in policy_files.list_files(self._folder)]
        except OSError as error:
            return str(error)
        return tuple(
            (str(each), at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns) for each, at in found
        )
