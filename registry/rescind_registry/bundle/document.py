"""`Document`: the bundle's data as it stands, its revision, and what changed since earlier ones.

Pure: a table and positions in, bytes out. The revision is a digest of where every log stands and of
every line of the data, so that nodes which know the same say the same, whatever the order in which
they came to know it; and no kill leaves it as it was.

A delta never is empty: an OPA that gets an empty one loses all its data. It always sets
`data.rescind.revision`.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from hashlib import sha256

import msgspec

from rescind_protocol.encoding import b64url_encode
from rescind_protocol.image import Image
from rescind_protocol.table import ALIVE, Entry, Table, differences
from rescind_registry.bundle.lines import AGENTS, LOGS, SECTIONS, Line, encode, lines_of
from rescind_registry.bundle.policy import MODULES

FORMAT = 2
"""Of the data; another one gives other revisions."""
MAX_STEPS = 4096
"""Earlier revisions that a delta can begin at."""
MAX_OPERATIONS = 5000
"""In one delta; beyond it a snapshot is as quick (619 ms to activate 100,000, measured in OPA)."""
REVISION = "/rescind/revision"
LISTED = "/agents"
"""The agents in the reference's form; a delta replaces the whole list."""
_MODULUS = 2**128
_NOTHING = Entry(ALIVE, ())
_KEEP = 2 * MAX_OPERATIONS

Slot = tuple[str, str]
"""Section and key: what one operation of a delta sets."""
Parts = tuple[tuple[str, bytes], ...]
"""Values by issuer, in order; of all but badges there is one, of no issuer."""


class Step(msgspec.Struct, frozen=True):
    """What one change touched: each slot, and whether there was anything in it before."""

    touched: Mapping[Slot, bool]


class Captured(msgspec.Struct, frozen=True):
    """The data of one revision, to be written in another thread."""

    fabric: str
    revision: str
    sections: Mapping[str, Mapping[str, Parts]]


class Document:
    """Belongs to one loop; what `capture` and `delta` return belongs to nobody."""

    def __init__(self, fabric: str) -> None:
        self._fabric = fabric
        self._table = Table()
        self._sections: dict[str, dict[str, Parts]] = {name: {} for name in SECTIONS}
        self._sum = 0
        self._steps: deque[Step] = deque()
        self._held = 0
        self._first = 0
        """Number of the oldest step."""
        self._numbers: dict[str, int] = {}
        self._positions = Image()
        self._trust = 1
        self.revision = self._revise()
        self._numbers[self.revision] = 0

    def __repr__(self) -> str:
        return f"<Document {self.revision[:11]}, {len(self._table)} targets>"

    def advance(self, table: Table, positions: Image, trust: int = 1) -> bool:
        """Take the state of a later moment; return whether it is another revision.

        `trust` is the version of the trust file that is gone by: it is in the signed form.
        """
        touched: dict[Slot, bool] = {}
        for _, old, new in differences(self._table, table):
            self._replace(old, new, touched)
        for log, at in positions.vector.items():
            was = self._positions.vector.get(log)
            if was is None or was.seq != at.seq:
                old_line = [] if was is None else [Line(LOGS, log, "", encode(was.seq))]
                self._change(old_line, [Line(LOGS, log, "", encode(at.seq))], touched)
        self._table, self._positions, self._trust = table, positions, trust
        before, self.revision = self.revision, self._revise()
        if before == self.revision:
            return False
        self._remember(Step(touched))
        return True

    def _replace(self, old: Entry | None, new: Entry | None, touched: dict[Slot, bool]) -> None:
        if old is None or new is None:
            for line in lines_of(old or new or _NOTHING):
                self._put(line, touched, lives=old is None)
        else:
            self._change(lines_of(old), lines_of(new), touched)

    def _change(self, old: Iterable[Line], new: Iterable[Line], touched: dict[Slot, bool]) -> None:
        gone, come = set(old), set(new)
        for line in gone - come:
            self._put(line, touched, lives=False)
        for line in come - gone:
            self._put(line, touched, lives=True)

    def _put(self, line: Line, touched: dict[Slot, bool], *, lives: bool) -> None:
        section = self._sections[line.section]
        parts = section.get(line.key, ())
        touched.setdefault((line.section, line.key), bool(parts))
        rest = [part for part in parts if part[0] != line.issuer]
        if lives:
            rest.append((line.issuer, line.value))
        if rest:
            section[line.key] = tuple(sorted(rest))
        else:
            section.pop(line.key, None)
        self._sum = (self._sum + (_number(line) if lives else -_number(line))) % _MODULUS

    def _revise(self) -> str:
        """Return the name of this state; 256 bits, for nobody may find two states of one name."""
        said = (
            FORMAT,
            self._fabric,
            self._trust,
            sorted(MODULES.items()),
            sorted((log, at.seq, at.digest) for log, at in self._positions.vector.items()),
            sorted((log, sorted(links)) for log, links in self._positions.above.items()),
            self._sum.to_bytes(16, "big"),
        )
        return b64url_encode(sha256(msgspec.msgpack.encode(said)).digest())

    def _remember(self, step: Step) -> None:
        self._steps.append(step)
        self._held += len(step.touched)
        self._numbers[self.revision] = self._first + len(self._steps)
        while len(self._steps) > MAX_STEPS or self._held > _KEEP:
            self._held -= len(self._steps.popleft().touched)
            self._first += 1
        if len(self._numbers) > 2 * MAX_STEPS:
            kept = self._numbers.items()
            self._numbers = {name: n for name, n in kept if n >= self._first}

    # --- what is handed out ---

    def capture(self) -> Captured:
        """Return all of the data; a copy of references, some milliseconds at 100,000."""
        sections = {name: dict(lines) for name, lines in self._sections.items()}
        return Captured(self._fabric, self.revision, sections)

    def number(self, revision: str) -> int | None:
        """Return the number of an earlier revision, None where it is not remembered."""
        number = self._numbers.get(revision)
        return number if number is not None and number >= self._first else None

    def delta(self, revision: str) -> bytes | None:
        """Return the `patch.json` that leads from an earlier revision to this one.

        None where it is not known what changed since, or too much has.
        """
        number = self.number(revision)
        if number is None or revision == self.revision:
            return None
        touched: dict[Slot, bool] = {}
        for index in range(number - self._first, len(self._steps)):
            for slot, was_there in self._steps[index].touched.items():
                touched.setdefault(slot, was_there)
            if len(touched) > MAX_OPERATIONS:
                return None
        done = [_upsert(REVISION, encode(self.revision))]
        done += [op for slot in sorted(touched) if (op := self._operation(slot, touched[slot]))]
        if any(section == AGENTS for section, _ in touched):
            agents = self._sections[AGENTS]
            if len(agents) > MAX_OPERATIONS:
                return None
            done.append(_upsert(LISTED, _listed(agents)))
        return b'{"data":[' + b",".join(done) + b"]}"

    def _operation(self, slot: Slot, was_there: bool) -> bytes | None:  # noqa: FBT001 - two callers
        section, key = slot
        path = f"/{section}/{pointer(key)}"
        parts = self._sections[section].get(key)
        if parts is not None:
            return _upsert(path, value_of(section, parts))
        # OPA refuses a delta that removes what is not there.
        return b'{"op":"remove","path":' + encode(path) + b"}" if was_there else None


def pointer(key: str) -> str:
    """Return a key as OPA reads one step of a patch's path: percent-decoded, then RFC 6901 §4."""
    return key.replace("~", "~0").replace("/", "~1").replace("%", "%25")


def value_of(section: str, parts: Parts) -> bytes:
    """Return the value at a slot; a badge's has one for each issuer."""
    if section != "revocations/badge":
        return parts[0][1]
    return b"{" + b",".join(encode(issuer) + b":" + value for issuer, value in parts) + b"}"


def _upsert(path: str, value: bytes) -> bytes:
    return b'{"op":"upsert","path":' + encode(path) + b',"value":' + value + b"}"


def _number(line: Line) -> int:
    """A line as a 128-bit number, for a sum that does not depend on order."""
    said = msgspec.msgpack.encode(line)
    return int.from_bytes(sha256(said).digest()[:16], "big")


# --- the whole ---


def data_of(captured: Captured) -> bytes:
    """Return `data.json`: canonical, so that its SHA-256 is what OPA computes from its value."""
    objects = {name: _object(name, lines) for name, lines in captured.sections.items()}
    kinds = [name for name in objects if name.startswith("revocations/")]
    revocations = b",".join(
        encode(name.partition("/")[2]) + b":" + objects[name] for name in sorted(kinds)
    )
    return b"".join(
        (
            b'{"agents":',
            _listed(captured.sections[AGENTS]),
            b',"rescind":{"agents":',
            objects[AGENTS],
            b',"fabric":',
            encode(captured.fabric),
            b',"logs":',
            objects[LOGS],
            b',"revision":',
            encode(captured.revision),
            b'},"revocations":{',
            revocations,
            b"}}",
        )
    )


def _listed(agents: Mapping[str, Parts]) -> bytes:
    """Return the agents as the reference lists them: `{"did": …, …}` each, in order."""
    rows = (b'{"did":' + encode(did) + b"," + agents[did][0][1][1:] for did in sorted(agents))
    return b"[" + b",".join(rows) + b"]"


def _object(section: str, lines: Mapping[str, Parts]) -> bytes:
    return (
        b"{"
        + b",".join(encode(key) + b":" + value_of(section, lines[key]) for key in sorted(lines))
        + b"}"
    )
