"""rego-cpp within this process: modules in, a function from input document to answer out.

The C functions of regopy are called without its Python face, which costs more than the question
itself: it walks the input by `isinstance` of abstract classes, copies each string twice, and makes
the answer a text two times. The objects that own memory (interpreter, bundle) are regopy's.

What a library raises stays in here: all that goes wrong is `PolicyFailed`.
"""

import ctypes
from collections.abc import Callable
from typing import Any

import msgspec

from rescind_guard.errors import BadGuard
from rescind_guard.policy import PolicyFailed
from rescind_guard.policy_files import DATA_FILE, Modules
from rescind_guard.policy_input import Document, Value

try:
    from regopy import Interpreter
    from regopy.rego_shared import LogLevel
    from regopy.rego_shared import rego as _c
except ImportError as missing:
    raise BadGuard("policy in Rego needs more packages: pip install 'rescind[rego]'") from missing

PACKAGE = "capiscio/policy"
QUERY = f"data.{PACKAGE.replace('/', '.')}"
MAX_SAID_CHARS = 512
_PACKAGE = PACKAGE.encode()
_UNDEFINED = b"undefined"

Evaluate = Callable[[Document], "Answer"]
"""Raises `PolicyFailed` where the policy gives no answer. Of one thread alone."""


class _Obligation(msgspec.Struct, frozen=True):
    type: str


class Answer(msgspec.Struct, frozen=True):
    """What a policy document must say (RFC-005 §6.1); it may hold other rules beside."""

    decision: str
    reason: str = ""
    obligations: tuple[_Obligation, ...] = ()
    decision_id: str | None = None


class _Output(msgspec.Struct, frozen=True):
    expressions: tuple[Answer, ...] = ()


_read_output = msgspec.json.Decoder(_Output | list[_Output]).decode


def load(modules: Modules) -> Evaluate:
    """Compile the modules into an interpreter of their own; raises `PolicyFailed`."""
    interpreter: Any = Interpreter()  # type: ignore[no-untyped-call]  # has no types
    interpreter.log_level = LogLevel.NONE  # its log is this process's standard output
    try:
        for name, source in modules.sources:
            interpreter.add_module(name, source)
        if modules.data is not None:
            interpreter.add_data_json(modules.data)
        bundle = interpreter.build(QUERY, [PACKAGE])
    except Exception as error:
        raise PolicyFailed(f"{_at_fault(modules)}: {short(error)}") from error
    if not bundle.ok():
        raise PolicyFailed(_at_fault(modules))

    def evaluate(document: Document) -> Answer:
        # Both are named here, so that neither is freed before the other is asked.
        _set_input(interpreter._impl, document)  # noqa: SLF001 - the handle its C functions take
        output = _c.regoBundleQueryEntrypoint(interpreter._impl, bundle._impl, _PACKAGE)  # noqa: SLF001
        if not output:
            raise PolicyFailed("policy cannot be evaluated")
        try:
            return _answer(output)
        finally:
            _c.regoFreeOutput(output)

    return evaluate


def _at_fault(modules: Modules) -> str:
    """Say which file is not taken: the library names the modules whatever it is."""
    if modules.data is not None:
        try:
            load(msgspec.structs.replace(modules, data=None))
        except PolicyFailed:
            pass
        else:
            return f"{DATA_FILE} is not taken"
    return "policy does not compile"


def _set_input(interpreter: Any, document: Document) -> None:
    held = _c.regoNewInput()
    try:
        if _put(held, document) or _c.regoSetInput(interpreter, held):
            raise PolicyFailed("policy cannot be evaluated: the input is not taken")
    except UnicodeEncodeError as error:
        raise PolicyFailed("a name is no text") from error
    finally:
        _c.regoFreeInput(held)


def _put(held: Any, value: Value) -> int:
    """Push a value on the input's stack; 0 if all of it was taken."""
    if isinstance(value, str):
        failed: int = _c.regoInputString(held, value.encode())
        return failed
    failed = 0
    if isinstance(value, list):
        for item in value:
            failed |= _put(held, item)
        return failed | int(_c.regoInputArray(held, len(value)))
    for name, each in value.items():
        failed |= _c.regoInputString(held, name.encode())
        failed |= _put(held, each) | _c.regoInputObjectItem(held)
    return failed | int(_c.regoInputObject(held, len(value)))


def _answer(output: Any) -> Answer:
    said = _text(output)
    if not _c.regoOutputOk(output):
        # Two rules that disagree, for one, are an output that is not ok, and no exception.
        raise PolicyFailed(f"policy cannot be evaluated: {_words(said)}")
    try:
        found = None if said == _UNDEFINED else _read_output(said)
    except msgspec.ValidationError as error:
        why = str(error).replace("[0].expressions[0]", "").replace(".expressions[0]", "")
        raise PolicyFailed(f"the policy's answer cannot be read: {why}") from error
    except msgspec.DecodeError as error:  # an unknown function, for one, is told in its place
        raise PolicyFailed(f"policy cannot be evaluated: {_words(said)}") from error
    first = found[0] if isinstance(found, list) and found else found
    if not isinstance(first, _Output) or not first.expressions:
        raise PolicyFailed(f"{QUERY} is undefined: no module has rules in it")
    return first.expressions[0]


def _text(output: Any) -> bytes:
    size = _c.regoOutputJSONSize(output)
    buffer = ctypes.create_string_buffer(size)
    if _c.regoOutputJSON(output, buffer, size):
        raise PolicyFailed("policy cannot be evaluated: its answer is no text")
    return buffer.value


def _words(said: bytes) -> str:
    return short(said.decode("utf-8", "replace"))


def short(said: object) -> str:
    """Return what fits a line of a log and harms no terminal: it may quote what a caller sent."""
    line = " ".join(str(said)[: 2 * MAX_SAID_CHARS].split())[:MAX_SAID_CHARS]
    return "".join(each if each.isprintable() else "?" for each in line)
