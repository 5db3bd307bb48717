"""What tells one function of a user's own from another, wherever it is defined."""

import functools
import hashlib
import inspect
import json
from collections.abc import Mapping
from types import CellType, CodeType
from typing import Any


def fingerprint(thing: Any, besides: str = "") -> str:
    """What tells one function or callable object of a user's own from another.

    What a function reads from outside, as a global variable, is not seen.

    Args:
        thing: A function, a method, a `functools.partial`, an object with `__call__`, or None.
        besides: More that tells them apart.

    Returns:
        Its name, "-", and a hash over its code, its state and `besides`.

    Example:
        >>> len({fingerprint(f) for f in (lambda x: x + 1, lambda x: x + 2, lambda x: x * 2)})
        3
    """
    name = "output" if thing is None else _name(thing.func if isinstance(thing, functools.partial) else thing)
    text = json.dumps([besides, _described(thing, ())])
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _name(thing: Any) -> str:
    return str(getattr(thing, "__qualname__", type(thing).__qualname__))


def _described(thing: Any, above: tuple[int, ...]) -> Any:
    """Code and state as JSON; `above` are the things around it, which may be what it holds."""
    if thing is None or isinstance(thing, str | int | float | bool):
        return thing
    if id(thing) in above:
        return "itself"
    parts = _parts(thing)
    if not isinstance(parts, list):
        return parts
    return [type(thing).__qualname__, *(_described(part, (*above, id(thing))) for part in parts)]


def _parts(thing: Any) -> Any:
    """What a thing is made of, as a list of things; else what it is, as JSON."""
    if isinstance(thing, functools.partial):
        return [thing.func, thing.args, thing.keywords]
    if isinstance(thing, Mapping):
        return [part for pair in sorted(thing.items(), key=repr) for part in pair]
    if isinstance(thing, list | tuple):
        return list(thing)
    if inspect.ismethod(thing):
        return [thing.__func__, thing.__self__]
    if inspect.isfunction(thing):
        inside = [cell.cell_contents for cell in thing.__closure__ or () if cell != CellType()]
        return [repr(_instructions(thing.__code__)), thing.__defaults__, thing.__kwdefaults__, inside, vars(thing)]
    if hasattr(thing, "__array__"):
        return _numbers(thing)
    if isinstance(thing, type) or not callable(thing):
        return _name(thing)
    own = [value for _, value in sorted(vars(type(thing)).items()) if inspect.isfunction(value)]
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ()) if hasattr(thing, name)]
    return [_name(thing), own, getattr(thing, "__dict__", {}), [getattr(thing, name) for name in slots]]


def _numbers(thing: Any) -> Any:
    """A hash of an array's bytes, since it may be large; of one that NumPy cannot hold, its type alone."""
    import numpy as np  # `--help` does without

    try:
        array = np.asarray(thing)
        return [str(array.dtype), str(array.shape), hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()]
    except (TypeError, RuntimeError):
        return _name(thing)


def _instructions(code: Any) -> Any:
    """A function's instructions, names and constants, those of functions inside it too; of a constant, its text."""
    if isinstance(code, frozenset):
        return sorted(map(repr, code))  # its own order changes from run to run
    if not isinstance(code, CodeType):
        return repr(code)
    return code.co_code, code.co_names, [_instructions(constant) for constant in code.co_consts]
