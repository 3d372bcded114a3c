"""What a restart remembers of trust: the newest version gone by, kept beside the local snapshots.

One file for all subscribers of a folder. It is only ever replaced by a longer chain, so that
nobody who hands us an old trust file, or an old copy of the configured one, takes a version back.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from rescind_protocol import trust as trusts
from rescind_protocol.errors import RescindError, TrustBroken
from rescind_protocol.limits import MAX_TRUST_CHAIN_BYTES
from rescind_protocol.trust import Trust
from rescind_subscriber.durable import replace_durably
from rescind_subscriber.errors import TrustUnkept

FILE_NAME = "trust.jws"
_LOCK_NAME = "trust.lock"


class TrustKept:
    """The file; without a folder nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self.path = folder / FILE_NAME if folder is not None else None

    def newest(self, trust: Trust) -> Trust:
        """Return what to go by: the trust given, or what was gone by before, if that is newer.

        Raises `TrustBroken` where neither follows from the other, `TrustUnkept`.
        """
        kept = self._read()
        if not kept:
            return trust
        try:
            return trusts.catch_up(trust, kept)
        except TrustBroken as error:
            raise TrustBroken(
                f"{error}; {self.path} has what this host went by so far: give the trust file with "
                "all its versions, or remove that one to begin anew"
            ) from error
        except RescindError as error:
            raise TrustUnkept(f"{self.path} is damaged: {error}; remove it") from error

    def keep(self, trust: Trust) -> None:
        """Keep a trust, durably, unless a newer one is kept; raises as `newest`.

        One that was made here and not read from a signed file has nothing that could be kept.
        """
        if self.path is None or not trust.raws:
            return
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(self.path.with_name(_LOCK_NAME)):
                newest = self.newest(trust)
                replace_durably(self.path, [b"\n".join(newest.raws), b"\n"])
        except OSError as error:
            raise TrustUnkept(f"cannot write {self.path}: {error.strerror}") from error

    def _read(self) -> list[bytes]:
        if self.path is None:
            return []
        try:
            with self.path.open("rb") as file:
                return file.read(MAX_TRUST_CHAIN_BYTES + 1).splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise TrustUnkept(f"cannot read {self.path}: {error.strerror}") from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
