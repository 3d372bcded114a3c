"""Errors of the face, and the one place where errors become exit codes."""

from rescind_protocol.errors import Malformed, RescindError, Untrusted


class BadConfig(RescindError):
    """A setting is missing, unknown or wrong; names it and says what to do."""

    code = "BAD_CONFIG"


EXIT_OK = 0
EXIT_FAILED = 1
"""It was tried, and it did not work, or the answer is no."""
EXIT_USAGE = 2
"""The command line or the configuration is wrong."""
EXIT_PENDING = 3
"""Accepted and durable here, but no broker has it yet."""


def exit_code(error: RescindError) -> int:
    """Return the exit code an error ends a command with."""
    return EXIT_USAGE if isinstance(error, BadConfig | Malformed | Untrusted) else EXIT_FAILED
