"""What a badge's signature proves, by the issuers that this host trusts: for `status`."""

from rescind import compose
from rescind.config import Loaded
from rescind_guard.badges import Claims
from rescind_guard.key_view import KeyView
from rescind_guard.verifier import Verifier
from rescind_guard.view import View


def signed_claims(loaded: Loaded, token: str) -> Claims | None:
    """Return what it says and its key; None if no key known here has signed the badge.

    Keys that are fetched are fetched now.
    """
    keeper = compose.make_keys(loaded, View())
    if keeper is not None:
        keeper.load()
        keeper.step()
    keys = KeyView(compose.make_issuers(loaded)) if keeper is None else keeper.view
    verifier = Verifier(keys, accept_self_signed=loaded.settings.accept_self_signed)
    return verifier.signer(token)
