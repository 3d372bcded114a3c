"""What a process is called where nobody has named it: after the service that runs in it.

Whoever reads a receipt looks for a service by this name, so that it tells one from another on a
host; workers of one service have one name.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

MAX_CHARS = 40
UNKNOWN = "service"
_APPLICATION = re.compile(r"([A-Za-z_][\w.]*):[A-Za-z_][\w.]*(?:\(.*\))?")
"""As servers are told what to serve: `orders.main:app`."""
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
_COMMON = frozenset(
    (
        *("api", "app", "application", "asgi", "main", "manage", "mcp", "run", "serve", "server"),
        *("service", "start", "web", "worker", "wsgi", "python", "python3"),
        *("celery", "daphne", "granian", "gunicorn", "hypercorn", "uvicorn", "uwsgi"),
    )
)
"""What many services call it: the folder they lie in tells them apart."""


def of_process() -> str:
    """Return the name of this process's service."""
    try:
        folder = Path.cwd().name
    except OSError:  # it was removed
        folder = ""
    return of_program(sys.argv or [""], folder)


def of_program(argv: Sequence[str], folder: str) -> str:
    """Return a name that a file can have, from a command line and the folder it was given in."""
    name = _service(argv)
    if name.rpartition(".")[2].lower() in _COMMON and folder not in ("", name):
        name = f"{folder}.{name}"
    return _UNFIT.sub("-", name).strip(".-")[-MAX_CHARS:].strip(".-") or UNKNOWN


def _service(argv: Sequence[str]) -> str:
    for word in argv[1:]:
        if found := _APPLICATION.fullmatch(word):
            return found[1]
    program = Path(argv[0])
    if program.name == "__main__.py":  # python -m orders
        program = program.parent
    name = program.stem if program.suffix in (".py", ".pyc", ".pyz") else program.name
    if name == "rescind":
        command = next((word for word in argv[1:] if not word.startswith("-")), "")
        return f"rescind-{command}" if command else name
    return name if name not in ("", "-c", "-m") else "python"
