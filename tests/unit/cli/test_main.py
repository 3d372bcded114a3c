"""The root of the command line: help, bad input, exit codes."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import NoReturn

import click
import pytest

from rescind.cli.common import common
from rescind.cli.main import COMMANDS, cli
from rescind.errors import (
    EXIT_CANNOT_TELL,
    EXIT_FAILED,
    EXIT_INTERNAL,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    BadConfig,
    exit_code,
)
from rescind_protocol.errors import RescindError
from rescind_publisher.errors import BadRequest, ControlUncertain, NothingLive
from rescind_subscriber.errors import SourceUnavailable
from tests.unit.cli.conftest import Run, error_of

TOKEN = "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.eyJqdGkiOiJzZWNyZXQifQ.c2lnbmF0dXJl"


def leaves(group: click.Group) -> list[click.Command]:
    """Return every command that can be called."""
    context = click.Context(group)
    found: list[click.Command] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found += leaves(command) if isinstance(command, click.Group) else [command]
    return found


def test_every_command_speaks_json() -> None:
    """Each command, in whatever group, takes --json."""
    without = [
        command.name
        for command in leaves(cli)
        if "as_json" not in {param.name for param in command.params}
    ]
    assert without == []


def test_every_command_has_help_and_so_has_each_of_its_options() -> None:
    """A stranger finds a sentence for everything."""
    for command in leaves(cli):
        assert command.help, command.name
        for param in command.params:
            if isinstance(param, click.Option):
                assert param.help or param.show_default, (command.name, param.name)


def pages(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command and group."""
    yield path
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from pages(command, *path, name)
        else:
            yield (*path, name)


@pytest.mark.parametrize("words", list(pages(cli)), ids=" ".join)
def test_help_reads_well(run: Run, words: tuple[str, ...]) -> None:
    """No mark of click's is left in it, and an example stands below its heading, whole."""
    shown = run(*words, "--help").stdout
    assert not {char for char in shown if char == "\\" or (ord(char) < 32 and char != "\n")}
    assert not re.findall(r"(?m)Example\w*:.+$", shown)


def test_help_names_every_command_and_every_exit_code(run: Run) -> None:
    """The root's help lists them."""
    text = run("--help").output
    assert all(f"\n  {name} " in text for name in COMMANDS)
    assert all(f"\n    {code} " in text for code in (0, 1, 2, 3, 4, 70, 130))


def test_help_loads_no_command() -> None:
    """`rescind --help` imports no role, no transport and no drawing."""
    probe = (
        "import sys\nfrom rescind.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'nats', 'rich', 'asyncio', 'cryptography', 'nacl', 'msgspec', 'sqlite3'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_handing_a_kill_over_loads_no_engine() -> None:
    """What `rescind kill` needs for a running publisher is a socket and a few structs."""
    probe = (
        "import sys\nimport rescind.cli.commands.kill, rescind.cli.switching, rescind.config\n"
        "heavy = {'nats', 'rich', 'cryptography', 'nacl', 'sqlite3', 'rescind_guard'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("kill", "badge", TOKEN),
        ("kill", "agent", TOKEN),
        ("explain", TOKEN),
        ("badge", "inspect", TOKEN),
        ("status", "badge", TOKEN),
        ("kill", f"--reason={TOKEN}"),
        ("kill", "badge", f"Bearer {TOKEN}"),
    ],
)
def test_a_token_on_the_command_line_is_refused_and_not_repeated(
    run: Run, words: tuple[str, ...]
) -> None:
    """Every user of the machine can read the process list; the sentence says to use stdin."""
    result = run(*words)
    assert result.exit_code == EXIT_USAGE
    assert "standard input" in error_of(result)
    assert "eyJ" not in result.output + result.stderr


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("kil",), "No such command"),
        (("kill", "planet", "mars"), "is not one of"),
        (("kill", "agent"), "which agent"),
        (("kill", "agent", "x7"), "is not a DID"),
        (("kill", "agent", "did:web:a.example", "--expires", "10"), "has no unit"),
        (("kill", "agent", "did:web:a.example", "--expires", "0m"), "over before it began"),
        (("kill", "agent", "did:web:a.example", "--expires", "soon"), "write 10m"),
        (("kill", "agent", "did:web:a.example", "--expires", "2031-01-01T00:00:00"), "no zone"),
        (("kill", "agent", "did:web:a.example", "--expires", "999999999d"), "too long"),
        (("kill", "agent", "did:web:a.example", "--reason", "x" * 65), "is no reason"),
        (("kill", "agent", "did:web:a.example", "--reason-admin", "x" * 1025), "limit 1024"),
        (("kill", "agent", "did:web:a.example", "--timeout", "61"), "not in the range"),
        (("kill", "badge", "https://registry.example"), "issuer and jti"),
        (("kill", "badge", "registry.example", "j"), "neither an https origin nor a did"),
        (("kill", "key", "short"), "RFC 7638"),
        (("kill", "everyone", "else"), "no further word"),
        (("kill", "everyone"), "--yes"),
        (("kill", "issuer", "https://registry.example"), "--yes"),
        (("kill", "key", "a" * 43), "--yes"),
        (("reinstate", "agent", "did:web:a.example", "did:web:b.example"), "one target"),
        (("status", "--check"), "wants a target"),
        (("badge", "issue"), "--sub"),
        (("keys", "thumbprint", "/nowhere/key"), "cannot be read"),
    ],
)
def test_bad_input_gets_one_sentence_and_exit_code_2(
    run: Run, words: tuple[str, ...], part: str
) -> None:
    """Whatever is wrong with the words, nothing is asked of anybody."""
    result = run(*words)
    assert result.exit_code == EXIT_USAGE, result.output
    assert part in error_of(result)
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", ["kill", "retract", "status"])
@pytest.mark.parametrize("given", ["", "x", "a.b.c", TOKEN, "é.é.é", b"\xff.\xfe.\x00"])
def test_a_malformed_badge_on_stdin_is_refused_and_not_repeated(
    run: Run, command: str, given: str | bytes
) -> None:
    """What comes on standard input and is no badge names nothing."""
    result = run(command, "badge", "-", given=given)
    assert result.exit_code == EXIT_USAGE
    sentence = error_of(result)
    assert "no badge" in sentence
    assert TOKEN not in result.output


def test_errors_come_as_json_too(run: Run) -> None:
    """With --json stdout has one document that says the code and the sentence."""
    result = run("kill", "agent", "x7", "--json")
    document = json.loads(result.stdout)
    assert document["exit_code"] == result.exit_code == EXIT_USAGE
    assert document["error"]["code"] == "MALFORMED"
    assert document["error"]["message"] == error_of(result)


@pytest.mark.parametrize(
    ("raised", "code", "part"),
    [
        (KeyboardInterrupt(), EXIT_INTERRUPTED, "interrupted"),
        (EOFError(), EXIT_INTERRUPTED, "interrupted"),
        (NothingLive("no kill is in force"), EXIT_FAILED, "error: no kill is in force"),
        (PermissionError(13, "Permission denied", "/x"), EXIT_FAILED, "/x: Permission denied"),
        (ZeroDivisionError("secret"), EXIT_INTERNAL, "defect in rescind (ZeroDivisionError)"),
    ],
)
def test_no_exception_leaves_the_command_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int, part: str
) -> None:
    """Each ends in one sentence and the exit code that belongs to it."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise raised

    monkeypatch.setattr("rescind.cli.commands.version._version", fail)
    result = run("version")
    assert result.exit_code == code
    assert part in result.stderr
    assert "secret" not in result.stderr
    assert "Traceback" not in result.stderr


def test_a_defect_shows_where_when_asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """RESCIND_DEBUG lets the exception through, for whoever mends it."""

    def fail(*_: object) -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr("rescind.cli.commands.version._version", fail)
    monkeypatch.setenv("RESCIND_DEBUG", "1")
    assert isinstance(run("version").exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadConfig("x"), EXIT_USAGE),
        (BadRequest("x"), EXIT_USAGE),
        (NothingLive("x"), EXIT_FAILED),
        (SourceUnavailable("x"), EXIT_CANNOT_TELL),
        (ControlUncertain("x"), EXIT_CANNOT_TELL),
    ],
)
def test_exit_codes_go_by_whose_fault_it_is(error: RescindError, code: int) -> None:
    """The caller's, the world's, or nobody knows."""
    assert exit_code(error) == code


def test_common_gives_every_command_its_session() -> None:
    """`common` adds --json and --home."""

    @click.command()
    @common
    def probe(session: object) -> None:
        del session

    assert {param.name for param in probe.params} == {"as_json", "home"}


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("compromised", "did you mean 'compromise'? there are unspecified, compromise,"),
        ("INC-412", "'INC-412' is no reason; there are"),
        ("", "'' is no reason; there are"),
    ],
)
def test_a_reason_that_nobody_would_understand_is_a_usage_error(
    run: Run, word: str, sentence: str
) -> None:
    """One line names the word, the near one, and all there are; nothing is killed."""
    result = run("kill", "everyone", "--yes", "--reason", word)
    assert result.exit_code == EXIT_USAGE
    assert sentence in result.stderr.replace("\n", " ")
    assert not result.stdout


def test_a_shell_completes_reasons() -> None:
    """Each word comes with what it means."""
    command = cli.get_command(click.Context(cli), "kill")
    assert command is not None
    (option,) = [param for param in command.params if param.name == "reason"]
    found = option.shell_complete(click.Context(command), "off")
    assert [(each.value, each.help) for each in found] == [
        ("offboarding", "the agent, or whoever it worked for, has left")
    ]
