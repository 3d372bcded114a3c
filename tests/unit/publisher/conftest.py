"""What every test of a publisher goes by."""

import pytest

from tests.fakes.publishing import posts_no_trust


@pytest.fixture(autouse=True)
def _no_trust_posted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A publisher here stores what it is asked for and nothing else, however long a test takes."""
    posts_no_trust(monkeypatch)
