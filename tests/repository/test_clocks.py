"""Clocks are injected: nothing decides by one that a test, or a suspended laptop, cannot set.

`time.monotonic` is CLOCK_MONOTONIC, which stands still while a host is suspended; the wall clock
jumps. So whatever decides asks a `Clock` for both. What is left is named here, with its reason.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROLES = ("protocol", "guard", "subscriber", "publisher", "registry", "rescind")

PEOPLE = "shown to people, or written into what they ask for here and now"
DEADLINE = "how long to wait or how long something took, on this host, while it runs; nothing is "
DEADLINE += "judged by it"
ALLOWED = {
    "guard/rescind_guard/freshness.py": "SystemClock: the one place that reads them",
    "guard/rescind_guard/metrics.py": DEADLINE,
    "subscriber/rescind_subscriber/memory.py": DEADLINE,
    "subscriber/rescind_subscriber/keys/stream.py": DEADLINE,
    "publisher/rescind_publisher/receipts.py": DEADLINE,
    "publisher/rescind_publisher/hand.py": DEADLINE,
    "publisher/rescind_publisher/engine.py": DEADLINE,
    "publisher/rescind_publisher/control_client.py": DEADLINE,
    "publisher/rescind_publisher/hearing.py": DEADLINE,
    "publisher/rescind_publisher/applied.py": PEOPLE,
    "registry/rescind_registry/acts.py": DEADLINE,
    "registry/rescind_registry/feeds/applied.py": "an allowance a second, on this host",
    "rescind/embedded/redis.py": DEADLINE,
    "rescind/embedded/server.py": DEADLINE,
    "rescind/cli/": PEOPLE,
    "rescind/demo/": "a program of its own, which measures itself",
}
WALL = {"time.time", "time.time_ns", "time.localtime", "time.ctime"}
WALL |= {f"datetime.{each}" for each in ("now", "utcnow", "today")} | {"date.today"}
STEADY = {
    f"time.{each}{unit}"
    for each in ("monotonic", "perf_counter", "clock_gettime", "process_time", "thread_time")
    for unit in ("", "_ns")
}


def reads(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and name of each reading of a clock, or of a name that hides one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
            if (said := f"{name}.{node.attr}") in WALL | STEADY:
                yield node.lineno, said
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from ((node.lineno, f"from time import {each.name}") for each in node.names)
        elif isinstance(node, ast.Import):
            hidden = (each for each in node.names if each.name == "time" and each.asname)
            yield from ((node.lineno, f"import time as {each.asname}") for each in hidden)


def sources() -> Iterator[tuple[str, str]]:
    """Yield path and text of every module that is shipped."""
    for role in ROLES:
        for path in sorted((ROOT / role).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text("utf-8")


def reason(path: str) -> str | None:
    """Return why a module may read a clock."""
    return next((why for start, why in ALLOWED.items() if path.startswith(start)), None)


def test_nothing_reads_a_clock_without_a_reason() -> None:
    """Every other module is given its clocks."""
    found = [
        f"{path}:{line}: {what}"
        for path, text in sources()
        if reason(path) is None
        for line, what in reads(text)
    ]
    assert not found, "\n".join(found)


def test_what_measures_reads_no_wall_clock() -> None:
    """A wait by a clock that jumps would end at once, or never."""
    for path, text in sources():
        if reason(path) is DEADLINE:
            walls = WALL & {what for _, what in reads(text)}
            assert not walls, f"{path}: {walls}"


def test_every_exception_is_needed() -> None:
    """One that nothing uses any more would hide the next."""
    for start in ALLOWED:
        used = [path for path, text in sources() if path.startswith(start) and any(reads(text))]
        assert used, start


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.time()",
        "import time\nf(clock=time.monotonic)",
        "from time import monotonic as now",
        "import time as t",
        "from datetime import datetime, UTC\ndatetime.now(UTC)",
        "import datetime\ndatetime.datetime.utcnow()",
        "import datetime\ndatetime.date.today()",
    ],
)
def test_each_way_to_read_one_is_found(source: str) -> None:
    """Control: the check sees what it is there for."""
    assert list(reads(source))


def test_the_names_of_others_are_not_clocks() -> None:
    """Control: `loop.time()` and `self.time` are no readings of the host's clock by us."""
    assert not list(reads("loop.time()\nself.time\ntime.sleep(1)\ntime.strftime('%Y', at)"))
