"""The one seam of the simulator in the reader: a signature that was verified is not verified twice.

Verifying is a pure function of three byte strings, and libsodium takes most of a simulated
schedule's time for it. Inside `known_signatures`, a triple that this process signed itself, or has
verified, is answered from a set; any other triple, a flipped bit included, is verified for real.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from rescind_protocol import jws
from rescind_protocol.keys import verifies

MAX_KNOWN = 50_000
"""Triples remembered: some tens of megabytes."""


class _Known:
    def __init__(self) -> None:
        self._good: set[tuple[bytes, bytes, bytes]] = set()

    def verifies(self, signature: bytes, message: bytes, public: bytes) -> bool:
        """Answer as `rescind_protocol.keys.verifies` does."""
        triple = (signature, message, public)
        if triple in self._good:
            return True
        if not verifies(signature, message, public):
            return False
        if len(self._good) >= MAX_KNOWN:
            self._good.clear()
        self._good.add(triple)
        return True


@contextmanager
def known_signatures() -> Iterator[None]:
    """Verify each signature once, in this process, until the end of the block."""
    with patch.object(jws, "verifies", _Known().verifies):
        yield
