"""Unsigned lists from settings: revocations of other registries, which only ever deny."""

import importlib.util
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rescind import home
from rescind.config import Loaded
from rescind.errors import BadConfig
from rescind_guard.profiles import Profile, profile_of
from rescind_guard.view import View
from rescind_protocol.errors import Malformed
from rescind_protocol.targets import Target, canonical_issuer
from rescind_subscriber.errors import SourceRefused

if TYPE_CHECKING:
    from rescind_subscriber.unsigned.keeper import ListKeeper, Standing
    from rescind_subscriber.unsigned.place import Place


def naming(loaded: Loaded, targets: Iterable[Target]) -> "tuple[list[str], list[Standing]]":
    """Ask for every list once; return the issuers whose list names one of these, and what fails."""
    view = View()
    unknown = [each for each in standings(loaded, view) if each.trouble]
    digests = {target.digest for target in targets}
    lists = view.lists.lists.values()
    return [each.issuer for each in lists if not digests.isdisjoint(each.killed)], unknown


def standings(loaded: Loaded, view: View) -> "list[Standing]":
    """Ask for every list once, keep nothing, and return where each stands."""
    keeper = make(loaded, view, keep=False)
    if keeper is None:
        return []
    keeper.step()
    return keeper.standings()


def make(loaded: Loaded, view: View, *, keep: bool = True) -> "ListKeeper | None":
    """Make who follows unsigned lists into a view, None if there are none; raises `BadConfig`.

    `keep`: whether it keeps them on disk for a restart.
    """
    settings = loaded.settings
    if not settings.unsigned_lists and not settings.unsigned_list_tokens:
        return None
    if profile_of(settings.profile) is Profile.AIR_GAPPED:
        raise BadConfig("setting 'unsigned_lists': profile air-gapped fetches nothing")
    if importlib.util.find_spec("httpcore2") is None:
        raise BadConfig("setting 'unsigned_lists' needs pip install 'rescind[http]'")
    from rescind_subscriber.unsigned.fetch import Fetcher  # noqa: PLC0415 - HTTP only when used
    from rescind_subscriber.unsigned.keeper import ListKeeper  # noqa: PLC0415

    ca_file = settings.unsigned_list_ca_file
    try:
        fetch = Fetcher(
            private=settings.unsigned_list_private,
            ca_file=loaded.path(ca_file) if ca_file else None,
        )
    except SourceRefused as error:
        raise BadConfig(f"setting 'unsigned_list_ca_file': {error}") from error
    return ListKeeper(
        _places(loaded),
        fetch,
        view,
        folder=loaded.home / home.LISTS if keep else None,
        name=settings.name,
        every_s=settings.unsigned_list_every_s,
    )


def _places(loaded: Loaded) -> "list[Place]":
    from rescind_subscriber.unsigned.place import place  # noqa: PLC0415 - as above

    settings = loaded.settings
    trusted = {_canonical(iss, "issuers") for iss in settings.issuers}
    tokens = {_canonical(iss, _TOKENS): said for iss, said in settings.unsigned_list_tokens.items()}
    places: dict[str, Place] = {}
    for iss, url in settings.unsigned_lists.items():
        try:
            found = place(iss, url, tokens.pop(_canonical(iss, _LISTS), None))
        except SourceRefused as error:
            raise BadConfig(f"setting 'unsigned_lists': {error}") from error
        if found.issuer not in trusted:
            raise BadConfig(
                f"setting 'unsigned_lists': {iss} is none of 'issuers': all its badges are refused"
            )
        if found.issuer in places:
            raise BadConfig(f"setting 'unsigned_lists' names {iss} twice")
        places[found.issuer] = found
    if tokens:
        raise BadConfig(f"setting '{_TOKENS}': {next(iter(tokens))} has no unsigned list")
    return list(places.values())


_LISTS, _TOKENS = "unsigned_lists", "unsigned_list_tokens"


def _canonical(iss: str, setting: str) -> str:
    try:
        return canonical_issuer(iss)
    except Malformed as error:
        raise BadConfig(f"setting {setting!r}: {error}") from error
