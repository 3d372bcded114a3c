"""JSON whose numbers stay as they were written, and its canonical form as an OPA hashes it.

An OPA keeps the literal of a number (Go's `json.Number`): `1.10` and `1.1` have two hashes there,
and a bundle that says `1E5` is genuine only if it is hashed with `1E5`.
"""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, NoReturn

from rescind_protocol.errors import Malformed

TOO_DEEP = "JSON too deep, or with too long a number, to be hashed"


class Number(str):
    """The literal of a number that Python would write in another way."""

    __slots__ = ()


def loads(raw: bytes) -> Any:
    """Return the JSON value; a number is an `int`, a `float`, or a `Number` that keeps its literal.

    Raises `Malformed`, also for an object with a duplicate key (RFC 8259 §4) and for what JSON does
    not have (`NaN`).
    """
    try:
        return json.loads(
            raw.decode("utf-8"),
            parse_float=_float,
            parse_int=_int,
            parse_constant=_refuse,
            object_pairs_hook=_members,
        )
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from error


def _float(literal: str) -> float | Number:
    value = float(literal)
    return value if repr(value) == literal else Number(literal)


def _int(literal: str) -> int | Number:
    return Number(literal) if literal == "-0" else int(literal)


def _refuse(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is not a JSON value")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice[:60]!r} stands twice in an object")
    return members


def canonical(value: Any) -> bytes:
    """Return a JSON value as OPA hashes it: keys in order, no blanks, Go's escapes.

    Raises `Malformed` for one that can be read and not be written: nested almost too deep, or with
    a number of very many digits.
    """
    try:
        text = "".join(_pieces(value))
    except (RecursionError, ValueError) as error:
        raise Malformed(TOO_DEEP) from error
    # As Go's encoder writes them; a lone surrogate has no form of its own there, nor here.
    text = text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return text.encode("utf-8", "surrogatepass")


def _pieces(value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        yield "{"
        for place, name in enumerate(sorted(value)):
            yield f"{',' if place else ''}{_plain(name)}:"
            yield from _pieces(value[name])
        yield "}"
    elif isinstance(value, list | tuple):
        yield "["
        for place, each in enumerate(value):
            if place:
                yield ","
            yield from _pieces(each)
        yield "]"
    else:
        yield value if isinstance(value, Number) else _plain(value)


_plain = json.JSONEncoder(ensure_ascii=False).encode
"""Of a text, a number, a boolean or null."""
