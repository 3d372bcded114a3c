"""Which key has signed a badge, by the issuers that this host trusts: for `status`."""

from rescind import compose
from rescind.config import Loaded
from rescind_guard.key_view import KeyView
from rescind_guard.verifier import Verifier
from rescind_guard.view import View
from rescind_protocol import targets
from rescind_protocol.targets import Target


def signing_key(loaded: Loaded, token: str) -> Target | None:
    """Return the key as a target; None if no key known here has signed the badge.

    Keys that are fetched are fetched now.
    """
    keeper = compose.make_keys(loaded, View())
    if keeper is not None:
        keeper.load()
        keeper.step()
    keys = KeyView(compose.make_issuers(loaded)) if keeper is None else keeper.view
    verifier = Verifier(keys, accept_self_signed=loaded.settings.accept_self_signed)
    claims = verifier.signer(token)
    return None if claims is None else targets.key(claims.key_thumbprint)
