"""One fabric for all of these tests, and a folder for a test alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.terminal import Running, Terminal

OFTEN = {"RESCIND_HEARTBEAT_S": "0.1"}
"""Each command waits for a head: ten a second make the tests faster, not different."""


@pytest.fixture(scope="package")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`rescind up` on a new folder."""
    home = tmp_path_factory.mktemp("fabric") / "home"
    with Terminal(home).start("up", "--port", "0", "--json", **OFTEN) as running:
        running.wait_for("state", state="LIVE")
        yield running


@pytest.fixture
def terminal(up: Running) -> Terminal:
    """Commands on that folder."""
    return Terminal(Path(up.wait_for("up")["home"]))


@pytest.fixture
def own(tmp_path: Path) -> Terminal:
    """A folder for one test alone."""
    return Terminal(tmp_path / "home")
