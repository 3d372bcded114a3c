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
EXIT_CANNOT_TELL = 4
"""Nobody answered, or not in time: neither yes nor no."""
EXIT_NOT_APPLIED = 5
"""Accepted, and not every known subscriber has said in time that it has applied it."""
EXIT_INTERNAL = 70
"""A defect of this program (EX_SOFTWARE, sysexits.h)."""
EXIT_INTERRUPTED = 130
"""Ended by Ctrl-C: 128 + SIGINT, as shells say it."""
EXIT_PIPE = 141
"""Whoever read the output went away: 128 + SIGPIPE."""

# By their stable names: an import of every role's errors would load every role.
_USAGE = {"BAD_CONFIG", "BAD_REQUEST", "BAD_KEY_FILE", "BAD_GUARD"}
_CANNOT_TELL = {"SOURCE_UNAVAILABLE", "CONTROL_UNCERTAIN", "CONTROL_SILENT"}


def exit_code(error: RescindError) -> int:
    """Return the exit code an error ends a command with."""
    if isinstance(error, BadConfig | Malformed | Untrusted) or error.code in _USAGE:
        return EXIT_USAGE
    return EXIT_CANNOT_TELL if error.code in _CANNOT_TELL else EXIT_FAILED
