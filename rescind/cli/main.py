"""`rescind`: the root of the command line, and the place where every error becomes one sentence."""

import json
import logging
import os
import re
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, NoReturn

import click

from rescind.cli.lazy import LazyGroup
from rescind.cli.out import err
from rescind.errors import (
    EXIT_FAILED,
    EXIT_INTERNAL,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_PIPE,
    EXIT_USAGE,
    exit_code,
)
from rescind_protocol.errors import RescindError

_TOKEN = re.compile(r"(?:^|=)[\"']?(?:Bearer )?ey[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+")
"""A JWS begins with the base64url of `{"`: no name, DID or key of ours does, and has a dot."""

_OTHERS = 0o077
_HERE = "rescind.cli.commands"
COMMANDS = {
    "up": (f"{_HERE}.up:up", "Run a fabric on this machine: NATS and publisher."),
    "serve": (f"{_HERE}.serve:serve", "Run a registry: badges, the HTTP API, feeds."),
    "kill": (f"{_HERE}.kill:kill", "Deny a badge, agent, session, key or issuer everywhere."),
    "suspend": (f"{_HERE}.suspend:suspend", "Refuse an agent its next badge."),
    "reinstate": (f"{_HERE}.end:reinstate", "End a kill; badges issued before stay dead."),
    "retract": (f"{_HERE}.end:retract", "Take a kill back that was a mistake."),
    "retire": (f"{_HERE}.retire:retire", "Go on without a publisher that is gone for good."),
    "status": (f"{_HERE}.status:status", "Show how the fabric is, or whether a target is killed."),
    "fleet": (f"{_HERE}.fleet:fleet", "List subscribers; forget one that is gone."),
    "scrub": (f"{_HERE}.scrub:scrub", "Compare what the brokers hold with the spool; mend it."),
    "explain": (f"{_HERE}.explain:explain", "Show each step of a guard's decision on a badge."),
    "watch": (f"{_HERE}.watch:watch", "Show kills and reinstatements as they are applied."),
    "keys": (f"{_HERE}.keys:keys", "Make keys, and say who is trusted."),
    "trust": (f"{_HERE}.trust:trust", "Change who is trusted, while everything runs."),
    "badge": (f"{_HERE}.badge:badge", "Issue a badge for trying, or look into one."),
    "agents": (f"{_HERE}.agents:agents", "Enrol agents in the registry; list, remove them."),
    "token": (f"{_HERE}.token:token", "Make, list and revoke API tokens of the registry."),
    "audit": (f"{_HERE}.audit:audit", "Show, export and verify the audit trail."),
    "bundle": (
        f"{_HERE}.bundle:bundle",
        "Write revocations or a policy as a bundle, or look into one.",
    ),
    "sidecar": (f"{_HERE}.sidecar:sidecar", "Answer Envoy and nginx: who may pass."),
    "audit-routes": (f"{_HERE}.audit_routes:audit_routes", "List the routes no guard is before."),
    "config": (f"{_HERE}.config:config", "Show the settings, and check that they work."),
    "demo": ("rescind.demo.command:demo", "Watch a kill reach every guard, with real servers."),
    "version": (f"{_HERE}.version:version", "Show the versions of rescind and what it runs on."),
}
if find_spec("rescind.demo") is None:
    del COMMANDS["demo"]


class App(LazyGroup):
    """The root group; `main` never lets an exception out."""

    def main(self, args: Sequence[str] | None = None, *more: Any, **extra: Any) -> NoReturn:
        """Run, say what went wrong in one sentence, and exit with the code that belongs to it."""
        # Before anything is made, and for nats-server too: what others may read says so itself.
        os.umask(os.umask(_OTHERS) | _OTHERS)
        argv = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        try:
            if any(_TOKEN.search(word) for word in argv):
                raise _token_in_sight()  # noqa: TRY301 - before click could show the word
            done = super().main(argv, *more, **extra)
            sys.stdout.flush()
            code = done if isinstance(done, int) else EXIT_OK
        except (BrokenPipeError, SystemExit):  # click makes the one into the other
            _hush()
            code = EXIT_PIPE
        except (KeyboardInterrupt, EOFError, click.Abort):
            err("interrupted")
            code = EXIT_INTERRUPTED
        except Exception as error:  # noqa: BLE001 - the last line of defence against tracebacks
            code = _report(error, as_json="--json" in argv)
        sys.exit(code)


def _token_in_sight() -> click.UsageError:
    return click.UsageError(
        "a badge's token was given as an argument, where every user of this machine can read it; "
        "write '-' and give it on standard input (and kill it, if it still lives)"
    )


def _report(error: Exception, *, as_json: bool) -> int:
    """Write the sentence to stderr, with --json also a document to stdout; return the code."""
    name, sentence, code = _judge(error)
    err(f"error: {sentence}", fg="red")
    if as_json:
        document = {"error": {"code": name, "message": sentence}, "exit_code": code}
        try:
            click.echo(json.dumps(document))
        except BrokenPipeError:
            _hush()
    return code


def _judge(error: Exception) -> tuple[str, str, int]:
    if isinstance(error, RescindError):
        return error.code, str(error), exit_code(error)
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        see = f" (see: {context.command_path} --help)" if context else ""
        return "USAGE", error.format_message().rstrip(".") + see, EXIT_USAGE
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return "OS_ERROR", f"{where}{error.strerror}", EXIT_FAILED
    if os.environ.get("RESCIND_DEBUG"):
        raise error
    kind = type(error).__name__
    return "INTERNAL", f"defect in rescind ({kind}); RESCIND_DEBUG=1 shows where", EXIT_INTERNAL


def _hush() -> None:
    """Let the interpreter's last flush go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


EPILOG = """\
\b
Exit codes:
  0    done; yes
  1    it did not work; no; denied
  2    the command line or a setting is wrong
  3    accepted and safe on this machine's disk, but no broker has it yet
  4    cannot tell: nobody answered, or not in time
  5    killed, but not every subscriber has said so within --wait
  70   a defect of this program
  130  ended by Ctrl-C (0: up, serve, sidecar)

\b
Settings: options of the command, then RESCIND_* variables, then rescind.toml
in the fabric's folder (RESCIND_HOME, by default ~/.local/state/rescind), then
defaults. `rescind config show` says which one won.
"""


@click.group(
    cls=App,
    lazy=COMMANDS,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.version_option(package_name="rescind", message="rescind %(version)s")
def cli() -> None:
    """Kill an agent's badge everywhere, at once.

    A kill is signed by the publisher and reaches every guard in the fleet within a fraction of a
    second; from then on the guards deny. Start with `rescind up`, then `rescind kill agent DID`.
    """
    # What the libraries log is for programs; a command says its own sentences.
    logging.getLogger().addHandler(logging.NullHandler())


main = cli
"""The entry point."""
