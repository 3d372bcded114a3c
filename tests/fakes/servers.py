"""Real servers in front of the small service of `tests.fakes.served`, each with two workers."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import httpx2

from tests.fakes.terminal import Running, Terminal, free_port
from tests.fakes.waiting import wait_until

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
WORKERS = 2
WITHIN_S = 60.0
"""A server imports the application once for each worker, on a machine that may be busy."""
WSGI, ASGI = "tests.fakes.served.wsgi:app", "tests.fakes.served.asgi:app"

Told = dict[str, Any]
Command = Callable[[int], list[str]]
"""→ how the server is started on a port."""


def _gunicorn(*more: str) -> Command:
    return lambda port: ["gunicorn", "-b", f"127.0.0.1:{port}", "-w", str(WORKERS), *more, WSGI]


def uwsgi(*more: str) -> Command:
    """Return how uWSGI is started."""
    return lambda port: [
        *("pyuwsgi", "--http-socket", f"127.0.0.1:{port}", "--module", WSGI, "--die-on-term"),
        *("--processes", str(WORKERS), "--virtualenv", sys.prefix, *more),
    ]


def _granian(interface: str, app: str) -> Command:
    return lambda port: [
        *("granian", "--interface", interface, "--port", str(port)),
        *("--workers", str(WORKERS), app),
    ]


HTTP: dict[str, Command] = {
    "gunicorn sync": _gunicorn(),
    "gunicorn sync --preload": _gunicorn("--preload"),
    "gunicorn gthread": _gunicorn("-k", "gthread", "--threads", "2"),
    "gunicorn gevent": _gunicorn("-k", "gevent"),
    "gunicorn gevent --preload": _gunicorn("-k", "gevent", "--preload"),
    "uWSGI": uwsgi("--master", "--enable-threads"),
    "uWSGI lazy-apps": uwsgi("--master", "--enable-threads", "--lazy-apps"),
    "uWSGI without a master": uwsgi("--enable-threads"),
    "uvicorn": lambda port: ["uvicorn", "--port", str(port), "--workers", str(WORKERS), ASGI],
    "granian ASGI": _granian("asgi", ASGI),
    "granian WSGI": _granian("wsgi", WSGI),
    "hypercorn": lambda port: ["hypercorn", "-b", f"127.0.0.1:{port}", "-w", str(WORKERS), ASGI],
}
"""Servers of HTTP, by what they are called in the documents."""
OTHERS = ("celery prefork", "multiprocessing fork", "multiprocessing spawn")


class Served:
    """Workers that run, and questions to them."""

    def __init__(self, ask: Callable[[str | None], list[Told]], said: Callable[[], str]) -> None:
        self._ask, self.said = ask, said
        self.url = ""
        """Of those that speak HTTP."""

    def until(self, matches: Callable[[Told], bool], badge: str | None = None) -> set[int]:
        """Return the workers' process ids once all of them answer so."""
        found: dict[int, bool] = {}

        def all_match() -> bool:
            found.update((each["pid"], matches(each)) for each in self._ask(badge))
            return len(found) >= WORKERS and all(found.values())

        try:
            wait_until(all_match, WITHIN_S)
        except AssertionError:
            raise AssertionError(f"workers: {found}; they wrote: {self.said()}") from None
        return set(found)

    def codes(self, badge: str, code: str) -> set[int]:
        """Return the process ids once every worker's guard says this of a badge."""
        return self.until(lambda told: told["code"] == code, badge)

    def live(self) -> set[int]:
        """Return the process ids once every worker's view is fresh."""
        return self.until(lambda told: told["state"] == "LIVE")


@contextmanager
def serving(name: str, terminal: Terminal, folder: Path, **more: str) -> Iterator[Served]:
    """Start a server by its name in the documents, and end it."""
    environment = terminal.environment(PYTHONPATH=str(ROOT), SERVED_FOLDER=str(folder), **more)
    if name in HTTP:
        with running(HTTP[name], environment) as served:
            yield served
    elif name == "celery prefork":
        with _celery(environment) as served:
            yield served
    else:
        with _processes(name.rpartition(" ")[2], environment) as served:
            yield served


@contextmanager
def running(command: Command, environment: dict[str, str]) -> Iterator[Served]:
    """Start a server of HTTP."""
    port = free_port()
    words = command(port)
    with _ended(Running([str(BIN / words[0]), *words[1:]], environment)) as process:

        def ask(badge: str | None) -> list[Told]:
            headers = {"X-Asked": badge} if badge else {}
            try:
                answer = httpx2.get(f"{served.url}/told", headers=headers, timeout=WITHIN_S)
                return [answer.raise_for_status().json()]
            except httpx2.HTTPError:
                assert process.process.poll() is None, said()
                return []

        def said() -> str:
            return "\n".join([*process.lines, *process.errors])

        served = Served(ask, said)
        served.url = f"http://127.0.0.1:{port}"
        yield served


@contextmanager
def _ended(process: Running) -> Iterator[Running]:
    """End a server and its workers; what it says at its end is its own affair."""
    try:
        yield process
    finally:
        process.process.send_signal(signal.SIGTERM)
        try:
            process.process.wait(10)
        except subprocess.TimeoutExpired:
            children = Path(f"/proc/{process.process.pid}/task/{process.process.pid}/children")
            for each in children.read_text().split():
                os.kill(int(each), signal.SIGKILL)
            process.process.kill()
            process.process.wait()


@contextmanager
def _celery(environment: dict[str, str]) -> Iterator[Served]:
    app = ("-A", "tests.fakes.served.tasks")
    words = [str(BIN / "celery"), *app, "worker", "--pool", "prefork", "-c", str(WORKERS)]
    asking = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.served.asking"],
        env={**environment, "SERVED_ASKS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with asking, _ended(Running([*words, "--without-gossip"], environment)) as process:
        yield Served(_through(asking), lambda: "\n".join(process.lines + process.errors))
        _close(asking)


@contextmanager
def _processes(method: str, environment: dict[str, str]) -> Iterator[Served]:
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "tests.fakes.served.processes", method],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        yield Served(_through(process), lambda: f"exit code {process.poll()}")
        _close(process)


def _through(process: "subprocess.Popen[str]") -> Callable[[str | None], list[Told]]:
    def ask(badge: str | None) -> list[Told]:
        to, answers = _pipes(process)
        to.write(f"{badge or ''}\n")
        to.flush()
        found: list[Told] = json.loads(answers.readline())
        return found

    return ask


def _close(process: "subprocess.Popen[str]") -> None:
    _pipes(process)[0].close()


def _pipes(process: "subprocess.Popen[str]") -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout
