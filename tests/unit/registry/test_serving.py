"""What the registry listens with."""

import socket
from pathlib import Path

from rescind_registry.config import RegistryConfig
from rescind_registry.serving import listen


def test_answers_are_not_held_back_for_an_acknowledgement(tmp_path: Path) -> None:
    """The socket names its protocol: only then asyncio switches Nagle's algorithm off."""
    config = RegistryConfig(issuer="https://issuer.example", folder=tmp_path, port=0)
    with listen(config) as listener:
        assert listener.proto == socket.IPPROTO_TCP
