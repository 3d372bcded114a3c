"""IDs that begin with a dash, as one thumbprint in 64 does, are IDs and no options."""

import click
import pytest

from rescind.cli.commands.end import reinstate, retract
from rescind.cli.commands.kill import kill
from rescind.cli.commands.status import status

DASHED = "-GqRopXIW1KiS8ZWoZAFTWcCZ0Su-2LDcg2kWdPj0JY"
TWICE = "--qRopXIW1KiS8ZWoZAFTWcCZ0Su-2LDcg2kWdPj0JY"


@pytest.mark.parametrize("thumbprint", [DASHED, TWICE])
@pytest.mark.parametrize(
    "words",
    [
        ("key", "ID", "--yes"),
        ("key", "--yes", "ID"),
        ("--yes", "key", "ID", "--actor", "ann"),
        ("key", "--yes", "--", "ID"),
        ("key", "--yes", f"--actor={DASHED}", "ID"),
        ("key", "--yes", "--actor", DASHED, "ID"),
    ],
)
def test_an_id_that_begins_with_a_dash_is_no_option(
    words: tuple[str, ...], thumbprint: str
) -> None:
    """One thumbprint in 64 does; whoever kills a key does not think of it then."""
    said = [thumbprint if word == "ID" else word for word in words]
    context = kill.make_context("kill", said)
    assert (context.params["kind"], context.params["words"]) == ("key", (thumbprint,))
    assert context.params["yes"] is True
    assert context.params["actor"] in (None, "ann", DASHED)


@pytest.mark.parametrize("command", [reinstate, retract, status], ids=lambda each: str(each.name))
def test_an_id_with_a_dash_is_one_in_every_command(command: click.Command) -> None:
    """What could be killed can be asked about and ended."""
    params = command.make_context("it", ["key", DASHED, "--json"]).params
    assert (params["words"], params["as_json"]) == ((DASHED,), True)


MISSPELT = ("-x", "--yess", "--reason_admin", "--expires_in_an_hour", "-json")


@pytest.mark.parametrize("word", MISSPELT)
def test_a_misspelt_option_is_no_id(word: str) -> None:
    """It is refused as what it is."""
    with pytest.raises(click.NoSuchOption):
        kill.make_context("kill", ["session", "8d1f", word])
