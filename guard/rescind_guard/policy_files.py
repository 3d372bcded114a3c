"""A folder of Rego as it is read from disk: bounded, in one order, with a digest for evidence."""

from hashlib import sha256
from pathlib import Path

import msgspec

from rescind_guard.policy import PolicyFailed

MAX_MODULES = 256
MAX_MODULE_BYTES = 2**20
"""Of all modules together: a policy of a megabyte is a data set."""
MAX_DATA_BYTES = 64 * 2**10
"""`data` is copied on every call: 64 KiB cost more than all the rest of a check."""
DATA_FILE = "data.json"
TESTS = "_test.rego"


class Modules(msgspec.Struct, frozen=True):
    """The modules (name, source), by name, and the data beside them, as JSON."""

    sources: tuple[tuple[str, str], ...]
    data: str | None

    @property
    def digest(self) -> str:
        """Return 16 hexadecimal digits that change with any of it; "none" if there is nothing."""
        said = msgspec.json.encode([self.sources, self.data])
        return sha256(said).hexdigest()[:16] if self.sources else "none"


def read(folder: Path) -> Modules:
    """Read every `.rego` file below a folder but its tests; raises `PolicyFailed`."""
    try:
        files = sorted(file for file in folder.rglob("*.rego") if not file.name.endswith(TESTS))
        if not files:
            raise PolicyFailed(f"there is no .rego file in {folder}")
        if len(files) > MAX_MODULES or sum(map(_size, files)) > MAX_MODULE_BYTES:
            raise PolicyFailed(f"{folder} holds over {MAX_MODULES} modules, or over a megabyte")
        sources = tuple((str(each.relative_to(folder)), each.read_text("utf-8")) for each in files)
        return Modules(sources, _data(folder / DATA_FILE))
    except OSError as error:
        raise PolicyFailed(
            f"{error.filename or folder} cannot be read: {error.strerror}"
        ) from error
    except UnicodeDecodeError as error:
        raise PolicyFailed(f"a file in {folder} is not UTF-8") from error


def _size(file: Path) -> int:
    return file.stat().st_size


def _data(file: Path) -> str | None:
    if not file.exists():
        return None
    if _size(file) > MAX_DATA_BYTES:
        raise PolicyFailed(f"{file} is over {MAX_DATA_BYTES} bytes; it is copied on every call")
    text = file.read_text("utf-8")
    try:
        msgspec.json.decode(text, type=dict)
    except msgspec.DecodeError as error:
        raise PolicyFailed(f"{file} is no JSON object: {error}") from error
    return text
