"""Unsigned lists: what another registry would say."""

from rescind_guard.unsigned import UnsignedList
from rescind_guard.view import View
from rescind_protocol import targets
from rescind_protocol.table import ALL
from rescind_protocol.targets import Target
from tests.fakes.badges import ISSUER


def listed(
    *killed: Target, issuer: str = ISSUER, suspended: tuple[Target, ...] = (), cut: int = ALL
) -> UnsignedList:
    """Return a list of these targets."""
    return UnsignedList(
        issuer,
        {each.digest: cut for each in killed},
        {each.digest: ALL for each in suspended},
    )


def show(view: View, *lists: UnsignedList) -> None:
    """Publish these lists and no others, as their keeper does."""
    view.show_lists(lists, view.lists)


def badge(jti: str, issuer: str = ISSUER) -> Target:
    """Return a badge's target."""
    return targets.badge(issuer, jti)
