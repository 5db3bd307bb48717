"""Fingerprints of a user's functions: their source and the values that they hold, not files that they read."""

import ast
import enum
import functools
import hashlib
import inspect
import json
import sys
import textwrap
from collections.abc import Mapping
from pathlib import PurePath
from types import CellType, CodeType, ModuleType
from typing import Any

PLAIN = (str, bytes, int, float, complex, bool, range, slice, PurePath, enum.Enum)
# Modules whose version identifies their code.
LIBRARIES = {*sys.stdlib_module_names, "builtins", "numpy", "torch", "polars", "PIL", "cv2", "scipy"}
DOCUMENTED = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def fingerprint(thing: Any, besides: str = "") -> str:
    name = "output" if thing is None else _name(thing.func if isinstance(thing, functools.partial) else thing)
    text = json.dumps([besides, _description(thing, ())])
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _name(thing: Any) -> str:
    return str(getattr(thing, "__qualname__", type(thing).__qualname__))


def _description(thing: Any, above: tuple[int, ...]) -> Any:
    """Returns code and state as JSON; `above` holds the ids of the enclosing objects, to stop at cycles."""
    if isinstance(thing, PLAIN) or thing is None:
        return repr(thing)
    if id(thing) in above:
        return "itself"
    if isinstance(thing, set | frozenset):
        return sorted(json.dumps(_description(part, above)) for part in thing)
    parts = _numbers(thing) if hasattr(thing, "__array__") else _parts(thing)
    return [type(thing).__qualname__, *(_description(part, (*above, id(thing))) for part in parts)]


def _parts(thing: Any) -> list[Any]:
    if isinstance(thing, functools.partial):
        return [thing.func, thing.args, thing.keywords]
    if isinstance(thing, Mapping):
        return [part for pair in sorted(thing.items(), key=lambda pair: repr(pair[0])) for part in pair]
    if isinstance(thing, list | tuple):
        return list(thing)
    if inspect.ismethod(thing):
        return [thing.__func__, thing.__self__]
    if inspect.isfunction(thing):
        inside = [cell.cell_contents for cell in thing.__closure__ or () if cell != CellType()]
        return [repr(_code(thing)), thing.__defaults__, thing.__kwdefaults__, inside, vars(thing)]
    if isinstance(thing, type):
        return [_name(thing), *_functions(thing)]
    if isinstance(thing, ModuleType):
        return [thing.__name__]
    # For an encoder and a torch module only the weights; other state, such as hooks, changes from run to run.
    if hasattr(thing, "weights_hash"):
        return [_name(thing), thing.weights_hash]
    if hasattr(thing, "state_dict"):
        return [_name(thing), *_functions(type(thing)), thing.state_dict()]
    slots = [name for kind in type(thing).__mro__ for name in vars(kind).get("__slots__", ()) if hasattr(thing, name)]
    state = getattr(thing, "__dict__", {}) | {name: getattr(thing, name) for name in slots}
    return [_name(thing), *_functions(type(thing)), state]


def _functions(kind: type) -> list[Any]:
    classes = [base for base in kind.__mro__ if base.__module__.partition(".")[0] not in LIBRARIES]
    members = [vars(base)[name] for base in classes for name in sorted(vars(base))]
    functions = [getattr(member, "__func__", getattr(member, "fget", member)) for member in members]
    return [function for function in functions if inspect.isfunction(function)]


def _numbers(thing: Any) -> list[Any]:
    import numpy as np  # not needed by `--help`

    try:
        array = np.asarray(thing.detach().cpu() if hasattr(thing, "detach") else thing)
    except (TypeError, RuntimeError):
        return []
    if array.dtype.hasobject:  # its bytes are addresses
        return [array.tolist()]
    return [str(array.dtype), str(array.shape), hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()]


def _code(function: Any) -> Any:
    """Returns the parsed source of a function without comments and docstrings, else its instructions and constants."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return _instructions(function.__code__)
    if not isinstance(tree.body[0], ast.FunctionDef | ast.AsyncFunctionDef):  # a lambda within other code
        return _instructions(function.__code__)
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            node.body[:1] = []
    return ast.dump(tree)


def _instructions(code: Any) -> Any:
    """Returns a function's instructions, names and constants, including inner functions."""
    if isinstance(code, frozenset):
        return sorted(map(repr, code))  # its own order changes from run to run
    if not isinstance(code, CodeType):
        return repr(code)
    return code.co_code, code.co_names, [_instructions(constant) for constant in code.co_consts]
