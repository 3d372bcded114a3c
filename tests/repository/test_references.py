"""References in code and documents resolve inside the repository, and none points outside it.

An invariant (`I3`), a decision (`ADR 11`), an attack (`attack A3.2`), a section of a page
(`interop.md §1`) and an anchor (`architecture.md#trust`) are names that a reader looks up.
"""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
KINDS = {".py", ".pyi", ".md", ".toml", ".sh", ".conf", ".proto", ".sql"}
FOLDERS = (
    *("benchmarks", "deploy", "docs", "examples", "guard", "protocol", "publisher", "registry"),
    *("requirements", "rescind", "scripts", "subscriber", "tests"),
)
LABEL = r"[A-G][0-9]*(?:\.[0-9]+)?"
OUTSIDE = re.compile(r"\b(?:DESIGN|INTEROP|red-team|HOUSE\.md|STYLE\.md)\b|\.\./shared\b")

INVARIANT = re.compile(r"(?<![\w./-])I(\d+)\b")
DECISION = re.compile(r"(?<!NATS )\bADR[ -](\d+)\b")
ATTACK = re.compile(rf"\battack ({LABEL})\b")
SECTION = re.compile(r"\b([a-z][a-z-]*\.md) §(\d+)")
ANCHOR = re.compile(r"((?:\.\./)*(?:[\w-]+/)*[\w-]+\.md)#([\w-]+)")


def sources() -> Iterator[Path]:
    """Yield every text of the project but the two tests that invent references."""
    inventing = {Path(__file__), Path(__file__).with_name("test_docs_check.py")}
    inside = chain.from_iterable((ROOT / folder).rglob("*") for folder in FOLDERS)
    for path in sorted([*ROOT.glob("*"), *inside]):
        if path.suffix in KINDS and path.is_file() and path not in inventing:
            yield path


def headings(page: str, pattern: str) -> set[str]:
    """Return what `pattern` finds at the start of a page's headings."""
    text = (DOCS / page).read_text("utf-8")  # an absolute page stays what it is
    return set(re.findall(rf"^#+ {pattern}(?=[ .])", text, re.MULTILINE))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, by GitHub's rule."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+\s+(.+?)\s*#*$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def known_labels() -> set[str]:
    """Return the attacks' labels: those of headings, and of the numbered traces under them."""
    found: set[str] = set()
    label = ""
    for line in (DOCS / "attacks.md").read_text("utf-8").splitlines():
        if heading := re.match(rf"#+ ({LABEL})[. ]", line):
            label = heading[1]
            found.add(label)
        elif item := re.match(r"(\d+)\. ", line):
            found.add(f"{label}.{item[1]}")
    return found


INVARIANTS = headings("invariants.md", r"I(\d+)")
DECISIONS = {path.name[:4].lstrip("0") for path in (DOCS / "adr").glob("[0-9]*.md")}
LABELS = known_labels()


def place(page: str, here: Path) -> Path | None:
    """Return the page that a text at `here` means: beside it, in the documents, or at the root."""
    for folder in (here.parent, DOCS, ROOT):
        if (folder / page).is_file():
            return folder / page
    return None


def lost(text: str, here: Path) -> Iterator[str]:
    """Yield every reference in `text` that leads nowhere, as it is written there."""
    for pattern, known in (
        (INVARIANT, INVARIANTS),
        (DECISION, DECISIONS),
        (ATTACK, LABELS),
    ):
        for found in pattern.finditer(text):
            if found[1].lstrip("0") not in known:
                yield found[0]
    for found in SECTION.finditer(text):
        page = place(found[1], here)
        if page is None or found[2] not in headings(str(page), r"(\d+)"):
            yield found[0]
    for found in ANCHOR.finditer(text):
        page = place(found[1], here)
        if page is None or found[2] not in anchors(page):
            yield found[0]
    yield from (found[0] for found in OUTSIDE.finditer(text))


def test_every_reference_resolves() -> None:
    """In code, tests, configuration and documents."""
    found = [
        f"{path.relative_to(ROOT)}: {reference}"
        for path in sources()
        for reference in lost(path.read_text("utf-8"), path)
    ]
    assert not found


def test_there_is_much_to_resolve() -> None:
    """A search that finds nothing would prove nothing."""
    text = "\n".join(path.read_text("utf-8") for path in sources())
    for pattern, least in ((INVARIANT, 100), (DECISION, 30), (ATTACK, 30), (SECTION, 20)):
        assert len(pattern.findall(text)) > least
    assert len(INVARIANTS) == 10
    assert {"A1", "A1.6", "A3.7", "B6", "C", "D", "F"} <= LABELS


@pytest.mark.parametrize(
    "invented",
    [
        *("I11", "I0", "ADR 99", "ADR 0099", "attack A9", "attack A1.9", "attack G"),
        *("interop.md §6", "nowhere.md §1", "architecture.md#nowhere", "nowhere.md#trust"),
        *("DESIGN", "INTEROP §3", "red-team A2", "../shared/notes"),
    ],
)
def test_an_invented_reference_is_found(invented: str) -> None:
    """Control: each kind, in a text of its own."""
    assert list(lost(f"Denied before staleness ({invented}).", ROOT / "guard" / "x.py"))


@pytest.mark.parametrize(
    "real",
    ["I10", "ADR 7", "ADR 0005", "attack A3.2", "interop.md §5", "docs/architecture.md#trust"],
)
def test_a_real_reference_is_not(real: str) -> None:
    """The control finds nothing where there is nothing."""
    assert not list(lost(f"Denied before staleness ({real}).", ROOT / "guard" / "x.py"))
