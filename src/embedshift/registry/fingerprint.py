"""Fingerprints that tell one user function from another, wherever it is defined."""

import dis
import enum
import functools
import hashlib
import inspect
import json
import sys
from collections.abc import Mapping
from pathlib import PurePath
from types import CellType, CodeType, ModuleType
from typing import Any

PLAIN = (str, bytes, int, float, complex, bool, range, slice, PurePath, enum.Enum)
# Their version identifies their code, which is spread over many modules.
LIBRARIES = {*sys.stdlib_module_names, "builtins", "numpy", "torch", "polars", "PIL", "cv2", "scipy"}


STORE = "STORE_GLOBAL"
# Depth of nested descriptions; a function that another function names takes two.
DEPTH = 5


def fingerprint(thing: Any, besides: str = "") -> str:
    """Returns a name and a hash that tell one user function or callable object from another."""
    name = "output" if thing is None else _name(thing.func if isinstance(thing, functools.partial) else thing)
    text = json.dumps([besides, _described(thing, ())])
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _name(thing: Any) -> str:
    return str(getattr(thing, "__qualname__", type(thing).__qualname__))


def _described(thing: Any, above: tuple[int, ...]) -> Any:
    """Returns code and state as JSON; `above` holds the ids of the enclosing objects, to stop at circles."""
    if isinstance(thing, PLAIN) or thing is None:
        return repr(thing)
    if id(thing) in above:
        return "itself"
    if isinstance(thing, set | frozenset):
        return sorted(json.dumps(_described(part, above)) for part in thing)
    parts = _numbers(thing) if hasattr(thing, "__array__") else _parts(thing)
    if inspect.isfunction(thing) and len(above) < DEPTH and (outside := _read_from_outside(thing)):
        parts = [*parts, outside]
    return [type(thing).__qualname__, *(_described(part, (*above, id(thing))) for part in parts)]


def _parts(thing: Any) -> list[Any]:
    """Returns the parts that an object consists of."""
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
        return [repr(_instructions(thing.__code__)), thing.__defaults__, thing.__kwdefaults__, inside, vars(thing)]
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


def _read_from_outside(thing: Any) -> dict[str, Any]:
    """Returns the globals that a user function reads, and the names that it reads from the user's own modules."""
    if _is_of_library(thing.__module__):
        return {}
    names, stored = _names(thing.__code__)
    found: dict[str, Any] = {}
    for name in (names - stored) & thing.__globals__.keys():
        value = thing.__globals__[name]
        if not isinstance(value, ModuleType):
            found[name] = value
        elif not _is_of_library(value.__name__):
            found |= {f"{name}.{each}": vars(value)[each] for each in names & vars(value).keys()}
    return {name: value for name, value in found.items() if _is_fixed(value)}


def _is_fixed(value: Any) -> bool:
    """Returns whether a value is a constant or the user's own code."""
    if isinstance(value, type) or inspect.isroutine(value):
        return not _is_of_library(value.__module__)
    constant = (*PLAIN, tuple, frozenset, functools.partial, type(None))
    return isinstance(value, constant) or hasattr(value, "__array__")


def _names(code: CodeType) -> tuple[set[str], set[str]]:
    """Returns the names in a function and its inner functions, and the names of globals that it sets."""
    names, stored = {*code.co_names}, {each.argval for each in dis.get_instructions(code) if each.opname == STORE}
    for inner in (each for each in code.co_consts if isinstance(each, CodeType)):
        more, also = _names(inner)
        names, stored = names | more, stored | also
    return names, stored


def _is_of_library(module: Any) -> bool:
    """Returns whether a module is installed, so that its version identifies its content."""
    if not isinstance(module, str):
        return True
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return module.partition(".")[0] in {*LIBRARIES, "embedshift"} or "site-packages" in file


def _functions(kind: type) -> list[Any]:
    """Returns the functions of a class and of its base classes, except those of libraries."""
    own = [each for each in kind.__mro__ if each.__module__.partition(".")[0] not in LIBRARIES]
    found = [vars(each)[name] for each in own for name in sorted(vars(each))]
    plain = [getattr(each, "__func__", getattr(each, "fget", each)) for each in found]
    return [each for each in plain if inspect.isfunction(each)]


def _numbers(thing: Any) -> list[Any]:
    """Returns dtype, shape and a hash of an array's bytes; nothing if NumPy cannot hold it."""
    import numpy as np  # `--help` does without

    try:
        array = np.asarray(thing.detach().cpu() if hasattr(thing, "detach") else thing)
    except (TypeError, RuntimeError):
        return []
    if array.dtype.hasobject:  # its bytes are addresses
        return [array.tolist()]
    return [str(array.dtype), str(array.shape), hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()]


def _instructions(code: Any) -> Any:
    """Returns a function's instructions, names and constants, including inner functions; for a constant its text."""
    if isinstance(code, frozenset):
        return sorted(map(repr, code))  # its own order changes from run to run
    if not isinstance(code, CodeType):
        return repr(code)
    return code.co_code, code.co_names, [_instructions(constant) for constant in code.co_consts]
