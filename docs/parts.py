"""Parts of the documents that are made from the program itself."""

import ast
import inspect
from itertools import pairwise
from pathlib import Path

from rescind import config
from rescind.monitor import DISPLACED
from rescind_guard import metrics as of_guard
from rescind_guard.codes import NOT_OURS, OF_POLICY
from rescind_guard.enforcement import TABLE as ENFORCEMENT
from rescind_guard.freshness import TABLE as RULE
from rescind_guard.freshness import Need
from rescind_protocol.reasons import TABLE as TABLE_OF_REASONS
from rescind_publisher import metrics as of_publisher
from rescind_subscriber import metrics as of_subscriber
from rescind_subscriber.faults import TABLE as FAULTS
from rescind_subscriber.states import TABLE


def state_table(_root: Path) -> str:
    """Return the states of a subscription, as the program derives them."""
    rows = ["| state | when | what it means |", "|---|---|---|"]
    rows += [f"| `{row.state}` | {row.when} | {row.means} |" for row in TABLE]
    return "\n".join(rows) + "\n"


def freshness_rule(_root: Path) -> str:
    """Return what a call needs on a view that is not fresh, as the guard decides it."""
    rows = ["| by | when | on a view that is not fresh |", "|---|---|---|"]
    means = {Need.FRESH: "*cannot tell*", Need.WARNING: "passes with a warning"}
    rows += [f"| {row.by} | {row.when} | {means[row.need]} |" for row in RULE]
    return "\n".join(rows) + "\n"


def enforcement_modes(_root: Path) -> str:
    """Return what a refusal means in each enforcement mode, as the guard decides it."""
    heads = ("a known kill", "a bad badge, a stale view", "a broken policy", "policy denies")
    rows = [f"| mode | {' | '.join(heads)} | an obligation |"]
    rows.append("|---|---|---|---|---|---|")
    means = {True: "denies", False: "recorded"}
    rows += [
        f"| `{row.mode}` | denies | {means[row.badge]} | {means[row.broken]} "
        f"| {means[row.policy]} "
        f"| {means[row.obligation]} |"
        for row in ENFORCEMENT
    ]
    return "\n".join(rows) + "\n"


def tool_codes(_root: Path) -> str:
    """Return the words of RFC-006 that a guard leaves to others, and to whom."""
    rows = ["| code | |", "|---|---|"]
    rows += [f"| `{code}` | never: {why} |" for code, why in NOT_OURS.items()]
    rows += [f"| `{code}` | from a policy only: {why} |" for code, why in OF_POLICY.items()]
    return "\n".join(rows) + "\n"


def reasons(_root: Path) -> str:
    """Return the words of `--reason` with their equivalents elsewhere."""
    rows = ["| reason | means | security event | CRL (RFC 5280) |", "|---|---|---|---|"]
    for each in TABLE_OF_REASONS:
        family, _, event = each.event.rpartition("/event-type/")
        crl = f"{each.crl.name.lower().replace('_', ' ')} ({each.crl})"
        rows.append(f"| `{each.word}` | {each.means} | {family[-4:].upper()} `{event}` | {crl} |")
    return "\n".join(rows) + "\n"


def metrics(_root: Path) -> str:
    """Return every metric, as a scrape shows it."""
    rows = ["| metric | kind | label | |", "|---|---|---|---|"]
    rows += [
        f"| `{each.name}` | {each.kind} | {f'`{each.label}`' if each.label else ''} | {each.help} |"
        for each in (*of_subscriber.METRICS, *of_guard.METRICS, *of_publisher.METRICS, DISPLACED)
    ]
    return "\n".join(rows) + "\n"


def faults(_root: Path) -> str:
    """Return what can be wrong with what a subscriber hears, and what heals it."""
    rows = ["| kind | what was seen | what heals it |", "|---|---|---|"]
    rows += [f"| `{row.fault}` | {row.seen} | {row.heals} |" for row in FAULTS]
    return "\n".join(rows) + "\n"


def example(root: Path, name: str) -> str:
    """Return a program of `examples/`, as it is run by the tests."""
    return f"```python\n{(root / name).read_text('utf-8')}```\n"


def settings(_root: Path) -> str:
    """Return every setting with its default and its docstring."""
    rows = ["| setting | default | |", "|---|---|---|"]
    (tree,) = ast.parse(inspect.getsource(config.Settings)).body
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            name = field.target.id
            says = ast.literal_eval(text.value) if isinstance(text, ast.Expr) else ""
            rows.append(f"| `{name}` | `{getattr(config.Settings(), name)!r}` | {says} |")
    return "\n".join(rows) + "\n"
