"""No secret of any setting is shown: each setting is tried, whatever it is for."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rescind import config
from rescind.cli import checks
from rescind.cli.main import cli
from rescind.config import Is, Settings
from rescind.sidecar import Sidecar
from rescind_protocol import redact
from rescind_protocol.errors import RescindError

WORD = "hunter2"
"""The secret; no output may have it."""
ADDRESSES = (
    f"nats://{WORD}@127.0.0.1:1",
    f"nats://u:{WORD}@127.0.0.1:1,nats://u:{WORD}@127.0.0.1:2, tls://{WORD}@[::1]:3",
    f"u:{WORD}@127.0.0.1:1",
    f"nats://u:12/{WORD}@127.0.0.1:1",
    f"nats://u:{WORD}/x@127.0.0.1:1",
    f"redis://:{WORD}@127.0.0.1:1/0",
    f"redis://u:a,{WORD}@127.0.0.1:1",
    f"redis://u:{WORD}?x@127.0.0.1:1",
    f"redis://u:12#{WORD}@127.0.0.1:1",
    f"redis://127.0.0.1:1/0?{WORD}",
    f"redis+sentinel://u:p,{WORD}@127.0.0.1:1,127.0.0.1:2/main",
    f"https://u:{WORD}@127.0.0.1:1/list",
    f"https://127.0.0.1:1/list?token={WORD}&x",
    f"https://127.0.0.1:1/list#{WORD}",
)
WHOLE = f"https://u:{WORD}@127.0.0.1:1"
"""What is hidden of a text that should be none, too."""


def planted() -> Iterator[tuple[str, Any]]:
    """Yield each setting with each secret that could stand in it."""
    for name, kind in config._KINDS.items():
        address = Is.ADDRESS in (kind.whole, kind.value)
        for text in (
            *(ADDRESSES if address else [WHOLE]),
            *([WORD] if kind.whole is Is.SECRET else []),
        ):
            if kind.container is tuple:
                yield name, (text, text)
            elif kind.container is dict:
                yield name, {"https://a.example": text, WHOLE: text}
                if kind.value is Is.SECRET:
                    yield name, {"https://a.example": WORD}
            else:
                yield name, text


@pytest.mark.parametrize("name", Settings.__struct_fields__)
def test_no_setting_shows_a_secret(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither `config show`, a repr, an error, a log line nor a check has it, of any setting."""
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    for setting, value in planted():
        if setting != name or name == "home":
            continue
        with suppress(RescindError):
            loaded = config.load({"home": str(tmp_path), setting: value}, {})
            said += [repr(loaded), str(loaded), repr(loaded.settings), str(loaded.shown())]
        for make in (Sidecar, _check):
            try:
                said.append(repr(make(home=str(tmp_path), **{setting: value})))
            except RescindError as error:
                said.append(str(error))
        monkeypatch.setenv(f"RESCIND_{name.upper()}", _variable(value))
        for arguments in (["config", "show"], ["config", "show", "--json"]):
            found = CliRunner().invoke(cli, [*arguments, "--home", str(tmp_path)])
            said.append(found.output)
    assert WORD not in "\n".join([*said, caplog.text])


def _variable(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{key}={said}" for key, said in value.items())
    return value if isinstance(value, str) else ",".join(value)


def _check(**settings: Any) -> list[str]:
    """Run the checks; nobody listens at these addresses."""
    loaded = config.load(settings, {})
    return [str(line) for line in checks.run(loaded, wait_s=0)]


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_address_is_shown_without_its_secrets(text: str) -> None:
    """Hosts and ports stay, so that an operator knows which one it is."""
    for shown in (redact.address(text), redact.hosts(text)):
        assert WORD not in shown
        assert "127.0.0.1:" in shown


def test_each_address_of_several_is_shown() -> None:
    """A host with no secret is shown as it is; files of certificates are no secret."""
    url = "nats://u:p@a:4222,tls://b:4222"
    assert redact.address(url) == "nats://********@a:4222,tls://b:4222"
    assert redact.hosts(url) == "a:4222,b:4222"
    url = "rediss://u:p@h:6379?ssl_ca_certs=/etc/ca.pem&x=1"
    assert redact.address(url) == "rediss://********@h:6379?ssl_ca_certs=/etc/ca.pem&********"
