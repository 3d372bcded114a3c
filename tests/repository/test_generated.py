"""What is generated and committed is what its source gives today."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = "rescind_subscriber/grpc_wire"


@pytest.mark.parametrize("name", ["revocations_pb2.py", "revocations_pb2.pyi"])
def test_messages_are_what_protoc_makes(name: str, tmp_path: Path) -> None:
    """`make proto` would change nothing."""
    subprocess.run([ROOT / "scripts/proto.sh"], env=os.environ | {"OUT": str(tmp_path)}, check=True)
    made = (tmp_path / FOLDER / name).read_text("utf-8")
    assert made == (ROOT / "subscriber" / FOLDER / name).read_text("utf-8")
