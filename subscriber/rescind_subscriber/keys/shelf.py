"""Issuers' keys on disk, for a restart while an issuer is away: one file each, written whole."""

import contextlib
import logging
from hashlib import sha256
from pathlib import Path

import msgspec

from rescind_guard.issuers import MAX_KEYS
from rescind_subscriber import durable
from rescind_subscriber.keys.known import Known

log = logging.getLogger("rescind.keys")

MAX_FILE_BYTES = 256 * 1024
_PUBLIC_BYTES = (32, 65)


class KeyShelf:
    """A folder of files; trouble with it is said, and ends nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, iss: str) -> Known | None:
        """Return what was kept of an issuer; None if there is nothing that can be relied upon."""
        path = self._path(iss)
        try:
            with path.open("rb") as file:
                raw = file.read(MAX_FILE_BYTES + 1)
            found = msgspec.json.decode(raw, type=Known)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            self._set_aside(path, str(error))
            return None
        sizes = {len(key.public) for key in found.keys}
        fits = len(raw) <= MAX_FILE_BYTES and len(found.keys) <= 2 * MAX_KEYS
        if found.iss != iss or not fits or not sizes.issubset(_PUBLIC_BYTES):
            self._set_aside(path, "it holds something else")
            return None
        return found

    def save(self, known: Known) -> None:
        """Keep what is known of an issuer."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            durable.replace_durably(self._path(known.iss), [msgspec.json.encode(known)])
        except OSError as error:
            log.warning("keys of %s cannot be kept in %s: %s", known.iss, self.folder, error)

    def load_all(self) -> list[Known]:
        """Return all that was kept and can be read, in no order; for what shows it."""
        found = map(_read, sorted(self.folder.glob("*.json")))
        return [known for known in found if known is not None]

    def forget(self, iss: str) -> None:
        """Keep nothing of an issuer any more."""
        with contextlib.suppress(OSError):
            self._path(iss).unlink(missing_ok=True)

    def prune(self, before: float) -> None:
        """Remove what was confirmed before then, in unix seconds, and what cannot be read."""
        for path in list(self.folder.glob("*")):
            known = _read(path)
            if known is None or known.confirmed_at < before:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)

    def _path(self, iss: str) -> Path:
        return self.folder / f"{sha256(iss.encode()).hexdigest()[:32]}.json"

    def _set_aside(self, path: Path, why: str) -> None:
        """Set a file aside: it is fetched anew."""
        log.warning("kept keys in %s are not usable and are fetched again: %s", path, why)
        with contextlib.suppress(OSError):
            path.replace(path.with_suffix(".damaged"))


def _read(path: Path) -> Known | None:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(MAX_FILE_BYTES), type=Known)
    except (OSError, msgspec.MsgspecError):
        return None
