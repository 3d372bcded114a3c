"""Whether two patterns of a shell have a text in common: a rule, and the route that it is for.

As `fnmatch`: `*` any text, `?` one character, `[ab]` one of these. Two classes that stand for one
character are taken to meet: the answer is about what *may* match.
"""

import re
from fnmatch import fnmatchcase

_TOKEN = re.compile(r"\[[^\]]+\]|.", re.DOTALL)
_ANY, _ONE = "*", "?"


def overlap(one: str, other: str) -> bool:
    """Return whether some text matches both patterns; the cost is the product of their lengths."""
    left, right = _TOKEN.findall(one), _TOKEN.findall(other)
    seen: set[tuple[int, int]] = set()
    todo = [(0, 0)]
    while todo:
        at = todo.pop()
        if at in seen:
            continue
        seen.add(at)
        i, j = at
        if at == (len(left), len(right)):
            return True
        a = left[i] if i < len(left) else ""
        b = right[j] if j < len(right) else ""
        if _ANY in (a, b):
            todo += [(i + 1, j)] if a else []
            todo += [(i, j + 1)] if b else []
        elif a and b and _meet(a, b):
            todo.append((i + 1, j + 1))
    return False


def _meet(one: str, other: str) -> bool:
    if len(one) > 1 and len(other) > 1:
        return True
    return one == other or fnmatchcase(one, other) or fnmatchcase(other, one)
