"""What the settings say of policy: built-in rules, Rego from a folder, a service's own function.

All of them are asked, the cheapest first, and each may deny.
"""

from rescind.config import Loaded
from rescind.errors import BadConfig
from rescind_guard.enforcement import row_of
from rescind_guard.errors import BadGuard
from rescind_guard.policy import Policy, all_of
from rescind_guard.rules import Rules


def make(loaded: Loaded, own: Policy | None = None) -> Policy | None:
    """Make the policy; None if nothing is said. Raises `BadConfig`.

    A folder that cannot be compiled raises nothing here: then every call is denied, and says why.
    """
    settings = loaded.settings
    found: list[Policy] = []
    if settings.tools_allowed or settings.tools_denied or settings.tool_levels:
        found.append(_rules(loaded))
    if settings.policy_folder is not None:
        found.append(_rego(loaded, settings.policy_folder))
    if own is not None:
        found.append(own)
    return all_of(*found)


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


def _rego(loaded: Loaded, folder: str) -> Policy:
    try:
        from rescind_guard.rego import Rego  # noqa: PLC0415 - rego-cpp only when used
    except BadGuard as error:
        raise BadConfig(f"setting 'policy_folder': {error}") from error
    return Rego(
        loaded.path(folder),
        enforcement_mode=enforcement_mode(loaded),
        audience=loaded.settings.audience,
    )
