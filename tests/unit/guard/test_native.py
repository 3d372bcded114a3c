"""Real threads, in a process whose threads gevent has replaced; each in a process of its own."""

import subprocess
import sys
import threading

import pytest

from rescind_guard import native

GEVENT = "from gevent import monkey; monkey.patch_all()"


def run(program: str) -> str:
    """Return what a Python program writes."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "order",
    [f"{GEVENT}\nfrom rescind_guard import native", f"from rescind_guard import native\n{GEVENT}"],
)
def test_a_real_thread_runs_while_a_greenlet_computes(order: str) -> None:
    """It goes on although the main greenlet never lets another run, whoever was there first."""
    program = f"""
{order}
assert native.replaced_by() == "gevent"
ran, mine = [], native.get_ident()
thread = native.start(lambda: ran.append(native.get_ident() != mine), "test")
while not ran:
    pass
thread.join(10)
print(ran, thread.is_alive())
"""
    assert run(program) == "[True] False"


def test_a_thread_of_threading_would_wait() -> None:
    """Negative control: under gevent it is a greenlet."""
    program = f"""
{GEVENT}
import threading
ran = []
threading.Thread(target=lambda: ran.append(1), daemon=True).start()
found = [len(ran) for _ in range(100_000)]
print(sum(found[1:]) == (len(found) - 1) * found[0])
"""
    assert run(program) == "True"


def test_a_loop_looks_names_up_on_real_threads() -> None:
    """`Loop` needs no greenlet to run: it resolves a name while the main one computes."""
    program = f"""
{GEVENT}
import asyncio
from rescind_guard import native
from rescind_subscriber import loops
found = []
async def look():
    found.append(await asyncio.get_running_loop().getaddrinfo("localhost", 1))
native.start(lambda: loops.run(look()), "test")
while not found:
    pass
print(bool(found[0]))
"""
    assert run(program) == "True"


def test_a_flag_is_seen_by_all_who_wait() -> None:
    """Once set it stays; an unset one is waited for as long as is said."""
    flag, seen = native.Flag(), []
    assert not flag.wait(0)
    threads = [threading.Thread(target=lambda: seen.append(flag.wait(30))) for _ in range(2)]
    for each in threads:
        each.start()
    flag.set()
    for each in threads:
        each.join(30)
    assert seen == [True, True]
    assert flag.wait(0)


def test_a_bell_that_was_rung_twice_wakes_once() -> None:
    """Who looks after it has looked at everything before."""
    bell = native.Bell()
    bell.ring()
    bell.ring()
    assert bell.wait(0)
    assert not bell.wait(0)
