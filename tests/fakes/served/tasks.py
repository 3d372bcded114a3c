"""A Celery application whose broker is a folder; each task says what its process's guard says."""

import os
from pathlib import Path
from typing import Any

from celery import Celery  # type: ignore[import-untyped]

import rescind
from tests.fakes.served import told

FOLDER = Path(os.environ["SERVED_FOLDER"])
app = Celery("orders", broker="filesystem://", backend=f"file://{FOLDER}")
app.conf.broker_transport_options = {
    "data_folder_in": str(FOLDER),
    "data_folder_out": str(FOLDER),
    "control_folder": str(FOLDER),
}
app.conf.worker_prefetch_multiplier = 1
sidecar = None if "SERVED_ASKS" in os.environ else rescind.Sidecar().start()
"""Whoever only sends tasks needs none."""


@app.task  # type: ignore[untyped-decorator]
def tell(asked: str | None) -> dict[str, Any]:
    """See `told`."""
    assert sidecar is not None
    return told(sidecar, asked)
