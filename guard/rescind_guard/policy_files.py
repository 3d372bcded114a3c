"""The files of a policy in Rego: bounded, in one order, with a digest for evidence.

From a folder, or as the members of an archive whose signature holds; the same files are the same
policy.
"""

import os
import sys
from collections.abc import Mapping
from decimal import Decimal
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import msgspec

from rescind_guard.policy import PolicyFailed
from rescind_protocol import exact_json, redact
from rescind_protocol.errors import Malformed
from rescind_protocol.exact_json import Number

MAX_MODULES = 256
MAX_MODULE_BYTES = 2**20
"""Of all modules together: a policy of a megabyte is a data set."""
MAX_EXPONENT = sys.float_info.max_10_exp
"""Of a number in the data: beyond it, policies that compute would see infinity."""
MAX_DATA_BYTES = 64 * 2**10
"""`data` is copied on every call: 64 KiB cost more than all the rest of a check."""
DATA_FILE = "data.json"
NOT_READ = ("data.yaml", "data.yml", "patch.json", "policy.wasm")
"""What an OPA would take from a bundle and this does not: to leave it out would change answers."""
MODULE, TESTS = ".rego", "_test.rego"
_HIDDEN = "."


class Modules(msgspec.Struct, frozen=True):
    """The modules (name, source), by name, and the data beside them, as JSON."""

    sources: tuple[tuple[str, str], ...]
    data: str | None
    revision: str = ""
    """What whoever made them calls this state of them; a folder has none."""

    @property
    def name(self) -> str:
        """Return what evidence calls them: the digest, and the revision if there is one."""
        return f"{self.digest}@{self.revision}" if self.revision else self.digest

    @property
    def digest(self) -> str:
        """Return 16 hexadecimal digits that change with any of it; "none" if there is nothing."""
        said = msgspec.json.encode([self.sources, self.data])
        return sha256(said).hexdigest()[:16] if self.sources else "none"


def list_files(folder: Path) -> list[Path]:
    """Return the files of a policy below a folder, in order: modules but no tests, and the data.

    What is hidden, or in a hidden folder, is left out: there a mounted volume keeps other versions.
    Links to folders are not followed. Raises `OSError`: a folder that cannot be listed may hold a
    rule that denies, and `Path.rglob` would go past it without a word.
    """
    found: list[Path] = []
    for at, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(_HIDDEN)]
        # A folder that is called like a module is one that cannot be read: it is not passed over.
        found += [Path(at, name) for name in (*folders, *files) if _is_module(name)]
    data = folder / DATA_FILE
    found += [data] if data.exists() else []
    return sorted(found)


def _is_module(name: str) -> bool:
    return name.endswith(MODULE) and not name.endswith(TESTS) and not name.startswith(_HIDDEN)


def _raise(error: OSError) -> NoReturn:
    raise error


def read(folder: Path) -> Modules:
    """Read a folder; raises `PolicyFailed`."""
    try:
        files = list_files(folder)
        sizes = sum(each.stat().st_size for each in files)
        if len(files) > MAX_MODULES + 1 or sizes > MAX_MODULE_BYTES + MAX_DATA_BYTES:
            raise too_much(str(folder))
        members = {each.relative_to(folder).as_posix(): each.read_bytes() for each in files}
    except OSError as error:
        raise PolicyFailed(
            redact.sentence(f"{error.filename or folder} cannot be read: {error.strerror}")
        ) from error
    return of_members(members, str(folder))


def of_members(members: Mapping[str, bytes], where: str, revision: str = "") -> Modules:
    """Return the policy in these files, by path; raises `PolicyFailed`. `where`: for people.

    `data.json` in a folder is the data below the folder's path, as in an OPA.
    """
    names = sorted(name for name in members if name.endswith(MODULE) and not name.endswith(TESTS))
    if not names:
        raise PolicyFailed(f"there is no .rego file in {where}")
    if len(names) > MAX_MODULES or sum(len(members[name]) for name in names) > MAX_MODULE_BYTES:
        raise too_much(where)
    for name in members:
        if PurePosixPath(name).name in NOT_READ:
            raise PolicyFailed(f"{name[:80]} in {where} is not read here: data goes in {DATA_FILE}")
    try:
        sources = tuple((name, members[name].decode("utf-8")) for name in names)
    except UnicodeDecodeError as error:
        raise PolicyFailed(f"a file in {where} is not UTF-8") from error
    return Modules(sources, _data(members, where), revision)


def too_much(where: str) -> PolicyFailed:
    """Return the refusal of a policy that is too large."""
    return PolicyFailed(f"{where} holds over {MAX_MODULES} modules, or over a megabyte")


def _data(members: Mapping[str, bytes], where: str) -> str | None:
    files = sorted(name for name in members if PurePosixPath(name).name == DATA_FILE)
    if not files:
        return None
    if sum(len(members[name]) for name in files) > MAX_DATA_BYTES:
        raise PolicyFailed(
            f"{DATA_FILE} in {where} is over {MAX_DATA_BYTES} bytes; it is copied on every call"
        )
    data: dict[str, Any] = {}
    for name in files:
        _merge(data, name, members[name], where)
    return exact_json.canonical(data).decode("utf-8", "surrogatepass")


def _merge(data: dict[str, Any], name: str, raw: bytes, where: str) -> None:
    """Put one file's data in its place; what is there already is not replaced."""
    try:
        found = _in_fixed_notation(exact_json.loads(raw))
    except Malformed as error:
        raise PolicyFailed(f"{name[:80]} in {where} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise PolicyFailed(f"{name[:80]} in {where} is not a JSON object")
    for part in PurePosixPath(name).parent.parts:
        data = data.setdefault(part, {})
        if not isinstance(data, dict):
            raise PolicyFailed(f"{name[:80]} in {where} lies where there is data already")
    if data.keys() & found.keys():
        raise PolicyFailed(f"{name[:80]} in {where} says again what another file says")
    data.update(found)


def _in_fixed_notation(value: Any) -> Any:
    """Return the value with each number in a form that rego-cpp reads: it does not know `1e5`."""
    if isinstance(value, dict):
        return {name: _in_fixed_notation(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_in_fixed_notation(each) for each in value]
    if not isinstance(value, float | Number):
        return value
    number = Decimal(str(value))
    if abs(number.adjusted()) > MAX_EXPONENT:
        raise Malformed(f"the number {str(value)[:40]} is out of range")
    return Number(format(number, "f"))
