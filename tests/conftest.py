"""Hypothesis profiles: `default` in every run, `fuzz` by `make fuzz`. And what shares a process."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# A slow machine is no defect: no test fails on time (deadline, too_slow).
settings.register_profile(
    "default",
    max_examples=100,
    deadline=None,
    derandomize="CI" in os.environ,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "fuzz", settings.get_profile("default"), max_examples=20_000, derandomize=False
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

ALONE = ("function", "class")
"""Scopes of fixtures that a test shares with no other."""


@pytest.fixture(autouse=True)
def umask_as_before() -> Iterator[None]:
    """Put the process's umask back: a command that a test calls here sets it."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests that share a server in one process of pytest-xdist; any other may go anywhere."""
    for item in items:
        if isinstance(item, pytest.Function) and _shares(item):
            item.add_marker(pytest.mark.xdist_group(f"{item.path.parent.name}.{item.path.stem}"))


def _shares(item: pytest.Function) -> bool:
    used = item._fixtureinfo.name2fixturedefs.values()
    return any(each.scope not in ALONE and each.baseid for defined in used for each in defined[-1:])
