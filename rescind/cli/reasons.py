"""The option `--reason` of a kill: one of the words that other systems understand, too."""

import difflib

import click
from click.shell_completion import CompletionItem

from rescind_protocol.reasons import TABLE, UNSPECIFIED, WORDS


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
