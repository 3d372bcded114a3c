"""Targets as they are written on the command line."""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from rescind.cli.common import read_token
from rescind_protocol import targets
from rescind_protocol.targets import Kind, Target

if TYPE_CHECKING:
    from rescind.config import Loaded

SYNTAX = """\
\b
KIND and ID name a target:
  badge ISSUER JTI    one badge; `badge -` reads the badge on standard input
  agent DID           every badge of an agent, also those it has yet to fetch
  session SID         every badge of a session
  key THUMBPRINT      every badge signed by a key (RFC 7638 thumbprint)
  issuer ISSUER       every badge of an issuer
  everyone            every badge there is
"""
KINDS = [kind.value for kind in Kind]
_MAKERS: dict[str, Callable[[str], Target]] = {
    Kind.AGENT: targets.agent,
    Kind.SESSION: targets.session,
    Kind.KEY: targets.key,
    Kind.ISSUER: targets.issuer,
}
WIDE = (Kind.KEY, Kind.ISSUER, Kind.EVERYONE)
"""Kinds that want a word more: they stop agents that nobody has named."""
_NOBODY = "if no guard trusts it, this kill stops nothing (check the spelling)"


_ID = re.compile(r"-[A-Za-z0-9_-]{15,}")
"""An ID in base64url, as thumbprints are: one in 64 of them begins with a dash."""
_THUMBPRINT_CHARS = 43


class TargetCommand(click.Command):
    """A command that names targets: an ID that begins with a dash is one, and no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put such IDs behind `--`, where they stand for themselves."""
        plain, ids, rest = self._sorted(ctx, args)
        return super().parse_args(ctx, [*plain, "--", *rest, *ids] if ids else args)

    def _sorted(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[list[str], list[str], list[str]]:
        """Return options with other words, IDs with a dash, and what stood behind `--`."""
        end = args.index("--") if "--" in args else len(args)
        takes_value = {
            name: not each.is_flag
            for each in self.get_params(ctx)
            if isinstance(each, click.Option)
            for name in each.opts
        }
        plain: list[str] = []
        ids: list[str] = []
        for before, word in zip(["", *args], args[:end], strict=False):
            known = word.partition("=")[0] in takes_value or takes_value.get(before, False)
            (plain if known or not _is_id(word) else ids).append(word)
        return plain, ids, args[end + 1 :]


def _is_id(word: str) -> bool:
    """With two dashes only what is as long as a thumbprint: else it is an option misspelt."""
    fits = _ID.fullmatch(word) is not None
    return fits and (word[1] != "-" or len(word) == _THUMBPRINT_CHARS)


class Named:
    """What was named: its targets, and what a badge's own token says besides (not verified)."""

    def __init__(self, found: tuple[Target, ...]) -> None:
        self.targets = found
        self.wider: tuple[Target, ...] = ()
        """Targets that would also kill a badge given as token: agent, session."""
        self.token: str | None = None
        """That token."""

    @property
    def one(self) -> Target:
        """The only target; `UsageError` where several were named."""
        if len(self.targets) > 1:
            raise click.UsageError("name one target at a time")
        return self.targets[0]


def target_arguments(
    command: Callable[..., object], *, required: bool = True
) -> Callable[..., object]:
    """Give a command the arguments KIND and WORDS; not `required` where a file may name them."""
    words = click.argument("words", nargs=-1, metavar="[ID]...")(command)
    kind = click.argument("kind", type=click.Choice(KINDS), metavar="KIND", required=required)
    return kind(words)


def of_parts(kind: str, name: str, iss: str) -> Target:
    """Return the target of these parts; raises `Malformed`, and `UsageError` for a wrong number."""
    parts = (iss, name) if kind == Kind.BADGE else (iss,) if kind == Kind.ISSUER else (name,)
    if kind not in KINDS:
        raise click.UsageError(f"its kind is none of {', '.join(KINDS)}")
    if (name and kind in (Kind.ISSUER, Kind.EVERYONE)) or (
        iss and kind not in (Kind.BADGE, Kind.ISSUER)
    ):
        raise click.UsageError(f"a target of kind {kind} has no {'iss' if iss else 'id'}")
    words = tuple(part for part in parts if part)
    if kind == Kind.EVERYONE:
        return targets.everyone()
    return read_targets(kind, words).one


def read_targets(kind: str, words: tuple[str, ...]) -> Named:
    """Build targets; raises `UsageError` for a wrong number of words, `Malformed` for a bad one."""
    if kind == Kind.EVERYONE:
        if words:
            raise click.UsageError("everyone takes no further word")
        return Named((targets.everyone(),))
    if kind == Kind.BADGE:
        return _read_badges(words)
    if not words:
        raise click.UsageError(f"which {kind}? name its ID")
    return Named(tuple(_MAKERS[kind](word) for word in words))


def _read_badges(words: tuple[str, ...]) -> Named:
    if words == ("-",):
        return of_token(read_token())
    if len(words) < 2:  # noqa: PLR2004 - issuer and jti
        raise click.UsageError(
            "a badge is named by issuer and jti (`badge ISSUER JTI`), or its token is given on "
            "standard input (`badge -`)"
        )
    return Named(tuple(targets.badge(words[0], jti) for jti in words[1:]))


def of_token(token: str) -> Named:
    """Return the badge that a token is, and the wider targets it names; nothing is verified."""
    from rescind_guard.errors import Refused  # noqa: PLC0415 - only for tokens
    from rescind_guard.parsing import read_names  # noqa: PLC0415
    from rescind_protocol.errors import Malformed  # noqa: PLC0415

    try:
        payload = read_names(token)
    except Refused as refused:
        raise Malformed(f"this is no badge: {refused}") from refused
    named = Named((targets.badge(payload.iss, payload.jti),))
    session = (targets.session(payload.sid),) if payload.sid else ()
    named.wider = (targets.agent(payload.sub), *session)
    named.token = token
    return named


def doubts(found: tuple[Target, ...], loaded: "Loaded") -> list[str]:
    """Return a sentence for each target that may mean nobody: said, not refused."""
    settings = loaded.settings
    known = {targets.canonical_issuer(iss) for iss in settings.issuers}
    unknown = {target.iss for target in found if target.iss and target.iss not in known}
    if settings.accept_self_signed:
        unknown = {iss for iss in unknown if not iss.startswith("did:key:")}
    keys = [target.id for target in found if target.kind is Kind.KEY]
    strange = sorted(set(keys) - _known_keys(loaded)) if keys else []
    return [
        *(f"key {key} is of no issuer configured here: {_NOBODY}" for key in strange),
        *(
            f"issuer {iss} is not among the issuers configured here: {_NOBODY}"
            for iss in sorted(unknown)
        ),
    ]


def _known_keys(loaded: "Loaded") -> set[str]:
    """Return the thumbprints in the JWKS that can be read."""
    from rescind_guard.jwk import read_public, thumbprint  # noqa: PLC0415 - only for keys
    from rescind_protocol.encoding import check_json  # noqa: PLC0415
    from rescind_protocol.errors import Malformed  # noqa: PLC0415

    found: set[str] = set()
    for path in loaded.jwks_files.values():
        with suppress(OSError, Malformed, AttributeError, TypeError):
            for jwk in check_json(path.read_bytes()).get("keys"):
                with suppress(Malformed):
                    found.add(thumbprint(read_public(jwk)))
    return found
