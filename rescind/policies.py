"""What the settings say of policy: built-in rules, Rego, a service's own function.

All of them are asked, the cheapest first, and each may deny. Rego comes from a folder, from a
signed bundle, or from both; whoever keeps it up to date is made here, too.
"""

import importlib.util
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from rescind import home
from rescind.config import Loaded
from rescind.errors import BadConfig
from rescind_guard.enforcement import row_of
from rescind_guard.errors import BadGuard
from rescind_guard.policy import Policy, all_of
from rescind_guard.profiles import Profile, profile_of
from rescind_guard.rules import Rules
from rescind_protocol.errors import Malformed
from rescind_subscriber.errors import SourceRefused
from rescind_subscriber.policies.base import PolicySource
from rescind_subscriber.policies.folder import FolderSource
from rescind_subscriber.policies.keeper import PolicyKeeper

if TYPE_CHECKING:
    from rescind_subscriber.policies.opened import Trusted

MAX_PEM_BYTES = 64 * 1024


class Kept(msgspec.Struct, frozen=True):
    """A policy, and who keeps it up to date once they are started."""

    policy: Policy | None
    keepers: tuple[PolicyKeeper, ...]


def keep(loaded: Loaded, own: Policy | None = None) -> Kept:
    """Make the policy, as it is known on this host; raises `BadConfig`.

    What cannot be compiled, or is not here yet, raises nothing: then every call is denied, and
    says why.
    """
    settings = loaded.settings
    found: list[Policy] = []
    keepers: list[PolicyKeeper] = []
    if settings.tools_allowed or settings.tools_denied or settings.tool_levels:
        found.append(_rules(loaded))
    for name, source in _sources(loaded):
        policy, keeper = _rego(loaded, name, source)
        found.append(policy)
        keepers.append(keeper)
    if own is not None:
        found.append(own)
    return Kept(all_of(*found), tuple(keepers))


def make(loaded: Loaded, own: Policy | None = None, *, fetch: bool = False) -> Policy | None:
    """Make the policy alone; None if nothing is said. Raises `BadConfig`.

    `fetch`: look once for what is newer than what this host knows, and wait for it.
    """
    kept = keep(loaded, own)
    for keeper in kept.keepers if fetch else ():
        keeper.step()
    return kept.policy


def enforcement_mode(loaded: Loaded) -> str:
    """Return the mode by its full name; raises `BadConfig`."""
    try:
        return row_of(loaded.settings.enforcement_mode).mode
    except BadGuard as error:
        raise BadConfig(f"setting 'enforcement_mode': {error}") from error


def _rules(loaded: Loaded) -> Policy:
    settings = loaded.settings
    try:
        return Rules(
            allowed=settings.tools_allowed,
            denied=settings.tools_denied,
            levels=settings.tool_levels,
        )
    except BadGuard as error:
        raise BadConfig(f"setting {error}") from error


def _rego(loaded: Loaded, setting: str, source: PolicySource) -> tuple[Policy, PolicyKeeper]:
    try:
        from rescind_guard.rego import Rego  # noqa: PLC0415 - rego-cpp only when used
    except BadGuard as error:
        raise BadConfig(f"setting {setting!r}: {error}") from error
    policy = Rego(enforcement_mode=enforcement_mode(loaded), audience=loaded.settings.audience)
    keeper = PolicyKeeper(policy, source)
    keeper.load()
    return policy, keeper


def _sources(loaded: Loaded) -> list[tuple[str, PolicySource]]:
    """Return where policies come from, by the setting that says it."""
    settings = loaded.settings
    found: list[tuple[str, PolicySource]] = []
    if settings.policy_folder is not None:
        found.append(("policy_folder", FolderSource(loaded.path(settings.policy_folder))))
    if settings.policy_bundle_url is not None:
        found.append(("policy_bundle_url", _bundle(loaded, settings.policy_bundle_url)))
    return found


def _bundle(loaded: Loaded, url: str) -> PolicySource:
    settings = loaded.settings
    if profile_of(settings.profile) is Profile.AIR_GAPPED:
        raise BadConfig(
            f"setting 'policy_bundle_url': profile {Profile.AIR_GAPPED} fetches nothing; "
            "give a 'policy_folder'"
        )
    if importlib.util.find_spec("httpcore2") is None:
        raise BadConfig(
            "setting 'policy_bundle_url': fetching needs pip install 'rescind[http]'; "
            "or give a 'policy_folder'"
        )
    from rescind_subscriber.policies.bundle import BundleSource  # noqa: PLC0415 - HTTP only if used
    from rescind_subscriber.policies.fetch import PolicyFetcher  # noqa: PLC0415

    ca_file = settings.policy_bundle_ca_file
    try:
        fetch = PolicyFetcher(
            url,
            token=settings.policy_bundle_token,
            ca_file=loaded.path(ca_file) if ca_file else None,
        )
    except SourceRefused as error:
        raise BadConfig(f"setting 'policy_bundle_url': {error}") from error
    kept = loaded.home / home.POLICIES / f"{sha256(url.encode()).hexdigest()[:32]}.bundle"
    return BundleSource(fetch, _trusted(loaded), kept, every_s=settings.policy_bundle_every_s)


def _trusted(loaded: Loaded) -> "Trusted":
    from rescind_protocol.bundle_signatures import read_keys  # noqa: PLC0415 - only if used
    from rescind_subscriber.policies.opened import Trusted  # noqa: PLC0415

    settings = loaded.settings
    if not settings.policy_bundle_key:
        raise BadConfig(
            "setting 'policy_bundle_key' is missing: a bundle counts only if it is signed, and the "
            "public key in this PEM file says by whom"
        )
    path = loaded.path(settings.policy_bundle_key)
    try:
        with path.open("rb") as file:
            return Trusted(read_keys(file.read(MAX_PEM_BYTES)), settings.policy_bundle_scope)
    except OSError as error:
        raise BadConfig(
            f"setting 'policy_bundle_key': {path} cannot be read: {error.strerror}"
        ) from error
    except Malformed as error:
        raise BadConfig(f"setting 'policy_bundle_key': {path}: {error}") from error
