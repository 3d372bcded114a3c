"""The NATS server that the package brings is a real one, and new enough."""

import re
import subprocess
import sys
from pathlib import Path

LEAST = (2, 11)  # batched direct get


def test_server_is_new_enough_for_batched_direct_get() -> None:
    """The `nats-server` installed beside this Python is 2.11 or newer."""
    server = Path(sys.executable).with_name("nats-server")
    answer = subprocess.run([server, "--version"], check=True, capture_output=True, text=True)
    version = re.search(r"v(\d+)\.(\d+)\.", answer.stdout)
    assert version is not None, answer.stdout
    assert (int(version[1]), int(version[2])) >= LEAST
