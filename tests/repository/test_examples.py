"""The examples that documents show do what they say."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_tested_service_passes_its_tests() -> None:
    """`docs/testing.md` shows this file."""
    command = [sys.executable, "-m", "pytest", "-q", "examples/testing_a_service.py"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout
    assert "3 passed" in answer.stdout
