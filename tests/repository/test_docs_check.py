"""The document check finds what is wrong, and only that."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def check(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the check over the pages of one folder."""
    return subprocess.run(
        [sys.executable, ROOT / "docs" / "check.py", "--root", root, *options],
        capture_output=True,
        text=True,
        check=False,
    )


def test_good_links_pass(tmp_path: Path) -> None:
    """Files, folders, headings, the web and examples in code are all fine."""
    (tmp_path / "b.md").write_text("# The other `page`\n")
    (tmp_path / "a.md").write_text(
        "[f](b.md) [h](b.md#the-other-page) [d](.) [w](https://example.org/x)\n"
        "`[code](nowhere.md)`\n```\n[code](nowhere.md)\n```\n"
    )
    answer = check(tmp_path)
    assert answer.returncode == 0, answer.stdout


def test_broken_links_are_named_with_their_line(tmp_path: Path) -> None:
    """A missing file and a missing heading are problems of their lines."""
    (tmp_path / "a.md").write_text("# A\n[x](gone.md)\n[y](#none)\n[z]: lost.md\n")
    answer = check(tmp_path)
    assert answer.returncode == 1
    assert "a.md:2: link to gone.md: no such file" in answer.stdout
    assert "a.md:3: link to #none: no such heading" in answer.stdout
    assert "a.md:4: link to lost.md: no such file" in answer.stdout


def test_stale_part_is_found_and_renewed(tmp_path: Path) -> None:
    """A generated part that differs fails; `--write` renews it and the next check passes."""
    (tmp_path / "Makefile").write_text("help:\n\t@echo the targets\n")
    page = tmp_path / "a.md"
    page.write_text("<!-- generated: make help -->\nold\n<!-- end -->\n")
    assert check(tmp_path).returncode == 1
    assert check(tmp_path, "--write").returncode == 0
    assert check(tmp_path).returncode == 0
    assert "```text\nthe targets\n```\n<!-- end -->" in page.read_text()


def test_unknown_part_is_a_problem(tmp_path: Path) -> None:
    """A part that nothing generates never passes as current."""
    (tmp_path / "a.md").write_text("<!-- generated: nothing -->\n<!-- end -->\n")
    answer = check(tmp_path)
    assert answer.returncode == 1
    assert "no generator is called 'nothing'" in answer.stdout
