"""Why, and who asks: the words that other systems understand for a kill, any for the rest."""

import difflib
from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

from rescind.cli.common import limited
from rescind_protocol.limits import MAX_REASON_CHARS
from rescind_protocol.reasons import TABLE, UNSPECIFIED, WORDS

REASON_CHARS = 64
"""The longest code word that a subscriber reads (`rescind_protocol.changes`)."""


def _check(_: click.Context, __: click.Parameter, value: str) -> str:
    """Return the word, in lower case; a usage error names the ones there are."""
    word = value.lower()
    if word not in WORDS:
        near = difflib.get_close_matches(word, WORDS, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise click.BadParameter(f"{value!r} is no reason; {hint}there are {', '.join(WORDS)}")
    return word


def _complete(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
    return [
        CompletionItem(reason.word, help=reason.means)
        for reason in TABLE
        if reason.word.startswith(begun)
    ]


reason_option = click.option(
    "--reason",
    default=UNSPECIFIED.word,
    metavar="WORD",
    callback=_check,
    shell_complete=_complete,
    help=f"Why; callers see it: {', '.join(WORDS[1:])}.",
)
admin_option = click.option(
    "--reason-admin", callback=limited(MAX_REASON_CHARS), help="Never shown to callers."
)
actor_option = click.option(
    "--actor", callback=limited(MAX_REASON_CHARS), help="Who asks; default: user@host."
)


def explained(default: str = UNSPECIFIED.word) -> Callable[..., Any]:
    """Return the options of what is no kill: a code word, a reason for admins, and who asks."""
    word = click.option(
        "--reason", default=default, callback=limited(REASON_CHARS), help="Short code word."
    )
    return lambda command: word(admin_option(actor_option(command)))
