"""Where the time of a run goes: a pytest plugin that prints it by module, `make test TIMES=1`.

Seconds of the clock and of processors: a test that waits has the first alone, and can have others
beside it. The children's are counted when they are waited for. What modules share, the first test
pays for.
"""

import os
from collections.abc import Generator
from typing import Any

import pytest

MOST = 40
"""Modules shown; the rest is summed up."""


class Times:
    """Sums up what each module took; in a worker of pytest-xdist it only measures."""

    def __init__(self) -> None:
        self._modules: dict[str, list[float]] = {}
        self._before = _cpu_s()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Write the processors' seconds of a phase into its report."""
        report = yield
        now = _cpu_s()
        report.__dict__["cpu_s"] = now - self._before
        self._before = now
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add a phase up."""
        row = self._modules.setdefault(report.nodeid.partition("::")[0], [0.0, 0.0, 0.0])
        row[0] += report.when == "call"
        row[1] += report.duration
        row[2] += report.__dict__.get("cpu_s", 0.0)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Write the table, those with the most processor time first."""
        rows = sorted(self._modules.items(), key=lambda row: -row[1][2])
        rest = [sum(column) for column in zip(*(row for _, row in rows[MOST:]), strict=True)]
        shown = rows[:MOST] + ([(f"{len(rows) - MOST} others", rest)] if rest else [])
        total = [sum(column) for column in zip(*(row for _, row in rows), strict=True)]
        terminalreporter.section("times by module")
        terminalreporter.write_line("| module | tests | clock s | cpu s |\n|---|---|---|---|")
        for name, (tests, clock_s, cpu_s) in [*shown, ("all", total or [0.0, 0.0, 0.0])]:
            terminalreporter.write_line(f"| {name} | {tests:.0f} | {clock_s:.1f} | {cpu_s:.1f} |")


def _cpu_s() -> float:
    """Return the processors' seconds of this process and of its children that have ended."""
    at = os.times()
    return at.user + at.system + at.children_user + at.children_system


def pytest_configure(config: pytest.Config) -> None:
    """Measure."""
    config.pluginmanager.register(Times(), "times")
