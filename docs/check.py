"""Check the documents: relative links resolve, generated parts are what the program says today.

A generated part stands between two comments, `<!-- generated: NAME -->` and `<!-- end -->`.
NAME is a key of `GENERATORS`, a program `examples/….py`, or a `rescind … --help` command. `--write`
renews the parts; without it a part that differs is a problem. Exit code 1 if there is any problem.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import parts

FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"(?:\]\(\s*|^\[[^\]\n]+\]:\s*)<?([^)\s>]+)", re.MULTILINE)
HEADING = re.compile(r"^#+\s+(.+?)\s*#*$", re.MULTILINE)
OUTSIDE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
PART = re.compile(r"(<!-- generated: ([^\n]+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


class UnknownPartError(Exception):
    """No generator has the name that a document asks for."""


def fenced(text: str) -> str:
    """Return `text` as a block of plain text."""
    return f"```text\n{text.rstrip()}\n```\n"


def make_help(root: Path) -> str:
    """Return what bare `make` prints."""
    return fenced(run(["make", "--no-print-directory", "help"], root))


def chaos_help(root: Path) -> str:
    """Return what the chaos suite says of itself."""
    return fenced(run([sys.executable, "-m", "tests.chaos", "--help"], root))


def adr_index(root: Path) -> str:
    """Return the table of decisions, from each record's title and status."""
    rows = ["| | decision | status |", "|---|---|---|"]
    for record in sorted((root / "docs" / "adr").glob("[0-9]*.md")):
        text = record.read_text(encoding="utf-8")
        title = re.search(r"^# \d+\. (.+)$", text, re.MULTILINE)
        status = re.search(r"^## Status\n+(.+)$", text, re.MULTILINE)
        if title is None or status is None:
            raise UnknownPartError(f"{record.name}: needs '# N. Title' and '## Status'")
        rows.append(f"| [{record.name[:4]}]({record.name}) | {title[1]} | {status[1]} |")
    return "\n".join(rows) + "\n"


GENERATORS: dict[str, Callable[[Path], str]] = {
    "make help": make_help,
    "adr index": adr_index,
    "state table": parts.state_table,
    "settings": parts.settings,
    "faults": parts.faults,
    "tool codes": parts.tool_codes,
    "metrics": parts.metrics,
    "freshness rule": parts.freshness_rule,
    "enforcement modes": parts.enforcement_modes,
    "reasons": parts.reasons,
    "chaos help": chaos_help,
}


def run(command: list[str], root: Path) -> str:
    """Return a command's standard output, in 80 columns without colour."""
    plain = os.environ | {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    answer = subprocess.run(
        command, cwd=root, env=plain, check=True, capture_output=True, text=True
    )
    return answer.stdout


def generate(name: str, root: Path) -> str:
    """Return the text of the part called `name`; raise `UnknownPartError` if there is none."""
    if name in GENERATORS:
        return GENERATORS[name](root)
    if name.startswith("examples/"):
        return parts.example(root, name)
    words = name.split()
    if words[0] == "rescind" and words[-1] == "--help":
        command = [str(Path(sys.executable).with_name("rescind")), *words[1:]]
        return fenced(run(command, root))
    raise UnknownPartError(f"no generator is called {name!r}")


def slug(heading: str) -> str:
    """Return the anchor of a heading, by GitHub's rule."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def blanked(text: str) -> str:
    """Return `text` with code replaced by blanks, so that line numbers stay."""
    for pattern in (FENCE, CODE):
        text = pattern.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), text)
    return text


def anchors(page: Path) -> set[str]:
    """Return all anchors that a page's headings make."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return {slug(heading) for heading in HEADING.findall(text)}


def broken(page: Path, target: str) -> str | None:
    """Return why a link does not resolve, or None."""
    name, _, anchor = target.partition("#")
    place = (page.parent / unquote(name)) if name else page
    if not place.exists():
        return f"link to {target}: no such file"
    if anchor and place.suffix == ".md" and anchor not in anchors(place):
        return f"link to {target}: no such heading"
    return None


def link_problems(page: Path) -> Iterator[tuple[int, str]]:
    """Yield line and problem of every relative link that does not resolve."""
    text = blanked(page.read_text(encoding="utf-8"))
    for link in LINK.finditer(text):
        if OUTSIDE.match(link[1]):
            continue
        problem = broken(page, link[1])
        if problem:
            yield text.count("\n", 0, link.start()) + 1, problem


def part_problems(page: Path, root: Path, *, write: bool) -> Iterator[tuple[int, str]]:
    """Yield line and problem of every generated part that is not current; renew it if `write`."""
    text = page.read_text(encoding="utf-8")
    renewed = text
    for part in PART.finditer(text):
        line = text.count("\n", 0, part.start()) + 1
        try:
            now = generate(part[2], root)
        except (UnknownPartError, OSError, subprocess.CalledProcessError) as error:
            yield line, f"generated part {part[2]!r}: {error}"
            continue
        if now == part[3]:
            continue
        renewed = renewed.replace(part[0], part[1] + now + part[4])
        if not write:
            yield line, f"generated part {part[2]!r} is not current: make docs WRITE=1"
    if write and renewed != text:
        page.write_text(renewed, encoding="utf-8")


def pages(root: Path) -> Iterator[Path]:
    """Yield every Markdown page of the project."""
    for page in sorted(root.rglob("*.md")):
        inside = page.relative_to(root).parts
        if not any(part == "dist" or part.startswith(".") for part in inside):
            yield page


def main() -> int:
    """Check all pages; print one line a problem, or one line of what was checked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help="renew the generated parts")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1])
    args = parser.parse_args()
    count = problems = 0
    for page in pages(args.root):
        count += 1
        found = [*part_problems(page, args.root, write=args.write), *link_problems(page)]
        for line, problem in found:
            print(f"{page.relative_to(args.root)}:{line}: {problem}")
        problems += len(found)
    print(f"docs: {count} pages, {problems} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
